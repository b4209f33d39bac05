/*
 * Numbered calls that fail.  In the environment:
 *
 *   LOSS_CLASS   files (whatever changes a file), reads, memory or index (calls of LMDB)
 *   LOSS_AT      the number of the call to fail, counted from 1 within the class; 0: none
 *   LOSS_ALWAYS  1: and all later ones
 *   LOSS_ERROR   the errno or LMDB code to fail with; "kill": SIGKILL; "short": half of a write
 *   LOSS_COUNT   file to write the number of calls to at exit
 *   LOSS_LIST    1: print each call to standard error
 */
#define _GNU_SOURCE
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	bool ready, always, list, kill, cut;
	char class[16];
	long at;
	int error;
} plan;
static atomic_long passed;

long loss_plan(const char *class, long at, bool always, const char *error)
{
	snprintf(plan.class, sizeof(plan.class), "%s", class);
	plan.at = at;
	plan.always = always;
	plan.kill = strcmp(error, "kill") == 0;
	plan.cut = strcmp(error, "short") == 0;
	plan.error = atoi(error);
	plan.ready = true;
	return atomic_exchange(&passed, 0);
}

__attribute__((constructor)) static void read_plan(void)
{
	const char *class = getenv("LOSS_CLASS"), *at = getenv("LOSS_AT");
	const char *always = getenv("LOSS_ALWAYS"), *list = getenv("LOSS_LIST");
	const char *error = getenv("LOSS_ERROR");

	plan.list = list && *list == '1';
	loss_plan(class ? class : "", at ? atol(at) : 0, always && *always == '1',
		  error ? error : "5");
}

__attribute__((destructor)) static void write_count(void)
{
	const char *path = getenv("LOSS_COUNT");
	char text[32];
	int fd, len;

	if (!path)
		return;
	len = snprintf(text, sizeof(text), "%ld\n", atomic_load(&passed));
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || syscall(SYS_write, fd, text, (size_t)len) != len)
		abort();
	syscall(SYS_close, fd);
}

static const char *class_of(enum call_kind kind)
{
	switch (kind) {
	case CALL_READ:
	case CALL_OPEN:
	case CALL_MAP:
		return "reads";
	case CALL_MEMORY:
		return "memory";
	case CALL_INDEX:
		return "index";
	default:
		return "files";
	}
}

int before_call(const struct call *call)
{
	long number;

	if (!plan.ready || strcmp(class_of(call->kind), plan.class) != 0)
		return 0;
	number = atomic_fetch_add(&passed, 1) + 1;
	if (plan.list && call->kind != CALL_MEMORY)
		dprintf(STDERR_FILENO, "call %ld %s %s\n", number, call->function,
			call->name ? call->name : "");
	if (plan.at == 0 || number < plan.at || (number > plan.at && !plan.always))
		return 0;
	if (plan.kill)
		kill(getpid(), SIGKILL);
	if (plan.cut)
		return call->kind == CALL_WRITE ? -1 : 0;
	return plan.error;
}

static bool memory_fails(void)
{
	struct call call = { CALL_MEMORY, "malloc" };

	return before_call(&call) > 0;
}

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *old, size_t len);

void *malloc(size_t len)
{
	if (memory_fails()) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(len);
}

void *calloc(size_t n, size_t len)
{
	if (memory_fails()) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_calloc(n, len);
}

void *realloc(void *old, size_t len)
{
	if (memory_fails()) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(old, len);
}

static int index_fails(const char *function)
{
	struct call call = { CALL_INDEX, function };
	int error = before_call(&call);

	return error > 0 || error < -1 ? error : 0;
}

/* A function of LMDB: fails, or does what it does. */
#define INDEX_CALL(name, parameters, arguments) \
	int name parameters \
	{ \
		int error = index_fails(#name); \
\
		return error ? error : ((__typeof__(&name))dlsym(RTLD_NEXT, #name))arguments; \
	}

INDEX_CALL(mdb_env_create, (MDB_env * *env), (env))
INDEX_CALL(mdb_env_set_mapsize, (MDB_env * env, size_t size), (env, size))
INDEX_CALL(mdb_txn_begin, (MDB_env * env, MDB_txn *parent, unsigned int flags, MDB_txn **txn),
	   (env, parent, flags, txn))
INDEX_CALL(mdb_dbi_open, (MDB_txn * txn, const char *name, unsigned int flags, MDB_dbi *dbi),
	   (txn, name, flags, dbi))
INDEX_CALL(mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data),
	   (txn, dbi, key, data))
INDEX_CALL(mdb_put, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned int flags),
	   (txn, dbi, key, data, flags))
INDEX_CALL(mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data),
	   (txn, dbi, key, data))
INDEX_CALL(mdb_cursor_open, (MDB_txn * txn, MDB_dbi dbi, MDB_cursor **cursor), (txn, dbi, cursor))
INDEX_CALL(mdb_cursor_get, (MDB_cursor * cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op),
	   (cursor, key, data, op))
INDEX_CALL(mdb_stat, (MDB_txn * txn, MDB_dbi dbi, MDB_stat *stat), (txn, dbi, stat))
INDEX_CALL(mdb_reader_check, (MDB_env * env, int *dead), (env, dead))
INDEX_CALL(mdb_reader_list, (MDB_env * env, MDB_msg_func *fn, void *arg), (env, fn, arg))

/* These undo what they were to do even when they fail. */
int mdb_env_open(MDB_env *env, const char *path, unsigned int flags, mdb_mode_t mode)
{
	int error = index_fails("mdb_env_open");

	if (error)
		return error;
	return ((__typeof__(&mdb_env_open))dlsym(RTLD_NEXT, "mdb_env_open"))(env, path, flags,
									     mode);
}

int mdb_txn_commit(MDB_txn *txn)
{
	int error = index_fails("mdb_txn_commit");

	if (error) {
		mdb_txn_abort(txn);
		return error;
	}
	return ((__typeof__(&mdb_txn_commit))dlsym(RTLD_NEXT, "mdb_txn_commit"))(txn);
}
