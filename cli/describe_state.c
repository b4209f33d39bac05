/* Registers, credentials and mappings of a process in JSON. */
#include "cli/describe.h"

#include "base/result.h"
#include "engine/look/dirty.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>

static void hex(json_t *json, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
	json_object_set_new(json, name, json_string(text));
}

json_t *describe_registers(const struct look_thread *thread)
{
	const UserX86RegsEntry *r = thread->core->thread_info->gpregs;
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{ "rip", r->ip },
		{ "rsp", r->sp },
		{ "rbp", r->bp },
		{ "rax", r->ax },
		{ "orig_rax", r->orig_ax },
		{ "rbx", r->bx },
		{ "rcx", r->cx },
		{ "rdx", r->dx },
		{ "rsi", r->si },
		{ "rdi", r->di },
		{ "r8", r->r8 },
		{ "r9", r->r9 },
		{ "r10", r->r10 },
		{ "r11", r->r11 },
		{ "r12", r->r12 },
		{ "r13", r->r13 },
		{ "r14", r->r14 },
		{ "r15", r->r15 },
		{ "eflags", r->flags },
		{ "fs_base", r->fs_base },
		{ "gs_base", r->gs_base },
	};
	json_t *json = json_object();

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		hex(json, all[i].name, all[i].value);
	return json;
}

/* Names of the capabilities in a set of two words. */
static json_t *capabilities(const uint32_t *words, size_t n)
{
	json_t *list = json_array();

	for (unsigned int cap = 0; cap < 32 * n; cap++) {
		char *name;

		if (!(words[cap / 32] >> cap % 32 & 1))
			continue;
		name = cap_to_name((cap_value_t)cap);
		if (name)
			json_array_append_new(list, json_string(name));
		cap_free(name);
	}
	return list;
}

json_t *describe_credentials(const struct look_task *task)
{
	const ThreadCoreEntry *thread = task->threads[0].core->thread_core;
	const CredsEntry *c = thread ? thread->creds : NULL;
	json_t *json, *groups = json_array();

	if (!c) {
		json_decref(groups);
		return json_object();
	}
	for (size_t i = 0; i < c->n_groups; i++)
		json_array_append_new(groups, json_integer(c->groups[i]));
	json =
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "uid", (json_int_t)c->uid, "gid",
		      (json_int_t)c->gid, "euid", (json_int_t)c->euid, "egid", (json_int_t)c->egid,
		      "suid", (json_int_t)c->suid, "sgid", (json_int_t)c->sgid, "groups", groups);
	json_object_set_new(json, "effective", capabilities(c->cap_eff, c->n_cap_eff));
	json_object_set_new(json, "permitted", capabilities(c->cap_prm, c->n_cap_prm));
	json_object_set_new(json, "inheritable", capabilities(c->cap_inh, c->n_cap_inh));
	json_object_set_new(json, "ambient", capabilities(c->cap_amb, c->n_cap_amb));
	json_object_set_new(json, "bounding", capabilities(c->cap_bnd, c->n_cap_bnd));
	json_object_set_new(json, "no_new_privs", json_boolean(c->no_new_privs));
	json_object_set_new(json, "seccomp",
			    json_boolean(thread->has_seccomp_mode && thread->seccomp_mode));
	hex(json, "securebits", c->secbits);
	if (c->lsm_profile)
		json_object_set_new(json, "lsm_profile",
				    describe_text(c->lsm_profile, strlen(c->lsm_profile)));
	return json;
}

/* Of one mapping: pages by kind, and how random its stored bytes are. */
struct contents {
	const struct look *look;
	const struct look_task *task;
	bool entropy;
	uint64_t kinds[LOOK_KINDS], shared;
	uint64_t counts[256], bytes;
};

#define SAMPLE_PAGES 16 /* read of each run for the entropy */

static int look_at_run(const struct look_run *run, void *arg)
{
	struct contents *c = arg;
	static uint8_t buf[SAMPLE_PAGES * PAGE_BYTES];
	size_t n = run->n < SAMPLE_PAGES ? (size_t)run->n : SAMPLE_PAGES;
	int rc;

	c->kinds[run->sealed ? LOOK_STORED : run->kind] += run->n;
	if (run->kind != LOOK_STORED && !run->sealed)
		return R_OK;
	if (run->shared)
		c->shared += run->n;
	if (!c->entropy)
		return R_OK;
	rc = look_run_read(c->look, c->task, run, 0, n, buf);
	for (size_t i = 0; rc == R_OK && i < n * PAGE_BYTES; i++)
		c->counts[buf[i]]++;
	c->bytes += n * PAGE_BYTES;
	return rc;
}

/* Bits a byte, 0 to 8. */
static double entropy(const struct contents *c)
{
	double bits = 0;

	for (int i = 0; i < 256; i++) {
		double p = c->bytes ? (double)c->counts[i] / (double)c->bytes : 0;

		if (p > 0)
			bits -= p * log2(p);
	}
	return bits;
}

static void bytes_of_pages(json_t *json, const char *key, uint64_t pages)
{
	json_object_set_new(json, key, json_integer((json_int_t)(pages * PAGE_BYTES)));
}

/* What differs from the same addresses of the generation before. */
static int add_dirty(const struct contents *c, const struct look *before, const VmaEntry *vma,
		     json_t *json)
{
	uint64_t pages;
	int rc = look_dirty(before, look_task(before, c->task->pid), c->look, c->task, vma, &pages);

	if (rc == R_OK)
		bytes_of_pages(json, "bytes_dirty", pages);
	return rc;
}

static json_t *mapping(const struct look *look, const VmaEntry *vma, const struct contents *c)
{
	const char *name = look_vma_name(look, vma);
	char rights[5] = "---p";
	json_t *json = json_object();

	rights[0] = vma->prot & PROT_READ ? 'r' : '-';
	rights[1] = vma->prot & PROT_WRITE ? 'w' : '-';
	rights[2] = vma->prot & PROT_EXEC ? 'x' : '-';
	if (vma->flags & MAP_SHARED)
		rights[3] = 's';
	hex(json, "start", vma->start);
	hex(json, "end", vma->end);
	json_object_set_new(json, "rights", json_string(rights));
	json_object_set_new(json, "name", describe_text(name, strlen(name)));
	hex(json, "offset", vma->pgoff);
	if (look_vma_is_secret(look, vma))
		json_object_set_new(json, "secret", json_true());
	if (c->kinds[LOOK_SEALED])
		bytes_of_pages(json, "bytes_sealed", c->kinds[LOOK_SEALED]);
	bytes_of_pages(json, "bytes_stored", c->kinds[LOOK_STORED]);
	bytes_of_pages(json, "bytes_anonymous", c->kinds[LOOK_STORED] - c->shared);
	bytes_of_pages(json, "bytes_shared", c->shared);
	bytes_of_pages(json, "bytes_zero", c->kinds[LOOK_ZERO]);
	bytes_of_pages(json, "bytes_file", c->kinds[LOOK_FILE]);
	if (c->bytes)
		json_object_set_new(json, "entropy", json_real(entropy(c)));
	return json;
}

int describe_mappings(const struct look *look, const struct look_task *task,
		      const struct describe *what, json_t **out)
{
	json_t *list = json_array();
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < task->mm->n_vmas; i++) {
		const VmaEntry *vma = task->mm->vmas[i];
		struct contents c = { .look = look, .task = task, .entropy = what->entropy };

		if (vma->status & VMA_STATUS_GUARD)
			continue;
		rc = look_vma_walk(look, task, vma, vma->start, vma->end, look_at_run, &c);
		if (rc == R_OK) {
			json_t *one = mapping(look, vma, &c);

			json_array_append_new(list, one);
			/* Secrets are encrypted anew by each take. */
			if (what->before && !look_vma_is_secret(look, vma))
				rc = add_dirty(&c, what->before, vma, one);
		}
	}
	if (rc != R_OK)
		json_decref(list);
	else
		*out = list;
	return rc;
}
