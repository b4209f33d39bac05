/* Deleted files: open in two tasks, mapped, with a second name left.
 */
#include "target.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	static unsigned char content[50000], back[50000];
	int gone, mapped, linked, go[2];
	unsigned char *map;
	struct stat st;
	pid_t child;

	pattern_fill(content, sizeof(content), 5);
	gone = open("gone", O_RDWR | O_CREAT | O_TRUNC, 0604);
	CHECK(write(gone, content, sizeof(content)) == sizeof(content));
	mapped = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(mapped, content, 8192) == 8192);
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	CHECK(map != MAP_FAILED);
	close(mapped);
	linked = open("linked", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(write(linked, "linked", 6) == 6);
	unlink("other name");
	CHECK(!link("linked", "other name"));
	CHECK(!unlink("gone") && !unlink("mapped") && !unlink("linked"));
	CHECK(lseek(gone, 40000, SEEK_SET) == 40000 && !pipe(go));
	child = fork();
	if (!child) {
		CHECK(read(go[0], back, 1) == 1);
		CHECK(pwrite(gone, "child", 5, 0) == 5 && map[8191] == content[8191]);
		map[0] = 'C';
		_exit(0);
	}

	target_ready();

	CHECK(access("gone", F_OK) && access("mapped", F_OK) && access("linked", F_OK));
	CHECK(read(gone, back, sizeof(back)) == 10000 && !memcmp(back, content + 40000, 10000));
	CHECK(pread(gone, back, sizeof(back), 0) == sizeof(back));
	CHECK(!memcmp(back, content, sizeof(back)));
	CHECK(!fstat(gone, &st) && st.st_nlink == 0 && (st.st_mode & 07777) == (0604 & ~022));
	CHECK(!memcmp(map, content, 8192));
	CHECK(write(go[1], "x", 1) == 1);
	expect_child_ok(child);
	CHECK(map[0] == 'C');
	CHECK(pread(gone, back, 5, 0) == 5 && !memcmp(back, "child", 5));
	/* the one with another name is that file still */
	CHECK(pwrite(linked, "L", 1, 0) == 1 && !fstat(linked, &st) && st.st_nlink == 1);
	linked = open("other name", O_RDONLY);
	CHECK(read(linked, back, 6) == 6 && !memcmp(back, "Linked", 6));
	target_pass();
}
