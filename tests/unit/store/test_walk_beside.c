/* The pages of the index are looked at while others commit: what has been replaced meanwhile is not
 * called damaged. */
#include "scratch.h"

#include "base/result.h"
#include "store/index.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* Between the looks at the two meta pages; one of another process replaces none. */
#define COMMITS 3

/* A process that commits as often as a byte tells it, and answers with that byte. */
struct committer {
	pid_t pid;
	int ask, answer;
};

static struct committer committer;
static void *armed; /* the second page of the next mapping, or of this one */
static bool arm;
static volatile sig_atomic_t caught;

void *__real_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
	void *map = __real_mmap64(at, len, protection, flags, fd, offset);

	if (arm && map != MAP_FAILED && len > 2 * PAGE_BYTES) {
		arm = false;
		armed = (char *)map + PAGE_BYTES;
		if (mprotect(armed, PAGE_BYTES, PROT_NONE))
			abort();
	}
	return map;
}

static void commit_beside(unsigned char times)
{
	if (write(committer.ask, &times, 1) != 1 || read(committer.answer, &times, 1) != 1)
		abort();
}

/* The walk has come to the second meta page. */
static void on_touch(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (!armed || info->si_addr < armed || (char *)info->si_addr >= (char *)armed + PAGE_BYTES)
		_exit(128 + number);
	commit_beside(COMMITS);
	caught++;
	if (mprotect(armed, PAGE_BYTES, PROT_READ))
		abort();
	armed = NULL;
}

static int put_one(struct index_txn *txn, void *arg)
{
	return index_meta_put(txn, "one", *(const uint64_t *)arg);
}

static int commit_as_told(const char *dir, int asked, int answer)
{
	struct index *index;
	unsigned char times;
	uint64_t n = 0;

	if (index_open(dir, false, true, &index) != R_OK)
		return 1;
	while (read(asked, &times, 1) == 1) {
		for (unsigned char i = 0; i < times; i++, n++)
			if (index_write(index, put_one, &n) != R_OK)
				return 1;
		if (write(answer, &times, 1) != 1)
			return 1;
	}
	index_close(index);
	return 0;
}

static void start_committer(const char *dir)
{
	int ask[2], answer[2];

	assert_int_equal(pipe(ask), 0);
	assert_int_equal(pipe(answer), 0);
	committer.pid = fork();
	assert_true(committer.pid >= 0);
	if (committer.pid == 0) {
		close(ask[1]);
		close(answer[0]);
		_exit(commit_as_told(dir, ask[0], answer[1]));
	}
	close(ask[0]);
	close(answer[1]);
	committer.ask = ask[1];
	committer.answer = answer[0];
}

static uint64_t newest_txn(struct index *index)
{
	struct index_txn *txn;
	uint64_t id;

	assert_int_equal(index_read_begin(index, &txn), R_OK);
	id = index_txn_id(txn);
	index_read_end(txn);
	return id;
}

static void replaced_meanwhile(void **state)
{
	const struct sigaction action = { .sa_sigaction = on_touch, .sa_flags = SA_SIGINFO };
	struct index *index;
	uint64_t before;

	assert_int_equal(index_open(*state, true, true, &index), R_OK);
	index_close(index);
	start_committer(*state);
	assert_int_equal(index_open(*state, false, true, &index), R_OK);
	assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
	for (int round = 0; round < 4; round++) {
		commit_beside(1);
		before = newest_txn(index);
		arm = true;
		assert_int_equal(index_walk(index, true), R_OK);
		assert_false(index_damage_seen());
		assert_false(arm);
		/* A transaction whose meta page is the first one does not ask the second. */
		if (newest_txn(index) == before)
			armed = NULL;
	}
	assert_true(caught > 0);
	signal(SIGSEGV, SIG_DFL);
	index_close(index);
	close(committer.ask);
	close(committer.answer);
	assert_int_equal(scratch_wait(committer.pid), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replaced_meanwhile, scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
