#include "holder.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/result.h"

void pause_us(unsigned us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000L };
	while (nanosleep(&ts, &ts))
		;
}

uint64_t prng(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static char *read_maps(pid_t pid)
{
	char path[64];
	char *text;
	size_t len;
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 24, &text, &len), R_OK);
	return text;
}

static char *read_fds(pid_t pid)
{
	char path[64], target[256];
	char *text = calloc(1, 1 << 16);
	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
		ssize_t n = readlink(path, target, sizeof target - 1);
		if (n > 0)
			snprintf(text + strlen(text), 300, "%d %.*s\n", fd, (int)n, target);
	}
	return text;
}

/* Any work that no longer goes on is a thread that hangs. */
static void each_work_goes_on(const struct held_program *p)
{
	for (int work = 0; work < HELD_WORKS; work++) {
		uint64_t before = p->held->rounds[work];
		for (int i = 0; p->held->rounds[work] < before + 2 && !p->held->failed; i++) {
			if (i == 5000)
				fail_msg("work %d hangs", work);
			pause_us(1000);
		}
	}
}

void held_start(struct held_program *p, bool exact)
{
	int fd = memfd_create("held", 0);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(struct held)), 0);
	p->held = mmap(NULL, sizeof *p->held, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p->held, MAP_FAILED);
	p->held->exact = exact;
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0) {
		if (fd == HELD_FD || dup2(fd, HELD_FD) == HELD_FD)
			execl(HELD_PROGRAM, "held", NULL);
		_exit(127);
	}
	if (fd != HELD_FD)
		close(fd);
	for (int i = 0; !p->held->ready; i++) {
		assert_true(i < 5000);
		pause_us(1000);
	}
	/* Each opens and maps what it works on first. */
	each_work_goes_on(p);
	if (fd == HELD_FD)
		close(fd);
	p->maps = read_maps(p->pid);
	p->fds = read_fds(p->pid);
}

void held_check(const struct held_program *p)
{
	if (p->held->failed)
		fail_msg("the program says: %s", p->held->message);
}

void held_finish(struct held_program *p)
{
	each_work_goes_on(p);
	held_check(p);
	char *maps = read_maps(p->pid), *fds = read_fds(p->pid);
	assert_string_equal(maps, p->maps);
	assert_string_equal(fds, p->fds);
	p->held->end = 1;
	int status;
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	held_check(p);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	munmap(p->held, sizeof *p->held);
	free(maps);
	free(fds);
	free(p->maps);
	free(p->fds);
}
