#include "engine/rebuild/rebuild.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/room.h"
#include "base/warn.h"
#include "engine/image/image.h"

/*
 * Threads share the work, because half of it is decompression and half the faults of the task's new
 * pages.  Each has a view of its own and goes over a stretch of the address space: pages lie in a
 * generation, and differences in each later one, in the order of addresses, so that with one
 * cluster of every generation in the view's cache each is decompressed once.  Where one stretch
 * meets another, two threads decompress the same ones; so there are no more stretches than threads
 * to begin with, and who is done takes over half of what another has left.
 */
#define BATCH_PAGES 128 /* of one read and one write: half a MiB, which a processor has at hand */
#define WINDOW_PAGES (1u << 20) /* gathered at once: 4 GiB of the task, 16 MiB here */
#define THREADS_MAX 4
#define SHARED_MIN (8 * BATCH_PAGES) /* less is left to who has it */
/* Below this a thread costs more than it saves. */
#define PAGES_PER_THREAD 4096

struct place {
	page_no number;
	uint64_t address;
};

struct fill {
	struct rebuild_task *t;
	const VmaEntry *vma; /* whose pages are being gathered */
	struct place *places;
	size_t n_places, room;

	pthread_mutex_t lock; /* for what follows, and the stretches, while threads run */
	struct worker *workers;
	size_t n_workers;
	int result; /* the first that was not R_OK; already reported */
};

/* What one thread works with. */
struct worker {
	struct fill *fill;
	size_t at, end; /* its stretch of fill->places, as far as nobody has begun with it */
	struct store_view *view;
	uint8_t *buffer;
	page_no numbers[BATCH_PAGES];
	struct iovec runs[BATCH_PAGES]; /* in the task, in the order of `numbers` */
	pthread_t thread;
};

static int report_bad(struct fill *fill, const struct place *places, size_t n, page_no bad)
{
	const struct rebuild_task *t = fill->t;

	for (size_t i = 0; i < n; i++)
		if (places[i].number == bad) {
			warn("generation %llu: memory of task %d is damaged at 0x%llx",
			     (unsigned long long)t->r->gen.number, t->pid,
			     (unsigned long long)places[i].address);
			return R_DAMAGED;
		}
	warn("generation %llu: memory of task %d is damaged", (unsigned long long)t->r->gen.number,
	     t->pid);
	return R_DAMAGED;
}

/* Pages that follow each other in the task are one range of the write. */
static size_t make_runs(struct worker *w, const struct place *places, size_t n)
{
	size_t runs = 0;

	for (size_t i = 0; i < n; i++) {
		struct iovec *last = runs ? &w->runs[runs - 1] : NULL;

		w->numbers[i] = places[i].number;
		if (last && (uintptr_t)last->iov_base + last->iov_len == places[i].address)
			last->iov_len += PAGE_BYTES;
		else
			w->runs[runs++] =
			    (struct iovec){ (void *)(uintptr_t)places[i].address, PAGE_BYTES };
	}
	return runs;
}

static int fill_batch(struct worker *w, const struct place *places, size_t n)
{
	struct iovec local = { w->buffer, n * PAGE_BYTES };
	size_t runs = make_runs(w, places, n);
	page_no bad = 0;
	ssize_t put;
	int rc;

	rc = store_read_pages(w->view, w->numbers, n, w->buffer, &bad);
	if (rc)
		return rc == R_DAMAGED ? report_bad(w->fill, places, n, bad) : rc;
	put = process_vm_writev(w->fill->t->pid, &local, 1, w->runs, runs, 0);
	if (put == (ssize_t)local.iov_len)
		return R_OK;
	/* What was written ends before the page that cannot be. */
	if (put >= 0)
		errno = EFAULT;
	else
		put = 0;
	warn_errno("task %d: cannot write its memory at 0x%llx", w->fill->t->pid,
		   (unsigned long long)places[(size_t)put / PAGE_BYTES].address);
	return R_FAILED;
}

/* The pages of the generation are about those of all memory.  Once the old target has been ended
 * for this one, stopping would leave neither. */
static int tell(struct rebuild *r, uint64_t written)
{
	if (!progress_tell(r->progress, "filling memory", written,
			   r->gen.bytes_logical / PAGE_BYTES, PROGRESS_PAGES) &&
	    !r->living)
		return R_FAILED;
	return R_OK;
}

/* Makes half of the longest stretch that another has left the worker's own; false if none is worth
 * that.  Called with the lock held. */
static bool share(struct worker *w)
{
	struct fill *fill = w->fill;
	struct worker *busiest = w;

	for (size_t i = 0; i < fill->n_workers; i++) {
		struct worker *other = &fill->workers[i];

		if (other->end - other->at > busiest->end - busiest->at)
			busiest = other;
	}
	if (busiest->end - busiest->at < SHARED_MIN)
		return false;
	w->end = busiest->end;
	w->at = busiest->end -= (busiest->end - busiest->at) / 2;
	return true;
}

/* Batch by batch, until there are none, or something failed anywhere. */
static void work(struct worker *w, bool tells)
{
	struct fill *fill = w->fill;
	struct rebuild *r = fill->t->r;

	pthread_mutex_lock(&fill->lock);
	while (fill->result == R_OK && (w->at < w->end || share(w))) {
		size_t at = w->at, n = w->end - at < BATCH_PAGES ? w->end - at : BATCH_PAGES;
		uint64_t written;
		int rc;

		w->at += n;
		pthread_mutex_unlock(&fill->lock);
		rc = fill_batch(w, fill->places + at, n);
		pthread_mutex_lock(&fill->lock);
		written = r->pages_written += n;
		if (rc == R_OK && tells) {
			pthread_mutex_unlock(&fill->lock);
			rc = tell(r, written);
			pthread_mutex_lock(&fill->lock);
		}
		if (rc && !fill->result)
			fill->result = rc;
	}
	pthread_mutex_unlock(&fill->lock);
}

static void *work_thread(void *arg)
{
	work(arg, false);
	return NULL;
}

static int worker_open(struct worker *w, struct fill *fill, struct store_view *view)
{
	w->fill = fill;
	w->view = view;
	w->buffer = room_get(BATCH_PAGES * PAGE_BYTES);
	if (!w->buffer) {
		warn("out of memory");
		return R_FAILED;
	}
	return view ? R_OK : store_view_open(fill->t->r->store, &w->view);
}

static void worker_close(struct worker *w)
{
	if (w->view != w->fill->t->r->view)
		store_view_close(w->view);
	room_put(w->buffer, BATCH_PAGES * PAGE_BYTES);
}

static size_t threads_wanted(const struct fill *fill)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = fill->n_places / PAGES_PER_THREAD;

	if (cpus < 1)
		cpus = 1;
	if (n > (size_t)cpus)
		n = (size_t)cpus;
	if (n > THREADS_MAX)
		n = THREADS_MAX;
	return n ? n : 1;
}

/* One worker is this thread, with the view that is there; signals are for this thread only. */
static int run_workers(struct fill *fill)
{
	struct worker *workers;
	size_t wanted = threads_wanted(fill), n = 0, started = 0;
	sigset_t all, before;
	int rc = R_OK;

	workers = calloc(wanted, sizeof(*workers));
	if (!workers) {
		warn("out of memory");
		return R_FAILED;
	}
	for (; rc == R_OK && n < wanted; n++) {
		workers[n].at = fill->n_places * n / wanted;
		workers[n].end = fill->n_places * (n + 1) / wanted;
		rc = worker_open(&workers[n], fill, n ? NULL : fill->t->r->view);
		if (rc == R_OK)
			store_view_one_of(workers[n].view, (unsigned int)wanted);
	}
	fill->workers = workers;
	fill->n_workers = n;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* The stretch of a thread that cannot be had is done by the others. */
	for (size_t i = 1; rc == R_OK && i < n; i++, started++)
		if (pthread_create(&workers[i].thread, NULL, work_thread, &workers[i]) != 0)
			break;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == R_OK)
		work(&workers[0], true);
	for (size_t i = 1; i <= started; i++)
		pthread_join(workers[i].thread, NULL);
	for (size_t i = started + 1; rc == R_OK && i < n; i++)
		work(&workers[i], true);
	while (n > 0)
		worker_close(&workers[--n]);
	free(workers);
	return rc ? rc : fill->result;
}

/* Writes what has been gathered. */
static int flush(struct fill *fill)
{
	int rc;

	if (!fill->n_places)
		return R_OK;
	rc = run_workers(fill);
	fill->n_places = 0;
	return rc;
}

static int make_room(struct fill *fill)
{
	size_t room = fill->room ? fill->room * 2 : BATCH_PAGES;
	struct place *places = realloc(fill->places, room * sizeof(*places));

	if (!places) {
		warn("out of memory");
		return R_FAILED;
	}
	fill->places = places;
	fill->room = room;
	return R_OK;
}

struct fill *fill_begin(struct rebuild_task *t)
{
	struct fill *fill = calloc(1, sizeof(*fill));

	if (!fill) {
		warn("out of memory");
		return NULL;
	}
	fill->t = t;
	pthread_mutex_init(&fill->lock, NULL);
	return fill;
}

int fill_page(struct fill *fill, uint64_t index, page_no number)
{
	int rc = R_OK;

	if (fill->n_places == WINDOW_PAGES)
		rc = flush(fill);
	if (rc == R_OK && fill->n_places == fill->room)
		rc = make_room(fill);
	if (rc == R_OK)
		fill->places[fill->n_places++] = (struct place){ number, index * PAGE_BYTES };
	return rc;
}

int fill_end(struct fill *fill, int rc)
{
	if (rc == R_OK)
		rc = flush(fill);
	pthread_mutex_destroy(&fill->lock);
	free(fill->places);
	free(fill);
	return rc;
}

static int take_run(uint64_t index, const page_no *numbers, size_t n, void *arg)
{
	struct fill *fill = arg;
	/* Fresh anonymous memory is zero; where a file would show through, a zero must be written.
	 */
	bool skip_zero = !(fill->vma->status & VMA_STATUS_FILE_PRIVATE);
	int rc = R_OK;

	for (size_t i = 0; rc == R_OK && i < n; i++)
		if (numbers[i] != PAGE_ZERO || !skip_zero)
			rc = fill_page(fill, index + i, numbers[i]);
	return rc;
}

int fill_range(struct fill *fill, const VmaEntry *vma)
{
	fill->vma = vma;
	return store_object_walk(fill->t->r->view, &fill->t->pages, vma->start / PAGE_BYTES,
				 vma->end / PAGE_BYTES, take_run, fill);
}

int fill_task(struct rebuild_task *t)
{
	struct fill *fill;
	int rc = R_OK;

	if (!t->has_pages)
		return R_OK;
	fill = fill_begin(t);
	if (!fill)
		return R_FAILED;
	for (size_t i = 0; rc == R_OK && i < t->mm->n_vmas; i++) {
		const VmaEntry *vma = t->mm->vmas[i];

		if (!(vma->status & (VMA_STATUS_ANON_PRIVATE | VMA_STATUS_FILE_PRIVATE)))
			continue;
		if (vma->status & (VMA_OF_KERNEL | VMA_STATUS_GUARD) || t->vmas[i].filled)
			continue;
		rc = fill_range(fill, vma);
	}
	return fill_end(fill, rc);
}
