/*
 * Runs a command and tells what it cost, as one line of JSON at the end of FILE:
 *
 *   measure [-n NICE] FILE COMMAND [ARGUMENT...]
 *
 * It is small itself, because the peak memory that wait4() tells of a process includes that of the
 * program it was forked from.  With -n the command gets this nice value, and so does the group the
 * kernel's scheduler puts its session into, without which the value means nothing to others.
 * "peak_kib" is all that was ever resident, the pages of mapped files among it, which belong to the
 * page cache; "peak_anon_kib" is what was the process's own, as far as a look every 10 ms saw it.
 * Ends with the command's exit status.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 10

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void set_nice(const char *value)
{
	int fd;

	setsid();
	fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, value, strlen(value)) < 0)
			perror("measure: /proc/self/autogroup");
		close(fd);
	}
	if (setpriority(PRIO_PROCESS, 0, atoi(value)) != 0)
		perror("measure: setpriority");
}

/* Anonymous and shared memory of one process, KiB; 0 when it cannot be known. */
static long anonymous_of(pid_t pid)
{
	char path[64], line[256];
	long sum = 0, kib;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "re");
	if (!status)
		return 0;
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "RssAnon: %ld", &kib) == 1 ||
		    sscanf(line, "RssShmem: %ld", &kib) == 1)
			sum += kib;
	fclose(status);
	return sum;
}

/* The same of a process and its children: a take is done by one. */
static long anonymous(pid_t pid)
{
	long sum = anonymous_of(pid);
	char path[64];
	FILE *children;
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	children = fopen(path, "re");
	while (children && fscanf(children, "%d", &child) == 1)
		sum += anonymous_of(child);
	if (children)
		fclose(children);
	return sum;
}

/* Waits for the end; the peak of anonymous memory on the way. */
static long watch(pid_t pid, int *status, struct rusage *usage)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd ended = { .fd = fd, .events = POLLIN };
	long peak = 0, now_kib;

	while (fd >= 0 && poll(&ended, 1, LOOK_MS) == 0) {
		now_kib = anonymous(pid);
		if (now_kib > peak)
			peak = now_kib;
	}
	while (wait4(pid, status, 0, usage) < 0)
		if (errno != EINTR) {
			perror("measure: wait4");
			exit(1);
		}
	return peak;
}

static int report(const char *path, int status, double wall, const struct rusage *usage, long anon)
{
	FILE *out = fopen(path, "a");

	if (!out) {
		perror(path);
		return -1;
	}
	fprintf(out,
		"{\"wall_s\": %.6f, \"cpu_s\": %.6f, \"user_s\": %.6f, \"system_s\": %.6f, "
		"\"peak_kib\": %ld, \"peak_anon_kib\": %ld, \"status\": %d}\n",
		wall, seconds(usage->ru_utime) + seconds(usage->ru_stime), seconds(usage->ru_utime),
		seconds(usage->ru_stime), usage->ru_maxrss, anon, status);
	return fclose(out);
}

int main(int argc, char **argv)
{
	const char *nice_value = NULL;
	struct rusage usage;
	double begun;
	int status;
	long anon;
	pid_t pid;

	if (argc > 2 && strcmp(argv[1], "-n") == 0) {
		nice_value = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: measure [-n NICE] FILE COMMAND [ARGUMENT...]\n");
		return 2;
	}
	begun = now();
	pid = fork();
	if (pid < 0) {
		perror("measure: fork");
		return 1;
	}
	if (pid == 0) {
		if (nice_value)
			set_nice(nice_value);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	anon = watch(pid, &status, &usage);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (report(argv[1], status, now() - begun, &usage, anon) != 0)
		return 1;
	return status;
}
