/* A stack that has grown, grows further afterwards, and keeps its guard gap; alternate stacks. */
#include "target.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static char *alternate;
static volatile int on_alternate;

static void handler(int signal)
{
	char here;

	on_alternate = &here > alternate && &here < alternate + 65536;
}

static void deep(int levels)
{
	unsigned char block[4096];

	pattern_fill(block, sizeof(block), levels);
	if (levels)
		deep(levels - 1);
	else
		target_ready();
	CHECK(pattern_differs(block, sizeof(block), levels) == sizeof(block));
}

static void deeper(int levels)
{
	volatile unsigned char block[65536];

	memset((void *)block, levels, sizeof(block));
	if (levels)
		deeper(levels - 1);
	CHECK(block[65535] == (unsigned char)levels);
}

int main(void)
{
	stack_t stack = { .ss_size = 65536 }, now;
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };

	stack.ss_sp = alternate = malloc(65536);
	CHECK(!sigaltstack(&stack, NULL) && !sigaction(SIGUSR1, &action, NULL));

	deep(100);

	deeper(60);
	CHECK(!sigaltstack(NULL, &now));
	CHECK(now.ss_sp == alternate && now.ss_size == 65536 && !(now.ss_flags & SS_DISABLE));
	raise(SIGUSR1);
	CHECK(on_alternate);
	target_pass();
}
