/* Private file mappings with changed and unchanged pages, shared ones, read-only ones, one of a
 * file whose end lies inside the mapping, one at an offset. */
#include "target.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (16 * 4096UL)

static unsigned char *map(int fd, int prot, int flags, off_t offset)
{
	void *p = mmap(NULL, BYTES, prot, flags, fd, offset);

	CHECK(p != MAP_FAILED);
	return p;
}

int main(void)
{
	unsigned char content[BYTES], *private, *shared, *readonly, *beyond;
	int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned char byte;

	CHECK(fd >= 0);
	pattern_fill(content, BYTES, 3);
	CHECK(write(fd, content, BYTES) == (ssize_t)BYTES);
	private = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	shared = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	readonly = map(fd, PROT_READ, MAP_PRIVATE, 0);
	beyond = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 12 * 4096);
	close(fd);
	memset(private + 4096, 'x', 4096);
	private[3 * 4096] ^= 0xff;
	memset(private + 5 * 4096, 0, 4096); /* zero is content, too */
	memset(shared + 8 * 4096, 's', 4096);
	beyond[0] ^= 0xff;

	target_ready();

	for (int i = 0; i < 4096; i++)
		CHECK(private[4096 + i] == 'x' && !private[5 * 4096 + i]);
	CHECK(private[3 * 4096] == (content[3 * 4096] ^ 0xff));
	CHECK(!memcmp(private, content, 4096));
	CHECK(!memcmp(private + 6 * 4096, content + 6 * 4096, 2 * 4096));
	CHECK(beyond[0] == (content[12 * 4096] ^ 0xff));
	CHECK(!memcmp(beyond + 4096, content + 13 * 4096, 3 * 4096));
	CHECK(!memcmp(readonly, content, 8 * 4096));
	/* Still the file: what is written through the mapping is read from the file, and back. */
	shared[7] = 'q';
	CHECK(!msync(shared, BYTES, MS_SYNC));
	fd = open("mapped", O_RDWR);
	CHECK(pread(fd, &byte, 1, 7) == 1 && byte == 'q');
	CHECK(pread(fd, &byte, 1, 8 * 4096) == 1 && byte == 's');
	byte = 'w';
	CHECK(pwrite(fd, &byte, 1, 11 * 4096) == 1);
	CHECK(shared[11 * 4096] == 'w');
	CHECK(private[11 * 4096] == 'w'); /* this page was never written to in the mapping */
	CHECK(private[8 * 4096] == 's' && private[7] == 'q');
	CHECK(private[3 * 4096] == (content[3 * 4096] ^ 0xff));
	target_pass();
}
