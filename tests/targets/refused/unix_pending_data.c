/* A unix connection that awaits accept with data in it, which nobody outside can see. */
// names: awaits accept
#include "target.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_un a = { AF_UNIX, "socket" };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0),
	    fd;
	char back[8];

	unlink("socket");
	CHECK(!bind(listener, (struct sockaddr *)&a, sizeof(a)) && !listen(listener, 2));
	CHECK(!connect(client, (struct sockaddr *)&a, sizeof(a)) && write(client, "data", 4) == 4);

	target_ready();

	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0 && read(fd, back, sizeof(back)) == 4 && !memcmp(back, "data", 4));
	target_pass();
}
