#include "engine/proc/capture/track_record.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/boot_id.h"
#include "base/io.h"
#include "base/replace.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/proc/stat.h"

#define MAGIC "SNTRACK2"
/* The first descriptor of a keeper is a pidfd of the root, the userfaultfds follow. */
#define KEEPER_FIRST_FD 3
/* A keeper that no record names for two such times was forgotten by a snap that was killed. */
#define KEEPER_LOOK_MS 10000

bool track_record_path(pid_t root, uint64_t root_start, char path[TRACK_PATH_BYTES],
		       const char **reason)
{
	const char *base = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	char folder[TRACK_PATH_BYTES - 96];
	struct stat st, ns;

	*reason = "there is no folder for runtime data ($XDG_RUNTIME_DIR)";
	if (!base || *base != '/' ||
	    snprintf(folder, sizeof(folder), "%s/snap", base) >= (int)sizeof(folder))
		return false;
	*reason = "the folder for runtime data cannot be used";
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return false;
	if (lstat(folder, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_mode & 022 || stat("/proc/self/ns/pid", &ns) < 0)
		return false;
	snprintf(path, TRACK_PATH_BYTES, "%s/track-%lu-%d-%llu", folder, (unsigned long)ns.st_ino,
		 root, (unsigned long long)root_start);
	return true;
}

static bool is_whole(const struct track_record *record)
{
	struct proc_stat stat;
	uint8_t boot_id[16];

	return memcmp(record->magic, MAGIC, sizeof(record->magic)) == 0 &&
	       record->n_tasks <= TRACK_TASKS_MAX && boot_id_read(boot_id) == R_OK &&
	       memcmp(boot_id, record->boot_id, sizeof(boot_id)) == 0 &&
	       memchr(record->point.lineage, '\0', sizeof(record->point.lineage)) &&
	       proc_stat_read(record->keeper, 0, &stat) == R_OK && stat.state != 'Z' &&
	       stat.start_time == record->keeper_start &&
	       proc_stat_read(record->root, 0, &stat) == R_OK &&
	       stat.start_time == record->root_start;
}

static bool read_record(int fd, struct track_record *record)
{
	return fd >= 0 && io_pread_all(fd, record, sizeof(*record), 0) == R_OK;
}

bool track_record_claim(const char *path, struct track_record *record)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	bool ours;

	if (fd < 0)
		return false;
	/* Whoever has the lock is the only one to remove it; who gets the lock later finds it gone.
	 */
	ours = flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0 &&
	       unlink(path) == 0 && read_record(fd, record) && is_whole(record);
	close(fd);
	return ours;
}

bool track_record_look(const char *path, struct track_record *record)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool whole = read_record(fd, record) && is_whole(record);

	if (fd >= 0)
		close(fd);
	return whole;
}

int track_record_put(const char *path, struct track_record *record)
{
	const char *name = strrchr(path, '/') + 1;
	char folder[TRACK_PATH_BYTES];
	int dir, rc = R_FAILED;

	memcpy(record->magic, MAGIC, sizeof(record->magic));
	snprintf(folder, sizeof(folder), "%.*s", (int)(name - path), path);
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return R_FAILED;
	/* What a snap that was killed just then has left. */
	io_sweep_temporaries(dir, "track-");
	if (boot_id_read(record->boot_id) == R_OK)
		rc = io_replace_file_for_now(dir, name, record, sizeof(*record), 0600);
	close(dir);
	return rc;
}

static int pidfd_of(pid_t pid, uint64_t start)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct proc_stat stat;

	if (pidfd >= 0 && (proc_stat_read(pid, 0, &stat) != R_OK || stat.start_time != start)) {
		close(pidfd);
		return -1;
	}
	return pidfd;
}

int track_keeper_fd(const struct track_record *record, int fd)
{
	int pidfd = pidfd_of(record->keeper, record->keeper_start), ours = -1;

	if (pidfd >= 0) {
		ours = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
		close(pidfd);
	}
	return ours;
}

void track_keeper_end(const struct track_record *record)
{
	int pidfd = pidfd_of(record->keeper, record->keeper_start);

	if (pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	close(pidfd);
}

/* Puts the descriptors to their places and nothing else, and becomes the keeper. */
static void become_keeper(const char *path, const int *fds, size_t n)
{
	char *const args[] = { (char *)"snap", (char *)ENGINE_KEEPER_WORD, (char *)path, NULL };
	char *const environment[] = { NULL };
	int high[TRACK_TASKS_MAX + 2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (size_t i = 0; i < n; i++)
		high[i] = fcntl(fds[i], F_DUPFD, 200);
	for (int fd = 0; fd < KEEPER_FIRST_FD; fd++)
		dup2(null, fd);
	for (size_t i = 0; i < n; i++)
		if (high[i] < 0 || dup2(high[i], KEEPER_FIRST_FD + (int)i) < 0)
			_exit(1);
	syscall(SYS_close_range, KEEPER_FIRST_FD + n, ~0u, 0);
	if (chdir("/") == 0)
		execve("/proc/self/exe", args, environment);
	_exit(1);
}

int track_keeper_start(const char *path, const int *fds, size_t n, struct track_record *record)
{
	int all[TRACK_TASKS_MAX + 1], report[2], rc = R_FAILED;
	struct proc_stat stat;
	pid_t middle, pid = 0;

	all[0] = pidfd_of(record->root, record->root_start);
	if (all[0] < 0 || pipe2(report, O_CLOEXEC) < 0)
		goto err0;
	memcpy(all + 1, fds, n * sizeof(*fds));
	middle = fork();
	if (middle == 0) {
		pid = fork();
		if (pid == 0)
			become_keeper(path, all, n + 1);
		_exit(write(report[1], &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1);
	}
	close(report[1]);
	if (middle > 0 && read(report[0], &pid, sizeof(pid)) == sizeof(pid) && pid > 0 &&
	    proc_stat_read(pid, 0, &stat) == R_OK) {
		record->keeper = pid;
		record->keeper_start = stat.start_time;
		record->n_tasks = (uint32_t)n;
		for (size_t i = 0; i < n; i++)
			record->tasks[i].fd = KEEPER_FIRST_FD + 1 + (int)i;
		rc = R_OK;
	}
	close(report[0]);
	while (middle > 0 && waitpid(middle, NULL, 0) < 0 && errno == EINTR)
		;
err0:
	if (all[0] >= 0)
		close(all[0]);
	return rc;
}

/* Does the record at this path name us? */
static bool is_named(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct track_record record;
	bool named = read_record(fd, &record) && record.keeper == getpid();

	if (fd >= 0)
		close(fd);
	return named;
}

int engine_keep_tracking(const char *path)
{
	struct pollfd root = { .fd = KEEPER_FIRST_FD, .events = POLLIN };
	int missed = 0;

	/* The next take gets descriptors of ours, which is a kind of tracing. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	prctl(PR_SET_NAME, "snap-track", 0, 0, 0);
	while (missed < 2) {
		int got = poll(&root, 1, KEEPER_LOOK_MS);

		if (got < 0 && errno != EINTR)
			break;
		if (got > 0) { /* the target has ended */
			if (is_named(path))
				unlink(path);
			break;
		}
		if (got == 0)
			missed = is_named(path) ? 0 : missed + 1;
	}
	return R_OK;
}
