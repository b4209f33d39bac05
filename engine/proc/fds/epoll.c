/* epoll(7): the set of files it watches, under the numbers and data they were added with. */
#include "engine/proc/fds/fds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"

static bool epoll_probe(const struct taken_file *f)
{
	return strcmp(f->link, "anon_inode:[eventpoll]") == 0;
}

static size_t count_lines(const char *info)
{
	size_t n = 0;

	for (const char *at = info; (at = fdinfo_value(at, "tfd")); at = strchr(at, '\n'))
		n++;
	return n;
}

static int parse_set(struct fds_take *take, struct taken_file *f, EventpollFileEntry *epfd)
{
	size_t n = count_lines(f->info);
	const char *at = f->info;
	EventpollTfdEntry *rows = fds_take_alloc(take, (n + 1) * sizeof(*rows));

	epfd->tfd = fds_take_alloc(take, (n + 1) * sizeof(*epfd->tfd));
	if (!rows || !epfd->tfd)
		return R_FAILED;
	for (; (at = fdinfo_value(at, "tfd")); at = strchr(at, '\n')) {
		EventpollTfdEntry *row = &rows[epfd->n_tfd];
		uint64_t pos = 0, inode = 0;
		uint32_t dev = 0;
		int got;

		eventpoll_tfd_entry__init(row);
		got = sscanf(at,
			     "%" SCNu32 " events: %" SCNx32 " data: %" SCNx64 " pos:%" SCNu64
			     " ino:%" SCNx64 " sdev:%" SCNx32,
			     &row->tfd, &row->events, &row->data, &pos, &inode, &dev);
		if (got < 3) {
			warn("%s: this kernel does not tell what it watches", taken_file_name(f));
			return R_UNSUPPORTED;
		}
		row->id = f->id;
		row->has_pos = row->has_inode = row->has_dev = got == 6;
		row->pos = pos;
		row->inode = inode;
		row->dev = dev;
		epfd->tfd[epfd->n_tfd++] = row;
	}
	return R_OK;
}

static int epoll_dump(struct fds_take *take, struct taken_file *f)
{
	EventpollFileEntry *epfd = fds_take_alloc(take, sizeof(*epfd));

	if (!epfd)
		return R_FAILED;
	eventpoll_file_entry__init(epfd);
	epfd->id = f->id;
	epfd->flags = f->flags;
	epfd->fown = &f->fown;
	f->entry.epfd = epfd;
	return parse_set(take, f, epfd);
}

/* The description behind one row; rows of equal number are told apart by their rank. */
static struct taken_file *find_watched(struct fds_take *take, const struct taken_file *epoll,
				       uint32_t tfd, uint32_t rank)
{
	struct kcmp_epoll_slot slot = { (uint32_t)epoll->local, tfd, rank };
	size_t low = 0, high = take->n_by_kcmp;
	pid_t self = getpid();

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		long order = syscall(SYS_kcmp, self, self, KCMP_EPOLL_TFD,
				     (unsigned long)take->by_kcmp[mid]->local, &slot);

		if (order < 0 || order > 2)
			return NULL;
		if (order == 0)
			return take->by_kcmp[mid];
		if (order == 1)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static int by_number(const void *a, const void *b)
{
	const EventpollTfdEntry *left = **(EventpollTfdEntry * *const *)a;
	const EventpollTfdEntry *right = **(EventpollTfdEntry * *const *)b;

	if (left->tfd != right->tfd)
		return left->tfd < right->tfd ? -1 : 1;
	/* Where they stand in the set is their rank. */
	return (*(EventpollTfdEntry * *const *)a > *(EventpollTfdEntry * *const *)b) ? 1 : -1;
}

/* ranks[i]: how many rows before row i have the same number. */
static int rank_rows(struct fds_take *take, const EventpollFileEntry *epfd, uint32_t **ranks)
{
	EventpollTfdEntry ***order = fds_take_alloc(take, (epfd->n_tfd + 1) * sizeof(*order));

	*ranks = fds_take_alloc(take, (epfd->n_tfd + 1) * sizeof(**ranks));
	if (!order || !*ranks)
		return R_FAILED;
	for (size_t i = 0; i < epfd->n_tfd; i++)
		order[i] = &epfd->tfd[i];
	qsort(order, epfd->n_tfd, sizeof(*order), by_number);
	for (size_t i = 1; i < epfd->n_tfd; i++) {
		if ((*order[i])->tfd == (*order[i - 1])->tfd)
			(*ranks)[order[i] - epfd->tfd] = (*ranks)[order[i - 1] - epfd->tfd] + 1;
	}
	return R_OK;
}

static int put_targets(struct taken_file *f, void *arg)
{
	struct fds_take *take = arg;
	EventpollFileEntry *epfd = f->entry.epfd;
	uint32_t *ranks;
	int result = R_OK;

	if (f->kind != &fd_kind_epoll || !epfd)
		return R_OK;
	if (rank_rows(take, epfd, &ranks) != R_OK)
		return R_FAILED;
	for (size_t i = 0; i < epfd->n_tfd; i++) {
		SnapEpollEntry entry = SNAP_EPOLL_ENTRY__INIT;
		struct taken_file *watched = find_watched(take, f, epfd->tfd[i]->tfd, ranks[i]);

		if (!watched) {
			warn("%s: watches a file (number %u) that no task of the tree has open any "
			     "more; cannot be snapshotted",
			     taken_file_name(f), epfd->tfd[i]->tfd);
			result = R_UNSUPPORTED;
			continue;
		}
		entry.id = f->id;
		entry.tfd = epfd->tfd[i]->tfd;
		entry.file_id = watched->id;
		fds_take_put(take, IMAGE_SNAP_EPOLL, &entry.base, NULL, 0);
	}
	return result;
}

static int epoll_dump_end(struct fds_take *take)
{
	return fds_take_each(take, put_targets, take);
}

/* ids[i] is the file that row i of the entry watches; 0: not told. */
struct epoll_set {
	size_t filled;
	uint32_t ids[];
};

static int load_target(struct fds_restore *restore, const ProtobufCMessage *message,
		       const void *payload, size_t bytes)
{
	const SnapEpollEntry *entry = (const SnapEpollEntry *)message;
	struct restored_file *f = fds_restore_known(restore, entry->id);
	struct epoll_set *set;

	(void)payload;
	(void)bytes;
	if (!f || !f->entry->epfd)
		goto err0;
	if (!f->priv)
		f->priv = calloc(1, sizeof(*set) + f->entry->epfd->n_tfd * sizeof(uint32_t));
	set = f->priv;
	/* Rows stand in the order of the entry's own. */
	if (!set || set->filled >= f->entry->epfd->n_tfd ||
	    f->entry->epfd->tfd[set->filled]->tfd != entry->tfd)
		goto err0;
	set->ids[set->filled++] = entry->file_id;
	return R_OK;

err0:
	warn("image snap-epoll: does not go with image files at open file %u; run 'snap verify'",
	     entry->id);
	return R_DAMAGED;
}

static int epoll_load(struct fds_restore *restore)
{
	return fds_restore_each(restore, IMAGE_SNAP_EPOLL, NULL, load_target);
}

static int epoll_check(struct fds_restore *restore, struct restored_file *f)
{
	(void)restore;
	return f->entry->epfd ? R_OK : R_DAMAGED;
}

static int epoll_open(struct fds_restore *restore, struct restored_file *f)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0) {
		warn_errno("open file %u: cannot make an epoll", f->id);
		return R_FAILED;
	}
	return fds_restore_adopt_as(restore, f, fd, f->entry->epfd->flags, 0);
}

/* Our descriptor of what row `i` watches. */
static int watched_local(struct fds_restore *restore, const struct restored_file *f, size_t i)
{
	const struct epoll_set *set = f->priv;
	uint32_t tfd = f->entry->epfd->tfd[i]->tfd, files_id;
	int fd;

	if (set && i < set->filled)
		return fds_restore_fd(restore, set->ids[i]);
	/* An image of CRIU's: the number leads to it in the table of a task that has the epoll, or
	 * of the root where that is on its way through a socket. */
	if (!fds_restore_holder(restore, f->id, &files_id, &fd) &&
	    !fds_restore_first_table(restore, &files_id))
		return -1;
	return fds_restore_fd(restore, fds_restore_id_at(restore, files_id, (int)tfd));
}

/* What the child below tells. */
struct told {
	uint32_t tfd;
	int error;
	uint32_t armed, armed_tfd; /* rows that could not be disarmed, and one of them */
};

/* What stays of the events of a row with EPOLLONESHOT that has told one. */
#define PRIVATE_EVENTS \
	((uint32_t)EPOLLET | (uint32_t)EPOLLONESHOT | (uint32_t)EPOLLWAKEUP | \
	 (uint32_t)EPOLLEXCLUSIVE)
#define ANY_EVENT ((uint32_t)(EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLERR | EPOLLHUP))

static bool is_disarmed(const EventpollTfdEntry *row)
{
	return (row->events & EPOLLONESHOT) && !(row->events & ~PRIVATE_EVENTS);
}

/* Only an event disarms a row, so that it is watched for any; there is hardly a file without one.
 * Otherwise it stays armed for what cannot be left out: errors and the peer's end. */
static int disarm(struct restored_file *f, const EventpollTfdEntry *row, struct told *told)
{
	struct epoll_event event = { .events = row->events, .data.u64 = row->data }, got;
	int n = epoll_wait(f->local, &got, 1, 0);

	if (n != 0)
		return n < 0 ? -1 : 0;
	told->armed++;
	told->armed_tfd = row->tfd;
	return epoll_ctl(f->local, EPOLL_CTL_MOD, (int)row->tfd, &event);
}

static void add_one(struct fds_restore *restore, struct restored_file *f, size_t i,
		    struct told *told)
{
	const EventpollTfdEntry *row = f->entry->epfd->tfd[i];
	struct epoll_event event = { .events = row->events, .data.u64 = row->data };
	int local = watched_local(restore, f, i);

	told->tfd = row->tfd;
	if (is_disarmed(row))
		event.events |= ANY_EVENT;
	if ((int)row->tfd >= restore->base && (int)row->tfd < restore->limit)
		told->error = EBUSY;
	else if (local < 0)
		told->error = EBADF;
	else if (dup2(local, (int)row->tfd) < 0 ||
		 epoll_ctl(f->local, EPOLL_CTL_ADD, (int)row->tfd, &event) != 0 ||
		 (is_disarmed(row) && disarm(f, row, told) != 0))
		told->error = errno;
}

/*
 * The kernel keeps the number under which a file was added, so it has to have that number in the
 * process that adds it: a child of ours, whose low descriptors nobody needs.  Disarmed rows come
 * first, when there are no events but theirs.
 */
static void add_all(struct fds_restore *restore, struct restored_file *f, struct told *told)
{
	const EventpollFileEntry *epfd = f->entry->epfd;

	for (int disarmed = 1; disarmed >= 0; disarmed--)
		for (size_t i = 0; i < epfd->n_tfd; i++) {
			if (is_disarmed(epfd->tfd[i]) == disarmed)
				add_one(restore, f, i, told);
			if (told->error)
				_exit(1);
		}
	_exit(0);
}

static int epoll_finish(struct fds_restore *restore, struct restored_file *f,
			const struct fds_task *task, int fd)
{
	struct told *told;
	int status = -1, result = R_FAILED;
	pid_t child;

	(void)task;
	(void)fd;
	if (f->entry->epfd->n_tfd == 0)
		return R_OK;
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED) {
		warn_errno("open file %u: cannot fill the epoll", f->id);
		return R_FAILED;
	}
	child = fork();
	if (child == 0)
		add_all(restore, f, told);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child > 0 && status == 0)
		result = R_OK;
	if (result != R_OK) {
		errno = told->error;
		warn_errno("open file %u: cannot add number %u to the epoll", f->id, told->tfd);
	} else if (told->armed) {
		note("open file %u: %u of its rows had told their one event; number %u will tell "
		     "errors and the peer's end all the same",
		     f->id, told->armed, told->armed_tfd);
	}
	munmap(told, sizeof(*told));
	return result;
}

static void epoll_describe(const FileEntry *entry, char *buf, size_t len)
{
	snprintf(buf, len, "watches %zu", entry->epfd->n_tfd);
}

const struct fd_kind fd_kind_epoll = {
	.name = "epoll",
	.type = FD_TYPES__EVENTPOLL,
	.probe = epoll_probe,
	.dump = epoll_dump,
	.dump_end = epoll_dump_end,
	.load = epoll_load,
	.check = epoll_check,
	.open = epoll_open,
	.finish = epoll_finish,
	.describe = epoll_describe,
};
