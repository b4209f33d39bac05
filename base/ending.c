#include "base/ending.h"

#include <stdatomic.h>
#include <unistd.h>

/* How often ending is held off; ENDING from the decision to end on, which nobody takes back. */
#define ENDING (-1)
static _Atomic int held;
static _Atomic int asked; /* code + 1 */

static void end(void)
{
	int none = 0;
	if (atomic_compare_exchange_strong(&held, &none, ENDING))
		_exit(asked - 1);
}

void ending_hold(void)
{
	int now = held;
	do
		while (now == ENDING) /* another thread is just ending us */
			now = held;
	while (!atomic_compare_exchange_weak(&held, &now, now + 1));
}

void ending_allow(void)
{
	if (atomic_fetch_sub(&held, 1) == 1 && asked)
		end();
}

void ending_ask(int code)
{
	asked = code + 1;
	end();
}

bool ending_asked(void)
{
	return asked != 0;
}
