/* Ranges told by the kernel's own words must be what smaps tells of them. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/io.h"
#include "base/result.h"
#include "engine/proc/btf.h"
#include "engine/proc/maps_internal.h"

#define PAGES 24
#define PAGE 4096u

/* A page of each kind, one and several pieces of advice, and what nobody asks for together. */
static void map_all_kinds(void)
{
	static const int advice[] = { MADV_RANDOM,   MADV_SEQUENTIAL, MADV_DONTFORK,  MADV_DONTDUMP,
				      MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE, 18 };
	const size_t kinds = sizeof(advice) / sizeof(advice[0]);
	uint8_t *at = mmap(NULL, 2 * PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < PAGES; i++, at += 2 * PAGE) {
		int flags = MAP_FIXED | MAP_ANONYMOUS | (i == 17 ? MAP_SHARED : MAP_PRIVATE);
		int prot = i == 18 ? PROT_READ : i == 19 ? PROT_EXEC : PROT_READ | PROT_WRITE;

		flags |= i == 20 ? MAP_NORESERVE : i == 21 ? MAP_GROWSDOWN : 0;
		if (mmap(at, PAGE, prot, flags, -1, 0) == MAP_FAILED)
			_exit(1);
		if (i < 16)
			madvise(at, PAGE, advice[i % kinds]);
		if (i >= kinds && i < 16)
			madvise(at, PAGE, advice[(i * 3 + 1) % kinds]);
		if (i == 16)
			mlock(at, PAGE);
		if (prot & PROT_WRITE && i % 2)
			*at = 1;
	}
}

static pid_t start(int *told)
{
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		map_all_kinds();
		if (write(ready[1], "", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(ready[1]);
	*told = read(ready[0], &c, 1) == 1;
	close(ready[0]);
	return pid;
}

static void test_same_as_smaps(void **state)
{
	struct maps fast, slow;
	int told;
	pid_t pid = start(&told);
	bool done;

	(void)state;
	assert_true(told);
	maps_ready();
	done = maps_read_fast(pid, &fast);
	assert_int_equal(maps_read_smaps(pid, &slow), R_OK);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!done) {
		maps_free(&slow);
		print_message("this kernel does not let us\n");
		skip();
	}
	assert_int_equal(fast.n, slow.n);
	for (size_t i = 0; i < slow.n; i++) {
		const struct vma *f = &fast.vmas[i], *s = &slow.vmas[i];

		assert_int_equal(f->start, s->start);
		assert_int_equal(f->end, s->end);
		assert_string_equal(f->name, s->name);
		assert_true(f->has_flags);
		if (strcmp(s->name, "[vsyscall]") != 0)
			assert_int_equal(f->marks, s->marks);
		/* It may say so without need, but not leave it out. */
		assert_true(f->shares_pages || !s->shares_pages);
	}
	maps_free(&fast);
	maps_free(&slow);
}

static void test_mangled_btf(void **state)
{
	struct btf_wanted wanted[] = { { "task_struct", "mm", 0 },
				       { "vm_area_struct", "vm_end", 0 } };
	uint64_t seed = 4711;
	char *file;
	size_t len;

	(void)state;
	if (io_read_file(AT_FDCWD, "/sys/kernel/btf/vmlinux", 64u << 20, &file, &len) != R_OK) {
		print_message("no BTF here\n");
		skip();
	}
	assert_true(btf_find_in(file, len, wanted, 2));
	assert_int_equal(wanted[1].found, 8);
	assert_false(btf_find_in(file, len / 2, wanted, 2));
	for (int round = 0; round < 60; round++) {
		size_t cut = round % 2 ? 4096 + seed % 65536 : len;
		char *copy = malloc(cut); /* a sanitizer sees any step beyond */

		if (cut > len)
			cut = len;
		memcpy(copy, file, cut);
		for (int i = 0; i < 20; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			copy[i < 2 ? (seed >> 33) % 24 : (seed >> 20) % cut] ^= (char)(seed >> 40);
		}
		btf_find_in(copy, cut, wanted, 2);
		free(copy);
	}
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_as_smaps),
		cmocka_unit_test(test_mangled_btf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
