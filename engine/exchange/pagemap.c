#include "engine/exchange/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/image/image.h"
#include "store/store.h"

/* Bits of pagemap_entry.flags. */
#define PE_PARENT 1u
#define PE_LAZY 2u
#define PE_PRESENT 4u
#define PE_KNOWN (PE_PARENT | PE_LAZY | PE_PRESENT)

#define BATCH_PAGES 1024
/* A pagemap of a terabyte of single pages. */
#define PAGEMAP_MAX_BYTES ((size_t)4 << 30)

/* Pages that follow each other. */
struct extent {
	uint64_t index, n;
	uint64_t offset; /* in the file of pages, of those that are in it */
	bool present;
};

/* One pagemap of one directory. */
struct pagemap {
	struct extent *extents;
	size_t n, room;
	struct dump_file pages; /* its descriptor is -1 where none was needed */
	uint64_t pages_bytes;
	char pages_name[32];
	bool loaded, exists;
};

struct level {
	struct dump_source source;
	char *path; /* owned: the source's path, or in a tar its prefix; of [0] there NULL */
	dev_t dev;
	ino_t ino;
	struct pagemap map; /* of the pagemap being read */
};

struct dump_chain {
	struct level *levels; /* [0] the dump itself */
	size_t n;
	uint8_t *buf;
};

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

static struct level *new_level(struct dump_chain *chain)
{
	struct level *more = reallocarray(chain->levels, chain->n + 1, sizeof(*more));

	if (!more)
		return NULL;
	chain->levels = more;
	memset(&more[chain->n], 0, sizeof(*more));
	more[chain->n].map.pages.fd = -1;
	return &more[chain->n++];
}

/* The directory `dirfd`, which becomes the level's, unless it is that of the dump itself. */
static int add_directory(struct dump_chain *chain, int dirfd, const char *path)
{
	struct level *level = new_level(chain);
	struct stat st;

	if (!level) {
		close(dirfd);
		return out_of_memory();
	}
	level->path = strdup(path);
	level->source = (struct dump_source){ .path = level->path, .dirfd = dirfd };
	if (!level->path)
		return out_of_memory();
	if (fstat(dirfd, &st) != 0) {
		warn_errno("%s", path);
		return R_FAILED;
	}
	level->dev = st.st_dev;
	level->ino = st.st_ino;
	for (size_t i = 0; i + 1 < chain->n; i++)
		if (chain->levels[i].dev == st.st_dev && chain->levels[i].ino == st.st_ino) {
			warn("%s: its parents lead back to it; no pages can be had that way", path);
			return R_DAMAGED;
		}
	return R_OK;
}

/* The parent of the last level.  R_NOT_FOUND: it has none. */
static int add_parent(struct dump_chain *chain)
{
	const struct level *last = &chain->levels[chain->n - 1];
	char path[4096];
	struct stat st;
	int fd;

	if (fstatat(last->source.dirfd, "parent", &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
		return R_NOT_FOUND;
	snprintf(path, sizeof(path), "%s/parent", last->source.path);
	fd = openat(last->source.dirfd, "parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		warn_errno("%s: the dump this one is an increment to; it is needed for its pages",
			   path);
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? R_DAMAGED : R_FAILED;
	}
	if (chain->n == DUMP_LEVELS_MAX) {
		warn("%s: more than %d dumps in a row", chain->levels[0].source.path,
		     DUMP_LEVELS_MAX);
		close(fd);
		return R_DAMAGED;
	}
	return add_directory(chain, fd, path);
}

/* A dump in a tar, and its parents there. */
static int add_folders(struct dump_chain *chain, const struct dump_source *source)
{
	struct dump_source next = *source, parent;
	char *prefix = NULL;
	int rc = R_OK;

	while (rc == R_OK) {
		struct level *level = new_level(chain);

		if (!level) {
			free(prefix);
			return out_of_memory();
		}
		level->source = next;
		level->path = prefix;
		rc = source_parent(&next, &parent, &prefix);
		for (size_t i = 0; rc == R_OK && i < chain->n; i++)
			if (strcmp(chain->levels[i].source.prefix, prefix) == 0) {
				warn("%s: the parents of %s lead back to it; no pages can be had "
				     "that way",
				     source->path, source->prefix);
				rc = R_DAMAGED;
			}
		next = parent;
		if (rc != R_OK)
			free(prefix);
	}
	return rc == R_NOT_FOUND ? R_OK : rc;
}

static int add_levels(struct dump_chain *chain, const struct dump_source *source)
{
	int own, rc;

	if (source->dirfd < 0)
		return add_folders(chain, source);
	own = fcntl(source->dirfd, F_DUPFD_CLOEXEC, 0);
	if (own < 0) {
		warn_errno("%s", source->path);
		return R_FAILED;
	}
	rc = add_directory(chain, own, source->path);
	while (rc == R_OK)
		rc = add_parent(chain);
	return rc == R_NOT_FOUND ? R_OK : rc;
}

int dump_chain_open(const struct dump_source *source, struct dump_chain **out)
{
	struct dump_chain *chain = calloc(1, sizeof(*chain));
	int rc;

	*out = NULL;
	if (!chain)
		return out_of_memory();
	chain->buf = malloc((size_t)BATCH_PAGES * PAGE_BYTES);
	rc = chain->buf ? add_levels(chain, source) : out_of_memory();
	if (rc != R_OK)
		dump_chain_close(chain);
	else
		*out = chain;
	return rc;
}

static void forget_map(struct pagemap *map)
{
	dump_file_close(&map->pages);
	free(map->extents);
	memset(map, 0, sizeof(*map));
	map->pages.fd = -1;
}

void dump_chain_close(struct dump_chain *chain)
{
	if (!chain)
		return;
	for (size_t i = 0; i < chain->n; i++) {
		forget_map(&chain->levels[i].map);
		if (chain->levels[i].source.dirfd >= 0)
			close(chain->levels[i].source.dirfd);
		free(chain->levels[i].path);
	}
	free(chain->levels);
	free(chain->buf);
	free(chain);
}

size_t dump_chain_levels(const struct dump_chain *chain)
{
	return chain->n;
}

static int damaged(const struct level *level, const char *name, uint64_t index, const char *what)
{
	warn("%s/%s.img: at 0x%" PRIx64 ": %s", level->source.path, name, index * PAGE_BYTES, what);
	return R_DAMAGED;
}

static int add_extent(const struct level *level, const char *name, struct pagemap *map,
		      const PagemapEntry *entry)
{
	const struct extent *last = map->n ? &map->extents[map->n - 1] : NULL;
	uint64_t index = entry->vaddr / PAGE_BYTES;
	uint64_t n = entry->has_nr_pages ? entry->nr_pages : entry->compat_nr_pages;
	uint32_t flags = entry->has_flags ? entry->flags : PE_PRESENT;
	struct extent *more;

	if (entry->has_in_parent && entry->in_parent)
		flags = PE_PARENT;
	if (entry->base.n_unknown_fields) {
		warn("%s/%s.img: at 0x%" PRIx64 ": an entry with fields of a CRIU later than 4.2, "
		     "such as those of compressed pages",
		     level->source.path, name, entry->vaddr);
		return R_UNSUPPORTED;
	}
	if (flags & ~PE_KNOWN) {
		warn("%s/%s.img: at 0x%" PRIx64 ": flags 0x%x are of a CRIU later than 4.2; what "
		     "they mean is not known here",
		     level->source.path, name, entry->vaddr, flags);
		return R_UNSUPPORTED;
	}
	if (entry->vaddr % PAGE_BYTES || !n || n > UINT64_MAX / PAGE_BYTES - index)
		return damaged(level, name, index, "an entry that is no range of pages");
	if (last && index < last->index + last->n)
		return damaged(level, name, index, "an entry that is not behind the one before");
	if (!(flags & (PE_PARENT | PE_PRESENT)))
		return damaged(level, name, index, "pages that are nowhere");
	if (map->n == map->room) {
		size_t room = map->room ? 2 * map->room : 64;

		more = reallocarray(map->extents, room, sizeof(*more));
		if (!more)
			return out_of_memory();
		map->extents = more;
		map->room = room;
	}
	map->extents[map->n++] = (struct extent){
		.index = index, .n = n, .offset = map->pages_bytes, .present = flags & PE_PRESENT
	};
	if (flags & PE_PRESENT) {
		if (n * PAGE_BYTES > INT64_MAX - map->pages_bytes)
			return damaged(level, name, index, "more pages than any file holds");
		map->pages_bytes += n * PAGE_BYTES;
	}
	return R_OK;
}

/* The head, then the entries. */
static int read_entries(const struct level *level, const char *name, struct pagemap *map,
			struct image_reader *reader)
{
	ProtobufCMessage *message;
	int rc = image_next_of(reader, &pagemap_head__descriptor, &message);

	if (rc == R_NOT_FOUND)
		return damaged(level, name, 0, "it is empty");
	if (rc != R_OK)
		return rc;
	snprintf(map->pages_name, sizeof(map->pages_name), "pages-%u.img",
		 ((const PagemapHead *)message)->pages_id);
	image_free_message(message);
	while (rc == R_OK && (rc = image_next(reader, &message)) == R_OK) {
		rc = add_extent(level, name, map, (const PagemapEntry *)message);
		image_free_message(message);
	}
	return rc == R_NOT_FOUND ? R_OK : rc;
}

static int open_pages(const struct level *level, const char *name, struct pagemap *map)
{
	int rc;

	if (!map->pages_bytes)
		return R_OK;
	rc = source_open(&level->source, map->pages_name, &map->pages);
	if (rc == R_NOT_FOUND) {
		warn("%s/%s, which %s.img leads to, is not there", level->source.path,
		     map->pages_name, name);
		return R_DAMAGED;
	}
	if (rc != R_OK || map->pages.size >= map->pages_bytes)
		return rc;
	warn("%s/%s holds %" PRIu64 " bytes, of the %" PRIu64 " that %s.img tells of",
	     level->source.path, map->pages_name, map->pages.size, map->pages_bytes, name);
	return R_DAMAGED;
}

/* The entries only; `map->exists` tells whether there is such a pagemap. */
static int load_entries(struct level *level, const char *name)
{
	struct pagemap *map = &level->map;
	struct image_reader reader;
	char file[NAME_MAX + 1];
	char *data;
	size_t len;
	int rc;

	map->loaded = true;
	snprintf(file, sizeof(file), "%s.img", name);
	rc = source_read(&level->source, file, PAGEMAP_MAX_BYTES, &data, &len);
	if (rc != R_OK)
		return rc == R_NOT_FOUND ? R_OK : rc;
	map->exists = true;
	rc = image_open(&reader,
			strncmp(name, "pagemap-shmem", 13) ? IMAGE_PAGEMAP : IMAGE_PAGEMAP_SHMEM,
			name, data, len);
	if (rc == R_OK)
		rc = read_entries(level, name, map, &reader);
	free(data);
	return rc;
}

static int load_map(struct level *level, const char *name)
{
	int rc = load_entries(level, name);

	return rc == R_OK && level->map.exists ? open_pages(level, name, &level->map) : rc;
}

int dump_pagemap_load(struct dump_chain *chain, const char *name, char *pages, size_t room)
{
	struct pagemap *map = &chain->levels[0].map;
	int rc;

	forget_map(map);
	rc = load_entries(&chain->levels[0], name);
	if (rc == R_OK && !map->exists)
		return R_NOT_FOUND;
	snprintf(pages, room, "%s", map->pages_name);
	return rc;
}

int dump_pagemap_each(struct dump_chain *chain,
		      int (*fn)(uint64_t index, uint64_t n, bool present, void *arg), void *arg)
{
	const struct pagemap *map = &chain->levels[0].map;
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < map->n; i++)
		rc = fn(map->extents[i].index, map->extents[i].n, map->extents[i].present, arg);
	return rc;
}

/* The extent that holds `index`, or NULL. */
static const struct extent *find_extent(const struct pagemap *map, uint64_t index)
{
	size_t low = 0, high = map->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct extent *e = &map->extents[mid];

		if (index < e->index)
			high = mid;
		else if (index >= e->index + e->n)
			low = mid + 1;
		else
			return e;
	}
	return NULL;
}

struct reading {
	struct dump_chain *chain;
	const char *name;
	int (*fn)(uint64_t index, const void *pages, size_t n, void *arg);
	void *arg;
};

/* What dedup of CRIU leaves of pages that a later dump has: holes, which read as zeroes.  In a tar
 * they cannot be told from zeroes any more. */
static bool is_punched(const struct dump_file *file, uint64_t offset, uint64_t bytes)
{
	off_t hole = file->own ? lseek(file->fd, (off_t)offset, SEEK_HOLE) : -1;

	return hole >= 0 && (uint64_t)hole < offset + bytes;
}

static int read_extent(const struct reading *r, size_t depth, uint64_t index, uint64_t n,
		       uint64_t offset)
{
	const struct level *level = &r->chain->levels[depth];
	int rc = R_OK;

	if (depth && is_punched(&level->map.pages, offset, n * PAGE_BYTES))
		return damaged(level, r->name, index,
			       "pages a later dump needs have been punched out (by --auto-dedup?)");
	for (uint64_t done = 0; rc == R_OK && done < n;) {
		size_t some = n - done < BATCH_PAGES ? (size_t)(n - done) : BATCH_PAGES;

		rc = dump_file_read(&level->map.pages, r->chain->buf, some * PAGE_BYTES,
				    offset + done * PAGE_BYTES);
		if (rc == R_DAMAGED)
			return damaged(level, r->name, index + done,
				       "the file of pages became shorter");
		if (rc != R_OK) {
			warn_errno("%s/%s", level->source.path, level->map.pages_name);
			return R_FAILED;
		}
		rc = r->fn(index + done, r->chain->buf, some, r->arg);
		done += some;
	}
	return rc;
}

/* Pages as the directory at `depth` has them, or its parents.  Not deeper than the chain is long,
 * which is bounded. */
static int read_range(const struct reading *r, size_t depth, uint64_t index, uint64_t n)
{
	int rc = R_OK;

	while (rc == R_OK && n > 0) {
		const struct extent *e;
		uint64_t some;

		if (depth == r->chain->n)
			return damaged(&r->chain->levels[0], r->name, index,
				       "its pages are in no parent of this dump");
		if (!r->chain->levels[depth].map.loaded)
			rc = load_map(&r->chain->levels[depth], r->name);
		if (rc != R_OK)
			return rc;
		e = find_extent(&r->chain->levels[depth].map, index);
		if (!e)
			return damaged(&r->chain->levels[depth], r->name, index,
				       "a later dump says that its pages are here");
		some = e->index + e->n - index;
		some = some < n ? some : n;
		if (e->present)
			rc = read_extent(r, depth, index, some,
					 e->offset + (index - e->index) * PAGE_BYTES);
		else
			rc = read_range(r, depth + 1, index, some);
		index += some;
		n -= some;
	}
	return rc;
}

int dump_pages_each(struct dump_chain *chain, const char *name,
		    int (*fn)(uint64_t index, const void *pages, size_t n, void *arg), void *arg)
{
	struct reading r = { chain, name, fn, arg };
	struct pagemap *map = &chain->levels[0].map;
	int rc;

	for (size_t i = 0; i < chain->n; i++)
		forget_map(&chain->levels[i].map);
	rc = load_map(&chain->levels[0], name);
	if (rc == R_OK && !map->exists)
		return R_NOT_FOUND;
	for (size_t i = 0; rc == R_OK && i < map->n; i++)
		rc = read_range(&r, 0, map->extents[i].index, map->extents[i].n);
	return rc;
}
