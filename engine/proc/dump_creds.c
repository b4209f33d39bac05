#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "engine/proc/stat.h"

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif
#ifndef PTRACE_SECCOMP_GET_METADATA
#define PTRACE_SECCOMP_GET_METADATA 0x420d
#endif

#define CAP_WORDS 2

struct filter_metadata {
	uint64_t filter_off;
	uint64_t flags;
};

/* SECCOMP_FILTER_FLAG_LOG is the one flag a filter keeps for life (and so the kernel tells). */
#define FILTERS_MAX 1024

static int capabilities(struct dump_ctx *ctx, uint64_t set, size_t *n, uint32_t **words)
{
	*words = dump_alloc(ctx, CAP_WORDS * sizeof(**words));
	if (!*words)
		return R_FAILED;
	(*words)[0] = (uint32_t)set;
	(*words)[1] = (uint32_t)(set >> 32);
	*n = CAP_WORDS;
	return R_OK;
}

static int fill_creds(struct dump_ctx *ctx, const struct proc_status *status, CredsEntry *creds)
{
	creds->uid = status->uid[0];
	creds->euid = status->uid[1];
	creds->suid = status->uid[2];
	creds->fsuid = status->uid[3];
	creds->gid = status->gid[0];
	creds->egid = status->gid[1];
	creds->sgid = status->gid[2];
	creds->fsgid = status->gid[3];
	creds->has_no_new_privs = true;
	creds->no_new_privs = status->no_new_privs;
	creds->n_groups = status->group_count;
	creds->groups = dump_alloc(ctx, status->group_count * sizeof(*creds->groups));
	if (!creds->groups)
		return R_FAILED;
	memcpy(creds->groups, status->groups, status->group_count * sizeof(*creds->groups));
	if (capabilities(ctx, status->cap_inheritable, &creds->n_cap_inh, &creds->cap_inh) ||
	    capabilities(ctx, status->cap_permitted, &creds->n_cap_prm, &creds->cap_prm) ||
	    capabilities(ctx, status->cap_effective, &creds->n_cap_eff, &creds->cap_eff) ||
	    capabilities(ctx, status->cap_bounding, &creds->n_cap_bnd, &creds->cap_bnd) ||
	    capabilities(ctx, status->cap_ambient, &creds->n_cap_amb, &creds->cap_amb))
		return R_FAILED;
	return R_OK;
}

int dump_creds(struct dump_ctx *ctx, const struct proc_status *status, CredsEntry **creds)
{
	*creds = dump_alloc(ctx, sizeof(**creds));
	if (!*creds)
		return R_FAILED;
	creds_entry__init(*creds);
	return fill_creds(ctx, status, *creds);
}

/* Reads filter `index` of the thread, counted from the newest.  R_NOT_FOUND behind the oldest. */
static int read_filter(struct dump_ctx *ctx, const struct tracee *th, unsigned long index,
		       SeccompFilter *filter)
{
	struct filter_metadata meta = { .filter_off = index };
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, th->tid, index, NULL);

	if (n < 0 && errno == ENOENT)
		return R_NOT_FOUND;
	if (n < 0) {
		dump_refuse(ctx, th->tid, "its seccomp filter %lu cannot be read (%s)", index,
			    strerror(errno));
		return R_UNSUPPORTED;
	}
	seccomp_filter__init(filter);
	filter->filter.len = (size_t)n * sizeof(struct sock_filter);
	filter->filter.data = dump_alloc(ctx, filter->filter.len);
	if (!filter->filter.data)
		return R_FAILED;
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, th->tid, index, filter->filter.data) != n) {
		warn_errno("pid %d: reading seccomp filter %lu", th->tid, index);
		return R_FAILED;
	}
	if (ptrace(PTRACE_SECCOMP_GET_METADATA, th->tid, sizeof(meta), &meta) > 0 && meta.flags) {
		filter->has_flags = true;
		filter->flags = (uint32_t)meta.flags;
	}
	return R_OK;
}

static bool same_filter(const SeccompFilter *a, const SeccompFilter *b)
{
	return a->filter.len == b->filter.len && a->flags == b->flags &&
	       a->has_prev == b->has_prev && a->prev == b->prev &&
	       memcmp(a->filter.data, b->filter.data, a->filter.len) == 0;
}

/* Gives the number of `filter` in the image; equal filters upon equal ones are one. */
static int file_filter(struct dump_ctx *ctx, const SeccompFilter *filter, uint32_t *number)
{
	SeccompFilter **list, *copy;

	for (size_t i = 0; i < ctx->seccomp.n_seccomp_filters; i++) {
		if (same_filter(ctx->seccomp.seccomp_filters[i], filter)) {
			*number = (uint32_t)i;
			return R_OK;
		}
	}
	copy = dump_alloc(ctx, sizeof(*copy));
	list = dump_alloc(ctx, (ctx->seccomp.n_seccomp_filters + 1) * sizeof(*list));
	if (!copy || !list)
		return R_FAILED;
	*copy = *filter;
	if (ctx->seccomp.n_seccomp_filters)
		memcpy(list, ctx->seccomp.seccomp_filters,
		       ctx->seccomp.n_seccomp_filters * sizeof(*list));
	list[ctx->seccomp.n_seccomp_filters] = copy;
	*number = (uint32_t)ctx->seccomp.n_seccomp_filters++;
	ctx->seccomp.seccomp_filters = list;
	return R_OK;
}

/* The kernel tells the newest first; the image chains each to the one installed before it. */
static int dump_filters(struct dump_ctx *ctx, const struct tracee *th, ThreadCoreEntry *core)
{
	SeccompFilter *chain = dump_alloc(ctx, FILTERS_MAX * sizeof(*chain));
	size_t n = 0;
	uint32_t number = 0;
	int rc;

	if (!chain)
		return R_FAILED;
	for (;;) {
		if (n == FILTERS_MAX) {
			dump_refuse(ctx, th->tid, "it has more than %d seccomp filters",
				    FILTERS_MAX);
			return R_OK;
		}
		rc = read_filter(ctx, th, n, &chain[n]);
		if (rc == R_NOT_FOUND)
			break;
		if (rc == R_UNSUPPORTED)
			return R_OK;
		if (rc != R_OK)
			return rc;
		n++;
	}
	for (size_t i = n; i-- > 0;) {
		chain[i].has_prev = i != n - 1;
		chain[i].prev = number;
		if (file_filter(ctx, &chain[i], &number) != R_OK)
			return R_FAILED;
	}
	core->has_seccomp_filter = n > 0;
	core->seccomp_filter = number;
	return R_OK;
}

int dump_seccomp(struct dump_ctx *ctx, const struct tracee *th, const struct proc_status *status,
		 ThreadCoreEntry *core)
{
	core->has_seccomp_mode = true;
	core->seccomp_mode = (SeccompMode)status->seccomp;
	if (status->seccomp != SECCOMP_MODE__filter)
		return R_OK;
	return dump_filters(ctx, th, core);
}
