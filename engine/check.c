/* snap check: everything of a take but the storing, and what the kernel must be able to. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/dump.h"
#include "engine/proc/fds/fds.h"
#include "engine/proc/maps.h"
#include "engine/proc/pagemap.h"

/* Lines of warn(), kept until it is known whether they are findings or failures. */
struct lines {
	char **line;
	size_t n;
	bool lost;
};

static void keep(const char *text, void *arg)
{
	struct lines *lines = arg;
	char **more = reallocarray(lines->line, lines->n + 1, sizeof(*more));

	if (more)
		lines->line = more;
	if (!more || !(more[lines->n] = strdup(text)))
		lines->lost = true;
	else
		lines->n++;
}

/* Most findings begin with "pid N" or "process N". */
static pid_t pid_of(const char *text, pid_t otherwise)
{
	const char *at = strstr(text, "pid ");
	pid_t pid;

	if (at && sscanf(at, "pid %d", &pid) == 1)
		return pid;
	at = strstr(text, "process ");
	if (at && sscanf(at, "process %d", &pid) == 1)
		return pid;
	return otherwise;
}

static void hand_over(struct lines *lines, int rc, pid_t root,
		      void (*fn)(const struct check_finding *finding, void *arg), void *arg)
{
	for (size_t i = 0; i < lines->n; i++) {
		struct check_finding finding = { pid_of(lines->line[i], root), lines->line[i] };

		if (rc == R_UNSUPPORTED)
			fn(&finding, arg);
		else
			warn("%s", lines->line[i]);
		free(lines->line[i]);
	}
	free(lines->line);
	if (lines->lost)
		warn("no memory for all messages; some are missing");
}

static int look(pid_t pid, enum tcp_policy tcp)
{
	struct dump_ctx ctx;
	struct tree tree;
	int rc = dump_check_root(pid), released;

	if (rc == R_OK)
		rc = tree_freeze(pid, &tree);
	if (rc != R_OK)
		return rc;
	rc = dump_begin(&ctx, &tree, NULL, 0);
	if (rc == R_OK)
		fds_take_set_tcp(ctx.fds, tcp, false);
	if (rc == R_OK)
		rc = dump_collect(&ctx);
	dump_end(&ctx);
	released = tree_release(&tree);
	return rc == R_OK ? released : rc;
}

static bool can_compare(void)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0) == 0;
}

static bool tells_marks(void)
{
	struct maps maps;
	bool told = maps_read(getpid(), &maps) == R_OK && maps.n > 0 && maps.vmas[0].has_flags;

	maps_free(&maps);
	return told;
}

static bool opens_mappings(void)
{
	struct maps maps;
	char path[96];
	int fd = -1;

	if (maps_read(getpid(), &maps) != R_OK)
		return false;
	for (size_t i = 0; fd < 0 && i < maps.n; i++) {
		if (maps.vmas[i].name[0] != '/')
			continue;
		snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
			 (unsigned long)maps.vmas[i].start, (unsigned long)maps.vmas[i].end);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	maps_free(&maps);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static bool reads_page_map(void)
{
	struct page_range range;
	struct pagemap map;
	uint64_t at = (uintptr_t)&range & ~4095ull;
	size_t n = 0;
	bool found;

	if (pagemap_open(getpid(), &map) != R_OK)
		return false;
	found = pagemap_next(&map, PAGES_OWN, &at, at + 4096, &range, 1, &n) == R_OK && n == 1;
	pagemap_close(&map);
	return found;
}

static bool tells_tid_address(void)
{
	int *address;

	return prctl(PR_GET_TID_ADDRESS, &address, 0, 0, 0) == 0;
}

static bool sets_memory_map(void)
{
	unsigned int size;

	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0;
}

/* Asks for our own number again: whoever may choose numbers is told that it is taken. */
static bool chooses_pids(void)
{
	pid_t wanted = getpid();
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&wanted,
		.set_tid_size = 1,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid < 0 && errno == EEXIST;
}

static bool shares_descriptors(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0), fd;
	int probe = open("/proc/self", O_PATH | O_CLOEXEC);

	fd = (int)syscall(SYS_pidfd_getfd, pidfd, probe, 0);
	if (fd >= 0)
		close(fd);
	if (probe >= 0)
		close(probe);
	if (pidfd >= 0)
		close(pidfd);
	return fd >= 0;
}

static const struct {
	bool (*works)(void);
	const char *missing;
} features[] = {
	{ can_compare, "kcmp() does not work (CONFIG_KCMP, CAP_SYS_PTRACE): what tasks share "
		       "cannot be told" },
	{ tells_marks, "/proc/PID/smaps does not tell the marks of memory ranges "
		       "(CONFIG_PROC_PAGE_MONITOR)" },
	{ opens_mappings, "/proc/PID/map_files cannot be opened (CONFIG_CHECKPOINT_RESTORE, "
			  "CAP_CHECKPOINT_RESTORE)" },
	{ reads_page_map, "/proc/PID/pagemap does not tell which pages are there "
			  "(CONFIG_PROC_PAGE_MONITOR)" },
	{ tells_tid_address, "prctl(PR_GET_TID_ADDRESS) does not work "
			     "(CONFIG_CHECKPOINT_RESTORE)" },
	{ sets_memory_map, "prctl(PR_SET_MM) does not work (CONFIG_CHECKPOINT_RESTORE): no "
			   "restore" },
	{ chooses_pids, "clone3() with set_tid is not allowed (CAP_CHECKPOINT_RESTORE): no "
			"restore" },
	{ shares_descriptors, "pidfd_getfd() does not work (Linux 5.6 or later, "
			      "CAP_SYS_PTRACE)" },
};

static int check_kernel(void)
{
	int rc = R_OK;

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (features[i].works())
			continue;
		warn("%s", features[i].missing);
		rc = R_UNSUPPORTED;
	}
	return rc;
}

int engine_check(pid_t pid, enum tcp_policy tcp,
		 void (*fn)(const struct check_finding *finding, void *arg), void *arg)
{
	struct lines lines = { 0 };
	int rc;

	warn_set_hook(keep, &lines);
	rc = pid ? look(pid, tcp) : check_kernel();
	warn_set_hook(NULL, NULL);
	hand_over(&lines, rc, pid, fn, arg);
	return rc;
}
