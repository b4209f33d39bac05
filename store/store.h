/*
 * The store as the rest of snap sees it: durable pages, objects made of them, and generations made
 * of objects.  It knows nothing of processes.  Layouts are in store/FORMAT.md.
 */
#ifndef SNAP_STORE_STORE_H
#define SNAP_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096u

/* What trees refer to.  The two reserved numbers stand for pages that are not stored. */
typedef uint64_t page_no;
#define PAGE_ABSENT ((page_no)0) /* nothing here: a private file mapping shows its file */
#define PAGE_ZERO ((page_no)1)	 /* a page of zeroes */

/* One address space, one file, one image: a page tree and how long it is. */
struct object {
	page_no root;
	uint32_t height; /* 0: root is the only page (index 0); n: 512^n pages below the root */
	uint64_t
	    length_bytes; /* of a file or image; for an address space, the end of the last page */
};

/* The facts of one generation that are known without reading its objects. */
#define LINEAGE_NAME_MAX 64
struct generation {
	uint64_t number; /* given at commit, never reused; see store_number_shown() */
	char lineage[LINEAGE_NAME_MAX];
	int64_t time_ns; /* CLOCK_REALTIME at the moment the tree was frozen */
	uint32_t root_pid;
	uint64_t root_start; /* start time of the root in clock ticks, /proc/PID/stat field 22 */
	uint8_t boot_id[16]; /* of the machine's run in which the root lived */
	uint32_t tasks;
	bool pinned;
	/* Memory read ahead of a take: what the next one builds on.  It cannot be restored, and
	 * only store_predump_latest() finds it. */
	bool predump;
	/* Of a pre-dump that is counted apart: the number that the next generation, of whatever
	 * lineage, was to get when it was committed. */
	uint64_t before;
	uint64_t frozen_ns, wall_ns;
	uint64_t pages_scanned, pages_new, pages_shared, pages_zero;
	uint64_t bytes_logical; /* of all objects, absent pages not counted */
	uint64_t bytes_stored;	/* that this take added to the packs, the next four together */
	uint64_t bytes_data;	/* of memory and files */
	uint64_t bytes_trees;	/* of page trees */
	uint64_t bytes_images;	/* of process images and the list of objects */
	uint64_t bytes_headers; /* of segments and packs */
	uint64_t bytes_index;	/* of keys and values it added to the index */
};

struct store;

/*
 * Opens the store in `dir`.  With `create`, an absent or empty directory becomes a new store
 * (0700). `writable` is for takes, pins, forget and gc; without it nothing below `dir` is written
 * but the index's reader table.  R_OK, R_NOT_FOUND (no such directory, or not a store: said which),
 * R_DAMAGED (its mark file is), R_FAILED (newer format, no permission, damaged index: reported).
 */
int store_open(const char *dir, bool create, bool writable, struct store **store);
void store_close(struct store *store);

/* True when the index of a store was found damaged by anything this process did.  Reported then:
 * what was written failed (R_FAILED), what was read is what could be read of it. */
bool store_index_damage_seen(void);

/* For signal handlers: this thread was reading or writing pages of an index. */
bool store_in_index(void);

/*
 * Makes the index anew if it is damaged, of the packs and the copy of what only the index knows.
 * `dir` must not be open in this process.  R_OK (`*rebuilt` tells whether it was needed),
 * R_NOT_FOUND, R_BUSY (somebody writes to the store), R_DAMAGED (there is no whole copy), R_FAILED;
 * all reported.
 */
int store_repair_index(const char *dir, bool *rebuilt);

/*
 * Notes that pages are known to be damaged, or that none are any more.  While it is noted, takes
 * trust no page they have not read, so that what is damaged and still in a target is stored again.
 */
int store_note_damage(struct store *store, bool any);
bool store_damage_noted(const struct store *store);

/*
 * A view: the store as it was at one moment.  While it is open, gc reclaims nothing it can reach.
 * Several views may be open at once, in any threads, one thread at a time for each.
 */
struct store_view;
int store_view_open(struct store *store, struct store_view **view);
void store_view_close(struct store_view *view);

/*
 * Says that the view is one of `n` that as many threads of the caller read through at the same
 * time: reading many pages then leaves the other processors to them, and its caches are smaller. To
 * be said before the first read.
 */
void store_view_one_of(struct store_view *view, unsigned int n);

/* Finds a generation by number, or the newest of a lineage.  R_OK or R_NOT_FOUND (not reported). */
int store_generation(struct store_view *view, uint64_t number, struct generation *gen);
int store_generation_latest(struct store_view *view, const char *lineage, struct generation *gen);
/* The same for what was read ahead of a take of the lineage, and not yet forgotten by gc. */
int store_predump_latest(struct store_view *view, const char *lineage, struct generation *gen);
/* Whether a pre-dump was committed after that generation. */
bool store_predump_is_newer(const struct generation *predump, uint64_t generation);
/* What a person sees: pre-dumps that are counted apart have numbers above all generations, and are
 * told from 1 on. */
uint64_t store_number_shown(uint64_t number);
bool store_number_is_apart(uint64_t number);

/* Calls `fn` for each generation in ascending order of number until it returns non-zero, which is
 * then the result. */
int store_generation_each(struct store_view *view,
			  int (*fn)(const struct generation *gen, void *arg), void *arg);

/* Finds the object `name` of a generation ("core-12", "files", "pages-12").  R_OK or R_NOT_FOUND
 * (not reported), R_DAMAGED. */
int store_object(struct store_view *view, uint64_t generation, const char *name,
		 struct object *object);
int store_object_each(struct store_view *view, uint64_t generation,
		      int (*fn)(const char *name, const struct object *object, void *arg),
		      void *arg);

/* Reads `n` stored pages into `buf` (n * PAGE_BYTES); PAGE_ZERO and PAGE_ABSENT read as zeroes.
 * Each is verified against its hash.  R_OK, or R_DAMAGED with the first bad one in `*bad`. */
int store_read_pages(struct store_view *view, const page_no *numbers, size_t n, void *buf,
		     page_no *bad);

/* One of many pages that are looked at in passing. */
struct store_visited {
	size_t at; /* its place among the numbers asked for */
	page_no number;
	unsigned int worker;  /* which thread it is, below STORE_WORKERS_MAX */
	const uint8_t *bytes; /* NULL: it is damaged */
	/* If it is stored as a difference to another page: that, and in which words of eight bytes
	 * they may differ (bit i % 8 of byte i / 8 is word i).  PAGE_ABSENT, NULL: it is not. */
	page_no base;
	const uint8_t *differs;
	/* The place of the base among the numbers asked for, as far as it was visited before;
	 * SIZE_MAX: it was not. */
	size_t base_at;
};
#define STORE_WORKERS_MAX 8u

/*
 * Reads `n` different stored pages, each verified against its hash, and calls `fn` for each, in any
 * order and from several threads.  What `visited` points to is valid during the call.  Pages
 * stored as differences cost little right behind what they differ from; a call for all that stood
 * at one place over time makes use of that.  R_OK, also where pages are damaged; R_FAILED.
 */
int store_visit_pages(struct store_view *view, const page_no *numbers, size_t n,
		      void (*fn)(const struct store_visited *visited, void *arg), void *arg);

/* Reads a whole small object (an image) into new memory, freed by the caller; a NUL follows it. */
int store_read_object(struct store_view *view, const struct object *object, void **data,
		      size_t *len);

/*
 * Walks the pages of an object in ascending order from index `first` up to and not including
 * `end`.  Calls `fn` for runs of at most 512 present pages (zero pages are present, absent ones are
 * skipped) with consecutive indexes, until it returns non-zero, which is then the result.
 */
int store_object_walk(struct store_view *view, const struct object *object, uint64_t first,
		      uint64_t end,
		      int (*fn)(uint64_t index, const page_no *numbers, size_t n, void *arg),
		      void *arg);

/*
 * Calls `fn` for each index at which two objects, of any generations, have different pages, in
 * ascending order; NULL stands for an object without pages.  Only what differs is read.  `fn`
 * returns non-zero to stop, which is then the result.  R_OK, R_DAMAGED (reported), R_FAILED.
 */
int store_object_diff(struct store_view *view, const struct object *before,
		      const struct object *after,
		      int (*fn)(uint64_t index, page_no before, page_no after, void *arg),
		      void *arg);

/*
 * Walks `n` objects side by side: calls `fn` for each 512 indexes from `index` (a multiple of 512)
 * on at which any of them has pages, in ascending order.  leaves[i] are the 512 numbers of object i
 * there, PAGE_ABSENT among them, or NULL if it has none; where an object is the same as the one
 * before it, both are one pointer, and nothing was read twice.  `fn` returns non-zero to stop,
 * which is then the result.  R_OK; R_DAMAGED: nodes were damaged, which was reported, and all the
 * rest was walked; R_FAILED.  Needs some 16 KiB for each object.
 */
int store_objects_walk(struct store_view *view, const struct object *objects, size_t n,
		       int (*fn)(uint64_t index, const page_no *const *leaves, void *arg),
		       void *arg);

/* Sets or clears the pin of a generation; a pinned one is kept by every policy. */
int store_generation_pin(struct store *store, uint64_t number, bool pinned);

/* What verification found wrong, and where: an object's page, or with `object` NULL the generation
 * itself, or with `generation` 0 the store's index. */
struct store_damage {
	uint64_t generation; /* as shown; `predump`: of a pre-dump */
	bool predump;
	const char *object;
	uint64_t index;	    /* page index within the object: address >> 12, or file offset >> 12 */
	page_no number;	    /* of the damaged page or tree node */
	const char *reason; /* a few words */
};

struct store_verify_options {
	uint64_t generation; /* only this one; 0: all of them */
	bool data;	     /* read and check every page, not only the trees */
	/* Told now and then how many of how many pages are done; may be NULL. */
	void (*progress)(uint64_t done_pages, uint64_t total_pages, void *arg);
	/* Told each damage; may be NULL. */
	void (*damage)(const struct store_damage *damage, void *arg);
	void *arg;
};

struct store_verify_result {
	uint64_t generations, objects;
	uint64_t pages;	  /* distinct stored pages looked at, tree nodes included */
	uint64_t damaged; /* damages told of */
};

/* Checks that everything the generations refer to is there and, with `data`, whole.  R_OK,
 * R_DAMAGED if there was damage, R_NOT_FOUND (no such generation, not reported), R_FAILED. */
int store_verify(struct store_view *view, const struct store_verify_options *options,
		 struct store_verify_result *result);

struct store_stats {
	uint64_t generations, lineages, packs, segments;
	uint64_t pages;		  /* distinct pages stored, tree nodes included */
	uint64_t bytes_packs;	  /* allocated on disk */
	uint64_t bytes_index;	  /* allocated on disk */
	uint64_t bytes_live;	  /* of segments in packs, headers included */
	uint64_t bytes_headers;	  /* of these, the headers */
	uint64_t bytes_condemned; /* of segments that await reclaim */
	uint64_t bytes_logical;	  /* sum over all generations: what they would take without dedup */
};
int store_stats(struct store_view *view, struct store_stats *stats);

#endif
