#include "engine/proc/btf.h"

#include <fcntl.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"

#define KERNEL_BTF "/sys/kernel/btf/vmlinux"
#define BTF_MAX_BYTES ((size_t)256 << 20)
#define HUGE_BYTES ((size_t)2 << 20)
/* A kernel has some 150 000 types. */
#define TYPES_MAX 4000000u
#define NESTED_MAX 8

struct btf {
	const uint8_t *types, *types_end;
	const char *strings;
	size_t strings_bytes;
	uint32_t *starts; /* of each type, from 1 on, in `types` */
	uint32_t n;
};

/* Bytes of what follows a type of this kind; SIZE_MAX for an unknown one. */
static size_t details_bytes(const struct btf_type *t)
{
	size_t n = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return n * 12;
	case BTF_KIND_FUNC_PROTO:
		return n * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return n * sizeof(struct btf_var_secinfo);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	}
	return SIZE_MAX;
}

static const struct btf_type *type_of(const struct btf *btf, uint32_t id)
{
	return id > 0 && id <= btf->n
		   ? (const struct btf_type *)(const void *)(btf->types + btf->starts[id])
		   : NULL;
}

static bool is_named(const struct btf *btf, uint32_t offset, const char *name)
{
	size_t len = strlen(name) + 1;

	return offset < btf->strings_bytes && len <= btf->strings_bytes - offset &&
	       memcmp(btf->strings + offset, name, len) == 0;
}

/* Steps over all types and notes where each is. */
static bool index_types(struct btf *btf)
{
	const uint8_t *at = btf->types;
	uint32_t room = 0;

	while ((size_t)(btf->types_end - at) >= sizeof(struct btf_type)) {
		const struct btf_type *t = (const void *)at;
		size_t details = details_bytes(t), left = (size_t)(btf->types_end - at);

		if (details > left - sizeof(*t) || btf->n == TYPES_MAX)
			return false;
		if (btf->n + 2 > room) {
			uint32_t *more;

			room = room ? room * 2 : 1u << 18;
			more = reallocarray(btf->starts, room, sizeof(*more));
			if (!more)
				return false;
			btf->starts = more;
		}
		btf->starts[++btf->n] = (uint32_t)(at - btf->types);
		at += sizeof(*t) + details;
	}
	return at == btf->types_end && btf->n > 0;
}

static bool is_compound(const struct btf_type *t)
{
	uint32_t kind = BTF_INFO_KIND(t->info);

	return kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION;
}

static bool find_member(const struct btf *btf, const struct btf_type *t, const char *name,
			int depth, uint32_t *bytes)
{
	const struct btf_member *m = (const void *)(t + 1);

	for (uint32_t i = 0; i < BTF_INFO_VLEN(t->info); i++, m++) {
		const struct btf_type *in = type_of(btf, m->type);
		uint32_t bits =
		    BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset;
		uint32_t further = 0;

		if (bits % 8)
			continue;
		if (is_named(btf, m->name_off, name)) {
			*bytes = bits / 8;
			return true;
		}
		if (m->name_off == 0 && in && is_compound(in) && depth < NESTED_MAX &&
		    find_member(btf, in, name, depth + 1, &further)) {
			*bytes = bits / 8 + further;
			return true;
		}
	}
	return false;
}

static bool find(const struct btf *btf, struct btf_wanted *wanted, size_t n)
{
	size_t left = n;
	bool *done = calloc(n, sizeof(*done));

	for (uint32_t id = 1; done && left && id <= btf->n; id++) {
		const struct btf_type *t = type_of(btf, id);
		bool function = BTF_INFO_KIND(t->info) == BTF_KIND_FUNC;

		if (!function && BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT)
			continue;
		for (size_t i = 0; i < n; i++) {
			struct btf_wanted *w = &wanted[i];

			if (done[i] || function != !w->member ||
			    !is_named(btf, t->name_off, w->name))
				continue;
			if (function)
				w->found = id;
			else if (!find_member(btf, t, w->member, 0, &w->found))
				continue;
			done[i] = true;
			left--;
		}
	}
	free(done);
	return done && left == 0;
}

bool btf_find_in(const void *file, size_t len, struct btf_wanted *wanted, size_t n)
{
	const struct btf_header *head = file;
	struct btf btf = { 0 };
	const uint8_t *body;
	size_t bytes;
	bool ok;

	if (len < sizeof(*head) || head->magic != BTF_MAGIC || head->hdr_len < sizeof(*head) ||
	    head->hdr_len > len)
		return false;
	body = (const uint8_t *)file + head->hdr_len;
	bytes = len - head->hdr_len;
	if (head->type_off > bytes || head->type_len > bytes - head->type_off ||
	    head->str_off > bytes || head->str_len > bytes - head->str_off ||
	    (head->hdr_len | head->type_off) % 4)
		return false;
	btf.types = body + head->type_off;
	btf.types_end = btf.types + head->type_len;
	btf.strings = (const char *)body + head->str_off;
	btf.strings_bytes = head->str_len;
	ok = index_types(&btf) && find(&btf, wanted, n);
	free(btf.starts);
	return ok;
}

/* Newer kernels (6.16) let it be mapped; otherwise it is read to where that takes few page faults.
 */
static void *get(int fd, size_t len, size_t *mapped)
{
	void *data = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);

	*mapped = len;
	if (data != MAP_FAILED)
		return data;
	*mapped = (len + HUGE_BYTES - 1) & -HUGE_BYTES;
	data = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		return NULL;
	madvise(data, *mapped, MADV_HUGEPAGE);
	if (io_pread_all(fd, data, len, 0) == R_OK)
		return data;
	munmap(data, *mapped);
	return NULL;
}

bool btf_find(struct btf_wanted *wanted, size_t n)
{
	int fd = open(KERNEL_BTF, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool found = false;
	size_t mapped;
	void *data;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && st.st_size > 0 && (size_t)st.st_size < BTF_MAX_BYTES) {
		data = get(fd, (size_t)st.st_size, &mapped);
		if (data) {
			found = btf_find_in(data, (size_t)st.st_size, wanted, n);
			munmap(data, mapped);
		}
	}
	close(fd);
	return found;
}
