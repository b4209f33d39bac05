/* The pieces of a target's own code that remote calls go through. */
#include "engine/proc/inject_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/maps.h"
#include "engine/proc/trace.h"

#define MAPS_MAX_BYTES (256 * 1024 * 1024)
#define SCAN_BYTES 16384

/* Reads one line of maps ("start-end perms offset device inode name") and moves on.  False at the
 * end. */
static bool next_mapping(const char **text, struct mapping *m)
{
	char *p;
	m->start = strtoull(*text, &p, 16);
	if (p == *text || *p++ != '-')
		return false;
	m->end = strtoull(p, &p, 16);
	if (*p++ != ' ' || strnlen(p, 5) < 5 || p[4] != ' ')
		return false;
	memcpy(m->perms, p, 4);
	m->perms[4] = '\0';
	m->offset = strtoull(p + 5, &p, 16);
	m->device = (uint32_t)strtoul(p, &p, 16) << 20;
	m->device |= *p == ':' ? (uint32_t)strtoul(p + 1, &p, 16) : 0;
	m->inode = strtoull(p, &p, 10);
	m->name = p + strspn(p, " ");
	const char *end = strchr(m->name, '\n');
	*text = end ? end + 1 : m->name + strlen(m->name);
	return true;
}

void mappings_free(struct mappings *all)
{
	free(all->list);
	free(all->text);
}

static int mappings_fail(struct mappings *all, pid_t pid)
{
	warn_errno("cannot read the mappings of process %d", pid);
	mappings_free(all);
	return R_FAILED;
}

int mappings_read(pid_t pid, struct mappings *all)
{
	char path[64];
	size_t len, lines = 0;
	*all = (struct mappings){ 0 };
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	if (io_read_file(AT_FDCWD, path, MAPS_MAX_BYTES, &all->text, &len) != R_OK)
		return R_NOT_FOUND;
	for (const char *p = all->text; (p = strchr(p, '\n')); p++)
		lines++;
	all->list = calloc(lines + 1, sizeof *all->list);
	if (!all->list)
		return mappings_fail(all, pid);
	for (const char *p = all->text; all->n <= lines && next_mapping(&p, &all->list[all->n]);)
		all->n++;
	return R_OK;
}

int mappings_of(pid_t pid, const struct maps *maps, struct mappings *all)
{
	*all = (struct mappings){ .n = maps->n };
	all->list = calloc(maps->n + 1, sizeof *all->list);
	if (!all->list)
		return mappings_fail(all, pid);
	for (size_t i = 0; i < maps->n; i++) {
		const struct vma *vma = &maps->vmas[i];
		struct mapping *m = &all->list[i];
		*m = (struct mapping){
			.start = vma->start,
			.end = vma->end,
			.offset = vma->offset,
			.inode = vma->ino,
			.device = vma->dev_major << 20 | vma->dev_minor,
			.name = vma->name,
			.grows = vma->marks & VMA_MARK_GROWSDOWN,
		};
		m->perms[0] = vma->prot & PROT_READ ? 'r' : '-';
		m->perms[1] = vma->prot & PROT_WRITE ? 'w' : '-';
		m->perms[2] = vma->prot & PROT_EXEC ? 'x' : '-';
		m->perms[3] = vma->shared ? 's' : 'p';
	}
	return R_OK;
}

bool mapping_is_named(const struct mapping *m, const char *name)
{
	size_t n = strlen(name);
	return strncmp(m->name, name, n) == 0 && (m->name[n] == '\n' || m->name[n] == '\0');
}

static void scan_code(pid_t pid, const struct mapping *m, uint64_t found[ARCH_GADGET_COUNT])
{
	uint8_t code[SCAN_BYTES];
	bool all = true;
	for (int g = 0; g < ARCH_GADGET_COUNT; g++)
		all &= found[g] != 0;
	if (all)
		return;
	for (uint64_t at = m->start; at < m->end; at += SCAN_BYTES - ARCH_GADGET_MAX_BYTES) {
		size_t n = m->end - at < SCAN_BYTES ? (size_t)(m->end - at) : SCAN_BYTES;
		bool missing = false;
		if (trace_read(pid, at, code, n) != R_OK)
			break; /* beyond the end of a truncated file */
		for (int g = 0; g < ARCH_GADGET_COUNT; g++) {
			ssize_t hit = found[g] ? -1 : arch_gadget_find(g, code, n);
			if (hit >= 0)
				found[g] = at + (uint64_t)hit;
			missing |= found[g] == 0;
		}
		if (!missing)
			break;
	}
}

/* Only code that comes from a file or the kernel: other executable memory may be rewritten by the
 * target at any time. */
static bool is_code(const struct mapping *m)
{
	return strncmp(m->perms, "r-xp", 4) == 0 && (m->inode || mapping_is_named(m, "[vdso]"));
}

/* Nearly every program has both gadgets there; to search all its code takes milliseconds. */
static bool is_likely(const struct mapping *m)
{
	size_t len = strcspn(m->name, "\n");
	return mapping_is_named(m, "[vdso]") || memmem(m->name, len, "/libc.so", 8) ||
	       memmem(m->name, len, "/libc-", 6) || memmem(m->name, len, "/ld-musl", 8);
}

static bool has_needed(const uint64_t found[ARCH_GADGET_COUNT])
{
	for (int g = 0; g < ARCH_GADGET_NEEDED; g++)
		if (!found[g])
			return false;
	return true;
}

/*
 * Where gadgets were found before: how far into which part of which file.  Tasks of a tree mostly
 * run the same libraries, if not in the same place, and looking there costs less than searching.
 */
#define KNOWN_FILES 16
struct known {
	struct mapping m;
	uint64_t offsets[ARCH_GADGET_COUNT]; /* + 1; 0: there is none */
};
static struct known known[KNOWN_FILES];
static size_t n_known;

static struct known *find_known(const struct mapping *m)
{
	for (size_t i = 0; i < n_known && i < KNOWN_FILES; i++)
		if (known[i].m.inode == m->inode && known[i].m.device == m->device &&
		    known[i].m.offset == m->offset &&
		    known[i].m.end - known[i].m.start == m->end - m->start)
			return &known[i];
	return NULL;
}

/* All of them in one call. */
static void use_known(pid_t pid, const struct mapping *m, const struct known *k,
		      uint64_t found[ARCH_GADGET_COUNT])
{
	uint8_t code[ARCH_GADGET_COUNT * ARCH_GADGET_MAX_BYTES];
	struct iovec there[ARCH_GADGET_COUNT], here = { code, 0 };
	enum arch_gadget which[ARCH_GADGET_COUNT];
	unsigned long n = 0;
	size_t at = 0;
	for (int g = 0; g < ARCH_GADGET_COUNT; g++) {
		uint64_t address = m->start + k->offsets[g] - 1;
		if (found[g] || !k->offsets[g] || address >= m->end)
			continue;
		there[n].iov_base = (void *)(uintptr_t)address;
		there[n].iov_len = m->end - address < ARCH_GADGET_MAX_BYTES
				       ? (size_t)(m->end - address)
				       : ARCH_GADGET_MAX_BYTES;
		here.iov_len += there[n].iov_len;
		which[n++] = (enum arch_gadget)g;
	}
	if (n == 0 || process_vm_readv(pid, &here, 1, there, n, 0) != (ssize_t)here.iov_len)
		return;
	for (unsigned long i = 0; i < n; at += there[i++].iov_len)
		if (arch_gadget_find(which[i], code + at, there[i].iov_len) == 0)
			found[which[i]] = (uint64_t)(uintptr_t)there[i].iov_base;
}

static void search(pid_t pid, const struct mapping *m, uint64_t found[ARCH_GADGET_COUNT])
{
	uint64_t here[ARCH_GADGET_COUNT] = { 0 };
	struct known *k = &known[n_known++ % KNOWN_FILES];
	*k = (struct known){ .m = *m };
	scan_code(pid, m, here);
	for (int g = 0; g < ARCH_GADGET_COUNT; g++) {
		k->offsets[g] = here[g] ? here[g] - m->start + 1 : 0;
		if (!found[g])
			found[g] = here[g];
	}
}

void inject_code_find(pid_t pid, const struct mappings *maps, uint64_t found[ARCH_GADGET_COUNT])
{
	for (int pass = 0; pass < 2 && !(pass && has_needed(found)); pass++)
		for (size_t i = 0; i < maps->n; i++) {
			const struct mapping *m = &maps->list[i];
			if (!is_code(m) || is_likely(m) != (pass == 0))
				continue;
			const struct known *k = find_known(m);
			if (k)
				use_known(pid, m, k, found);
			else
				search(pid, m, found);
		}
}

void inject_site_seek(pid_t pid)
{
	uint64_t found[ARCH_GADGET_COUNT] = { 0 };
	struct mappings maps;
	if (mappings_read(pid, &maps) != R_OK)
		return;
	inject_code_find(pid, &maps, found);
	mappings_free(&maps);
}
