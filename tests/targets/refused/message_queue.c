/* A queue of POSIX messages, whose name has been removed. */
// names: fd [0-9]* .*files of this kind
#include "target.h"

#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = 64 };
	char name[64], back[64];
	mqd_t queue;

	snprintf(name, sizeof(name), "/snap-test-%d-%lx", getpid(), (long)&attr);
	queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
	NEED(queue >= 0);
	CHECK(!mq_unlink(name) && !mq_send(queue, "hello", 6, 1));

	target_ready();

	CHECK(mq_receive(queue, back, sizeof(back), NULL) == 6 && !strcmp(back, "hello"));
	target_pass();
}
