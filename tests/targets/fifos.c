/* Named pipes with contents, opened at both ends, at one end. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	int both, reader, writer, other;
	char back[100];

	unlink("fifo");
	unlink("second");
	CHECK(!mkfifo("fifo", 0600) && !mkfifo("second", 0600));
	both = open("fifo", O_RDWR | O_NONBLOCK);
	CHECK(both >= 0 && write(both, "in the fifo", 11) == 11);
	reader = open("second", O_RDONLY | O_NONBLOCK);
	writer = open("second", O_WRONLY);
	CHECK(reader >= 0 && writer >= 0 && write(writer, "second", 6) == 6);

	target_ready();

	/* whoever opens it by name meets the same contents */
	other = open("fifo", O_RDONLY | O_NONBLOCK);
	CHECK(read(other, back, 2) == 2 && !memcmp(back, "in", 2));
	CHECK(read(both, back, 100) == 9);
	CHECK(read(both, back, 100) < 0 && errno == EAGAIN);
	CHECK((fcntl(writer, F_GETFL) & O_ACCMODE) == O_WRONLY);
	CHECK((fcntl(reader, F_GETFL) & O_ACCMODE) == O_RDONLY);
	CHECK(read(reader, back, 100) == 6 && !memcmp(back, "second", 6));
	CHECK(write(writer, "x", 1) == 1 && read(reader, back, 100) == 1);
	close(writer);
	CHECK(read(reader, back, 100) == 0);
	target_pass();
}
