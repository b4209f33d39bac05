/* Leave to use input/output ports. */
// names: ioperm
#include "target.h"

#include <sys/io.h>

int main(void)
{
	NEED(!ioperm(0x80, 1, 1));

	target_ready();

	outb(0, 0x80);
	CHECK(!ioperm(0x80, 1, 0));
	target_pass();
}
