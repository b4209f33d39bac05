/*
 * Noting which pages a target writes between two takes, by userfaultfd in its asynchronous mode
 * (Linux 6.7): a write to a protected page lifts the protection and nothing else happens.
 *
 * A page is kept without being read only if all of this holds: the proof (track_record.h) names
 * this store, this lineage and its newest generation; its range was registered before this take,
 * with the very userfaultfd that the proof's keeper holds of this address space; and it is still
 * protected. Whatever is not private memory, or is new, moved, or of another program, is read.
 */
#ifndef SNAP_ENGINE_PROC_CAPTURE_TRACK_H
#define SNAP_ENGINE_PROC_CAPTURE_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/engine.h"
#include "engine/proc/capture/survey.h"

struct dump_ctx;
struct maps;
struct track;
struct track_point;
struct vma;

/* So much of its own must an address space have at least to be tracked. */
uint64_t track_least_bytes(enum track_method method);

/*
 * Before the freeze: takes the proof over, if there is one, so that nobody else relies on it; it
 * comes back by track_commit() only.  `point` is the newest generation of the lineage.  Never
 * fails: without a proof everything is read.  `*track` is NULL if there shall be no tracking or no
 * memory.
 */
void track_begin(pid_t root, enum track_method method, const struct track_point *point,
		 struct track **track);

/*
 * Decides for each range of a stopped task whether writes to it have been noted (vma->tracked) and
 * registers what is new, in address spaces that are tracked.  Marks of a harmless userfaultfd are
 * removed.  `track` may be NULL.
 */
void track_look(struct track *track, pid_t pid, struct maps *maps);

/* How far the marks of pages in this range may be relied on. */
enum survey_trust track_trust(const struct track *track, const struct vma *vma);

/*
 * Before a freeze after which memory is read while the tree runs (never before one that memory is
 * copied in): protects what was written since the proof, while it runs.  What that was stays noted,
 * as the freeze then finds it protected.  R_OK, or R_FAILED (reported): nothing may be committed.
 */
int track_protect_ahead(struct track *track);

/* Hands over what was noted so of one task: regions of SURVEY_OWN, for survey_free(). */
void track_take_written(struct track *track, pid_t pid, struct survey *written);

/*
 * When it is known that nothing is refused, before anything is read: begins to track the larger
 * address spaces that are not, and protects anew what was written.  Failures only mean that less is
 * tracked; R_NOT_FOUND (a task died), R_FAILED (reported: the target could not be put right).
 */
int track_protect(struct track *track, struct dump_ctx *ctx);

/* After the commit of `point`: gives the proof for it.  Without this call there is none. */
void track_commit(struct track *track, const struct track_point *point);

/* May writes to such a range be noted at all? */
bool track_may_note(const struct vma *vma);

/* Is the address space of this task tracked from now on? */
bool track_has(const struct track *track, pid_t pid);

/* Did track_commit() leave a proof? */
bool track_is_kept(const struct track *track);

/* Lets a page that was protected count as written, whatever else happens to it.  `track` may be
 * NULL. */
void track_lift(struct track *track, pid_t pid, uint64_t page);

/* True if track_begin() would find the proof for `point`. */
bool track_is_proven(pid_t root, const struct track_point *point);

/* Bytes that were written between the last two takes, or 0: what to make room for. */
uint64_t track_expected_bytes(const struct track *track);

/* What there was to rely on, and what is kept. */
void track_summarize(const struct track *track, const struct dump_ctx *ctx,
		     struct track_summary *summary);

void track_end(struct track *track);

#endif
