#include "engine/proc/files/back_left.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/result.h"
#include "engine/proc/stat.h"

#define PREFIX ".snap-"

struct maker {
	int pid;
	unsigned long long start;
	unsigned int space, file, serial;
};

static unsigned int hash_of(const char *target)
{
	return (unsigned int)XXH3_64bits(target, strlen(target));
}

/* 0 where it cannot be told. */
static unsigned long long start_of(int pid)
{
	struct proc_stat stat;

	return proc_stat_read(pid, 0, &stat) == R_OK ? stat.start_time : 0;
}

/* There is none of that number, or it is another one now. */
static bool is_gone(const struct maker *m)
{
	unsigned long long start;

	if (kill(m->pid, 0) != 0 && errno == ESRCH)
		return true;
	start = start_of(m->pid);
	return start && start != m->start;
}

static unsigned int own_space(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (unsigned int)st.st_ino : 0;
}

void back_left_name(const char *target, unsigned int serial, char name[BACK_NAME_BYTES])
{
	snprintf(name, BACK_NAME_BYTES, PREFIX "%d-%llx-%x-%x-%u", (int)getpid(),
		 start_of(getpid()), own_space(), hash_of(target), serial);
}

/* Reads a name; only as back_left_name() writes it. */
static bool parse(const char *name, struct maker *m)
{
	char again[BACK_NAME_BYTES];

	if (sscanf(name, PREFIX "%d-%llx-%x-%x-%u", &m->pid, &m->start, &m->space, &m->file,
		   &m->serial) != 5)
		return false;
	snprintf(again, sizeof(again), PREFIX "%d-%llx-%x-%x-%u", m->pid, m->start, m->space,
		 m->file, m->serial);
	return m->pid > 0 && strcmp(again, name) == 0;
}

bool back_left_is_name(const char *name)
{
	struct maker m;

	return parse(name, &m);
}

bool back_left_is_mine(const char *name)
{
	struct maker m;

	return parse(name, &m) && m.pid == getpid() && m.start == start_of(getpid()) &&
	       m.space == own_space();
}

bool back_left_is_dead(const char *name, const char *target)
{
	struct maker m;

	return parse(name, &m) && m.file == hash_of(target) && m.space == own_space() && m.start &&
	       is_gone(&m);
}

size_t back_left_remove(int dir, const char *target)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *member;
	size_t removed = 0;

	if (copy >= 0 && !list)
		close(copy);
	while (list && (member = readdir(list)))
		/* Folders are moved aside by restores of whole folders only, which clear them. */
		if (back_left_is_dead(member->d_name, target) &&
		    unlinkat(dir, member->d_name, 0) == 0)
			removed++;
	if (list)
		closedir(list);
	return removed;
}
