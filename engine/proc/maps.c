#include "engine/proc/maps_internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

static const struct {
	char name[3];
	uint32_t mark;
} vm_flags[] = {
	/* Said by the first line of the range already, or no state of its own. */
	{ "rd", 0 },
	{ "wr", 0 },
	{ "ex", 0 },
	{ "sh", 0 },
	{ "mr", 0 },
	{ "me", 0 },
	{ "ms", 0 },
	{ "ac", 0 },
	{ "de", 0 },
	{ "sd", 0 },
	{ "gu", 0 },
	{ "mt", 0 },
	{ "bt", 0 },
	/* Memory protection keys would follow as values, not flags. */
	{ "mw", VMA_MARK_MAYWRITE },
	{ "gd", VMA_MARK_GROWSDOWN },
	{ "lo", VMA_MARK_LOCKED },
	{ "lf", VMA_MARK_LOCKONFAULT },
	{ "io", VMA_MARK_IO },
	{ "pf", VMA_MARK_PFNMAP },
	{ "mm", VMA_MARK_MIXEDMAP },
	{ "ht", VMA_MARK_HUGETLB },
	{ "sr", VMA_MARK_SEQUENTIAL },
	{ "rr", VMA_MARK_RANDOM },
	{ "dc", VMA_MARK_DONTFORK },
	{ "dd", VMA_MARK_DONTDUMP },
	{ "hg", VMA_MARK_HUGEPAGE },
	{ "nh", VMA_MARK_NOHUGEPAGE },
	{ "mg", VMA_MARK_MERGEABLE },
	{ "wf", VMA_MARK_WIPEONFORK },
	{ "nr", VMA_MARK_NORESERVE },
	{ "um", VMA_MARK_UFFD },
	{ "uw", VMA_MARK_UFFD_WP },
	{ "ui", VMA_MARK_UFFD },
	{ "ss", VMA_MARK_SHADOW_STACK },
	{ "sl", VMA_MARK_SEALED },
	{ "dp", VMA_MARK_DROPPABLE },
	{ "sf", VMA_MARK_SYNC },
};

static_assert(sizeof(vm_flags) / sizeof(vm_flags[0]) < 63, "a bit for each in vma.flag_names");

/* Reads digits of `base` at `*at` followed by `stop`, and steps over both. */
static bool number(const char **at, int base, char stop, uint64_t *value)
{
	char *end;

	if (!isxdigit((unsigned char)**at))
		return false;
	errno = 0;
	*value = strtoull(*at, &end, base);
	if (errno || end == *at || *end != stop)
		return false;
	*at = end + 1;
	return true;
}

/* "rwxp " */
static bool permissions(const char **at, struct vma *vma)
{
	const char *p = *at;

	for (int i = 0; i < 5; i++)
		if (p[i] == '\0')
			return false;
	if ((p[0] != 'r' && p[0] != '-') || (p[1] != 'w' && p[1] != '-') ||
	    (p[2] != 'x' && p[2] != '-') || (p[3] != 'p' && p[3] != 's') || p[4] != ' ')
		return false;
	vma->prot = (p[0] == 'r' ? PROT_READ : 0u) | (p[1] == 'w' ? PROT_WRITE : 0u) |
		    (p[2] == 'x' ? PROT_EXEC : 0u);
	vma->shared = p[3] == 's';
	*at += 5;
	return true;
}

/* "START-END rwxp OFFSET MAJ:MIN INODE      NAME" */
static bool parse_head(char *line, struct vma *vma)
{
	static const char gone[] = " (deleted)";
	const char *at = line;
	uint64_t major, minor;
	char *name;
	size_t len;

	memset(vma, 0, sizeof(*vma));
	if (!number(&at, 16, '-', &vma->start) || !number(&at, 16, ' ', &vma->end) ||
	    !permissions(&at, vma) || !number(&at, 16, ' ', &vma->offset) ||
	    !number(&at, 16, ':', &major) || !number(&at, 16, ' ', &minor))
		return false;
	if (vma->start >= vma->end || (vma->start | vma->end | vma->offset) & 4095 ||
	    major > UINT32_MAX || minor > UINT32_MAX)
		return false;
	vma->dev_major = (uint32_t)major;
	vma->dev_minor = (uint32_t)minor;
	if (!isdigit((unsigned char)*at))
		return false;
	errno = 0;
	vma->ino = strtoull(at, &name, 10);
	if (errno || (*name != '\0' && *name != ' '))
		return false;
	while (*name == ' ')
		name++;
	len = strlen(name);
	if (len > strlen(gone) && strcmp(name + len - strlen(gone), gone) == 0) {
		name[len - strlen(gone)] = '\0';
		vma->deleted = true;
	}
	vma->name = name;
	return true;
}

/* "VmFlags: rd wr mr mw me ac " */
static bool parse_vm_flags(const char *at, struct vma *vma)
{
	vma->has_flags = true;
	for (;;) {
		size_t i;

		while (*at == ' ')
			at++;
		if (*at == '\0')
			return true;
		if (at[1] == '\0' || (at[2] != ' ' && at[2] != '\0'))
			return false;
		for (i = 0; i < sizeof(vm_flags) / sizeof(vm_flags[0]); i++)
			if (memcmp(vm_flags[i].name, at, 2) == 0)
				break;
		if (i < sizeof(vm_flags) / sizeof(vm_flags[0])) {
			vma->marks |= vm_flags[i].mark;
			vma->flag_names |= 1ull << i;
		} else {
			vma->marks |= VMA_MARK_UNKNOWN;
			vma->flag_names |= MAPS_NAME_UNKNOWN;
			memcpy(vma->unknown, at, 2);
		}
		at += 2;
	}
}

/* "Key:   value"; keys not asked for are passed over. */
static bool parse_detail(const char *line, struct vma *vma)
{
	const char *colon = strchr(line, ':');
	unsigned long kib;
	char *end;

	if (!colon)
		return false;
	if (strncmp(line, "VmFlags:", 8) == 0)
		return parse_vm_flags(line + 8, vma);
	if (strncmp(line, "ProtectionKey:", 14) == 0 &&
	    strspn(line + 14, " 0") != strlen(line + 14))
		vma->marks |= VMA_MARK_KEY;
	if (*line != 'K' && *line != 'S' && *line != 'A')
		return true;
	kib = strtoul(colon + 1, &end, 10);
	if (strncmp(line, "KernelPageSize:", 15) == 0) {
		if (strcmp(end, " kB") != 0 || kib > UINT32_MAX)
			return false;
		vma->page_kib = (uint32_t)kib;
	} else if (strncmp(line, "Shared_Clean:", 13) == 0 ||
		   strncmp(line, "Shared_Dirty:", 13) == 0) {
		vma->shared_kib += kib;
	} else if (strncmp(line, "Anonymous:", 10) == 0) {
		vma->anon_kib = kib;
	}
	vma->shares_pages = !vma->shared && vma->anon_kib && vma->shared_kib;
	return true;
}

static bool is_head(const char *line)
{
	return isdigit((unsigned char)*line) || (*line >= 'a' && *line <= 'f');
}

static bool append(struct maps *maps, size_t *room, const struct vma *vma)
{
	if (maps->n > 0 && vma->start < maps->vmas[maps->n - 1].end)
		return false;
	if (maps->n == *room) {
		size_t more = *room ? *room * 2 : 256;
		struct vma *vmas = reallocarray(maps->vmas, more, sizeof(*vmas));

		if (!vmas)
			return false;
		maps->vmas = vmas;
		*room = more;
	}
	maps->vmas[maps->n++] = *vma;
	return true;
}

int maps_parse(char *text, size_t len, struct maps *maps)
{
	char *line = text, *end = text + len;
	size_t room = 0;

	memset(maps, 0, sizeof(*maps));
	maps->text = text;
	while (line < end) {
		char *stop = memchr(line, '\n', (size_t)(end - line));
		struct vma vma;

		if (!stop)
			goto err0;
		*stop = '\0';
		if (strlen(line) != (size_t)(stop - line))
			goto err0;
		if (is_head(line)) {
			if (!parse_head(line, &vma) || !append(maps, &room, &vma))
				goto err0;
		} else if (maps->n == 0 || !parse_detail(line, &maps->vmas[maps->n - 1])) {
			goto err0;
		}
		line = stop + 1;
	}
	return R_OK;

err0:
	maps_free(maps);
	return R_DAMAGED;
}

void maps_free(struct maps *maps)
{
	free(maps->vmas);
	free(maps->text);
	memset(maps, 0, sizeof(*maps));
}

uint32_t maps_marks(uint64_t flag_names)
{
	uint32_t marks = 0;

	for (size_t i = 0; i < sizeof(vm_flags) / sizeof(vm_flags[0]); i++)
		if (flag_names >> i & 1)
			marks |= vm_flags[i].mark;
	return marks;
}

int maps_read(pid_t pid, struct maps *maps)
{
	return maps_read_fast(pid, maps) ? R_OK : maps_read_smaps(pid, maps);
}

int maps_read_smaps(pid_t pid, struct maps *maps)
{
	char path[64], *text;
	size_t len;

	memset(maps, 0, sizeof(*maps));
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	if (io_read_file(AT_FDCWD, path, MAPS_MAX_BYTES, &text, &len) != R_OK) {
		if (errno == ENOENT || errno == ESRCH)
			return R_NOT_FOUND;
		warn_errno("pid %d: cannot read %s", pid, path);
		return R_FAILED;
	}
	if (maps_parse(text, len, maps) != R_OK) {
		warn("pid %d: %s is not what this version of snap understands", pid, path);
		return R_FAILED;
	}
	return R_OK;
}
