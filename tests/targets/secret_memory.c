/* memfd_secret(2), held open: contents, size, holes, flags, owner and mode; mapped in whole, in
 * part, for reading, by parent and child, and not at all; a duplicate, and one that has no size
 * yet. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096L
#define BYTES (300 * PAGE - 100) /* more than a pipe holds, and no whole pages */
#define MAPPED (300 * PAGE)

static int make(long bytes, unsigned int flags)
{
	int fd = (int)syscall(SYS_memfd_secret, flags);

	NEED(fd >= 0 && (!bytes || !ftruncate(fd, bytes)));
	return fd;
}

static unsigned char *map(int fd, long at, long bytes, int prot)
{
	unsigned char *p = mmap(NULL, (size_t)bytes, prot, MAP_SHARED, fd, at);

	NEED(p != MAP_FAILED);
	return p;
}

/* Pages that were touched, of `n`. */
static int touched(void *p, size_t n)
{
	unsigned char there[512];
	int count = 0;

	CHECK(n <= sizeof(there) && !mincore(p, n * PAGE, there));
	for (size_t i = 0; i < n; i++)
		count += there[i] & 1;
	return count;
}

/* The flags smaps tells of the mapping at `p`. */
static void flags_of(const void *p, char *flags, size_t room)
{
	char line[256], start[32];
	FILE *f = fopen("/proc/self/smaps", "r");
	int found = 0;

	CHECK(f);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)p);
	*flags = '\0';
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, strlen(start)))
			found = 1;
		if (found && !strncmp(line, "VmFlags:", 8)) {
			snprintf(flags, room, "%s", line);
			break;
		}
	}
	fclose(f);
}

static void child_life(unsigned char *p, int go)
{
	char before[256], after[256], byte;

	flags_of(p, before, sizeof(before));
	CHECK(!strstr(before, " lo "));
	CHECK(read(go, &byte, 1) == 1);
	flags_of(p, after, sizeof(after));
	CHECK(!strcmp(before, after));
	CHECK(pattern_differs(p + PAGE, 199 * PAGE, 11) == 199 * PAGE);
	CHECK(p[0] == 'A');
	p[1] = 'B';
	_exit(0);
}

int main(void)
{
	int whole = make(BYTES, 0), twin = dup(whole), unmapped = make(2 * PAGE, O_CLOEXEC);
	int reading = make(PAGE, 0), part = make(4 * PAGE, 0), empty = make(0, 0), go[2];
	unsigned char *p = map(whole, 0, MAPPED, PROT_READ | PROT_WRITE), *q, *r;
	char before[256], after[256];
	struct stat st;
	pid_t child;

	/* The middle third is left untouched. */
	pattern_fill(p + PAGE, 199 * PAGE, 11);
	madvise(p, MAPPED, MADV_DODUMP);
	q = map(unmapped, 0, 2 * PAGE, PROT_READ | PROT_WRITE);
	pattern_fill(q + PAGE, PAGE, 12);
	CHECK(!munmap(q, 2 * PAGE));
	q = map(reading, 0, PAGE, PROT_READ | PROT_WRITE);
	pattern_fill(q, PAGE, 13);
	CHECK(!munmap(q, PAGE));
	q = map(reading, 0, PAGE, PROT_READ);
	r = map(part, 0, 4 * PAGE, PROT_READ | PROT_WRITE);
	pattern_fill(r, 4 * PAGE, 14);
	CHECK(!munmap(r, PAGE) && !munmap(r + 3 * PAGE, PAGE));
	r += PAGE;
	CHECK(!fchmod(part, 0640) && !fchown(part, 12, 34));
	CHECK(!fcntl(part, F_SETFL, O_NONBLOCK));
	CHECK(touched(p, 300) == 199 && !pipe(go));
	flags_of(p, before, sizeof(before));
	CHECK(strstr(before, " lo "));
	child = fork();
	if (!child)
		child_life(p, go[0]);

	target_ready();

	flags_of(p, after, sizeof(after));
	CHECK(!strcmp(before, after));
	CHECK(touched(p, 300) == 199);
	CHECK(pattern_differs(p + PAGE, 199 * PAGE, 11) == 199 * PAGE);
	CHECK(!fstat(whole, &st) && st.st_size == BYTES);
	CHECK(syscall(SYS_kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, whole, twin) == 0);
	/* Still secret: it cannot be read as a file, nor made another size. */
	CHECK(pread(whole, before, 1, 0) < 0 && ftruncate(whole, PAGE) < 0);
	p[0] = 'A';
	CHECK(write(go[1], "g", 1) == 1);
	expect_child_ok(child);
	CHECK(p[1] == 'B');
	CHECK(fcntl(unmapped, F_GETFD) == FD_CLOEXEC && fcntl(whole, F_GETFD) == 0);
	CHECK(pattern_differs(map(unmapped, PAGE, PAGE, PROT_READ), PAGE, 12) == PAGE);
	CHECK(pattern_differs(q, PAGE, 13) == PAGE);
	CHECK(!mprotect(q, PAGE, PROT_READ | PROT_WRITE));
	r = map(part, 0, 4 * PAGE, PROT_READ);
	CHECK(pattern_differs(r, 4 * PAGE, 14) == 4 * PAGE);
	CHECK(!fstat(part, &st) && (st.st_mode & 07777) == 0640 && st.st_uid == 12 &&
	      st.st_gid == 34);
	CHECK(fcntl(part, F_GETFL) & O_NONBLOCK);
	CHECK(!fstat(empty, &st) && st.st_size == 0);
	CHECK(!ftruncate(empty, PAGE));
	q = map(empty, 0, PAGE, PROT_READ | PROT_WRITE);
	q[0] = 1;
	target_pass();
}
