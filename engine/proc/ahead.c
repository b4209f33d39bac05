#include "engine/proc/ahead.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"

/* What does not fit is read by whoever wants it. */
#define TEXTS_MAX 48
#define TEXT_MAX_BYTES (1u << 20)
#define HELD_MAX_BYTES ((size_t)16 << 20) /* however many tasks there are */
#define TEXT_ROOM_BYTES 4096u		  /* a short text takes about that, too */
#define NAME_BYTES 24

static const char *const names[] = {
	"status",   "limits",	     "cgroup",		"auxv",	  "personality",
	"loginuid", "oom_score_adj", "coredump_filter", "timers",
};

struct text {
	char name[NAME_BYTES];
	char *data;
	size_t len;
};

struct shelf {
	pid_t pid;
	enum { UNREAD, READING, READ, NOT_AHEAD } state; /* guarded by `lock` */
	struct text texts[TEXTS_MAX];			 /* whose they are, the state says */
	size_t n;
};

/* One thread describes, whatever part of it asks for a text. */
static struct {
	struct shelf *shelves;
	size_t n, at; /* at: where something was found last */
	pthread_mutex_t lock;
	pthread_cond_t read;
	_Atomic size_t held; /* bytes, about */
} all = { .lock = PTHREAD_MUTEX_INITIALIZER, .read = PTHREAD_COND_INITIALIZER };

void ahead_begin(const pid_t *pids, size_t n)
{
	ahead_end();
	all.shelves = calloc(n, sizeof(*all.shelves));
	all.n = all.shelves ? n : 0;
	for (size_t i = 0; i < all.n; i++)
		all.shelves[i].pid = pids[i];
}

static void read_text(struct shelf *shelf, int dirfd, const char *name, const char *as)
{
	struct text *text = &shelf->texts[shelf->n];

	if (shelf->n == TEXTS_MAX || all.held >= HELD_MAX_BYTES ||
	    strlen(as) >= sizeof(text->name) ||
	    io_read_file(dirfd, name, TEXT_MAX_BYTES, &text->data, &text->len) != R_OK)
		return;
	strcpy(text->name, as);
	all.held += text->len + TEXT_ROOM_BYTES;
	shelf->n++;
}

static void read_descriptors(struct shelf *shelf, int dirfd)
{
	int fd = openat(dirfd, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && shelf->n < TEXTS_MAX && (entry = readdir(dir))) {
		char name[NAME_BYTES];

		if (*entry->d_name != '.' &&
		    snprintf(name, sizeof(name), "fdinfo/%s", entry->d_name) < (int)sizeof(name))
			read_text(shelf, fd, entry->d_name, name);
	}
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
}

static void read_all(struct shelf *shelf)
{
	char path[32];
	int dirfd;

	snprintf(path, sizeof(path), "/proc/%d", shelf->pid);
	dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return;
	read_descriptors(shelf, dirfd);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		read_text(shelf, dirfd, names[i], names[i]);
	close(dirfd);
}

void ahead_read(size_t i)
{
	struct shelf *shelf;
	bool mine;

	if (i >= all.n)
		return;
	shelf = &all.shelves[i];
	pthread_mutex_lock(&all.lock);
	mine = shelf->state == UNREAD;
	if (mine)
		shelf->state = READING;
	pthread_mutex_unlock(&all.lock);
	if (!mine)
		return;
	read_all(shelf);
	pthread_mutex_lock(&all.lock);
	shelf->state = READ;
	pthread_cond_signal(&all.read);
	pthread_mutex_unlock(&all.lock);
}

/* NULL if nothing of it is going to be had. */
static struct shelf *find(pid_t pid)
{
	struct shelf *shelf = NULL;
	bool is_read;

	for (size_t i = 0; !shelf && i < all.n; i++) {
		size_t at = (all.at + i) % all.n;

		if (all.shelves[at].pid == pid) {
			shelf = &all.shelves[at];
			all.at = at;
		}
	}
	if (!shelf)
		return NULL;
	pthread_mutex_lock(&all.lock);
	if (shelf->state == UNREAD)
		shelf->state = NOT_AHEAD;
	while (shelf->state == READING)
		pthread_cond_wait(&all.read, &all.lock);
	is_read = shelf->state == READ;
	pthread_mutex_unlock(&all.lock);
	return is_read ? shelf : NULL;
}

bool ahead_get(pid_t pid, const char *name, char **text, size_t *len)
{
	struct shelf *shelf = find(pid);

	for (size_t i = 0; shelf && i < shelf->n; i++) {
		struct text *found = &shelf->texts[i];

		if (!found->data || strcmp(found->name, name) != 0)
			continue;
		*text = found->data;
		*len = found->len;
		found->data = NULL;
		all.held -= found->len + TEXT_ROOM_BYTES;
		return true;
	}
	return false;
}

void ahead_end(void)
{
	for (size_t i = 0; i < all.n; i++)
		for (size_t k = 0; k < all.shelves[i].n; k++)
			free(all.shelves[i].texts[k].data);
	free(all.shelves);
	all.shelves = NULL;
	all.n = all.at = 0;
	all.held = 0;
}
