/* Records every change of the directory of interest to the file $LOSS_RECORD (record.h). */
#define _GNU_SOURCE
#include "preload.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *record_path(void)
{
	const char *path = getenv("LOSS_RECORD");

	return path && *path ? path : NULL;
}

void record_lock(void)
{
	if (record_path())
		pthread_mutex_lock(&lock);
}

void record_unlock(void)
{
	if (record_path())
		pthread_mutex_unlock(&lock);
}

/* One system call, so that records of several processes do not mix. */
static void append(struct record *record, const char *name, const char *name2, const void *data)
{
	struct iovec parts[4];
	size_t len;
	int fd;

	record->magic = RECORD_MAGIC;
	record->name_len = (uint32_t)(name ? strlen(name) : 0);
	record->name2_len = (uint32_t)(name2 ? strlen(name2) : 0);
	record->data_len = data ? record->len : 0;
	parts[0] = (struct iovec){ record, sizeof(*record) };
	parts[1] = (struct iovec){ (void *)name, record->name_len };
	parts[2] = (struct iovec){ (void *)name2, record->name2_len };
	parts[3] = (struct iovec){ (void *)data, record->data_len };
	len = sizeof(*record) + record->name_len + record->name2_len + record->data_len;
	fd = (int)syscall(SYS_openat, AT_FDCWD, record_path(),
			  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || syscall(SYS_writev, fd, parts, 4) != (long)len)
		abort();
	syscall(SYS_close, fd);
}

/* The last part of a path, and the directory it is in. */
static const char *split(const struct call *call, const char *name, uint64_t *dir)
{
	static __thread char path[4096];
	struct stat st;
	char *slash;

	if (!call_path(call, name, path) || !(slash = strrchr(path, '/')))
		abort();
	*slash = '\0';
	if (stat(path, &st))
		abort();
	*dir = st.st_ino;
	return slash + 1;
}

static void record_name(const struct call *call, struct record *record)
{
	char name[256], name2[256];
	struct stat st;
	uint64_t other;

	snprintf(name, sizeof(name), "%s", split(call, call->name, &record->dir));
	if (call->kind == CALL_RENAME) {
		snprintf(name2, sizeof(name2), "%s", split(call, call->name2, &other));
		if (other != record->dir)
			abort(); /* nobody does that here */
		append(record, name, name2, NULL);
		return;
	}
	if (call->kind == CALL_CREATE) {
		char path[4096];

		if (!call_path(call, call->name, path) || stat(path, &st))
			abort();
		record->file = st.st_ino;
		record->flags = call->directory ? RECORD_DIRECTORY : 0;
	}
	append(record, name, NULL, NULL);
}

static void record_bytes(const struct call *call, struct record *record)
{
	struct stat st;
	off_t offset = call->offset;

	if (fstat(call->fd, &st))
		abort();
	if (call->kind == CALL_WRITE && offset < 0)
		offset = lseek(call->fd, 0, SEEK_CUR) - (off_t)call->len;
	record->file = st.st_ino;
	record->offset = (uint64_t)offset;
	record->len = call->len;
	if (fcntl(call->fd, F_GETFL) & O_DSYNC)
		record->flags |= RECORD_SYNCED;
	append(record, NULL, NULL, call->kind == CALL_WRITE ? call->data : NULL);
}

void after_call(const struct call *call)
{
	struct record record = { .kind = call->kind };
	int saved = errno;

	if (!record_path())
		return;
	switch (call->kind) {
	case CALL_CREATE:
	case CALL_RENAME:
	case CALL_UNLINK:
		record_name(call, &record);
		break;
	case CALL_WRITE:
	case CALL_SYNC:
	case CALL_TRUNCATE:
	case CALL_PUNCH:
		record_bytes(call, &record);
		break;
	default:
		break;
	}
	errno = saved;
}

/* A line of the ledger, in its place among the calls. */
void record_mark(const char *line);
void record_mark(const char *line)
{
	struct record record = { .kind = RECORD_MARK, .len = strlen(line) };

	if (!record_path())
		return;
	record_lock();
	append(&record, NULL, NULL, line);
	record_unlock();
}
