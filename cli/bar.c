#include "cli/interrupt.h"
#include "cli/output.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define BAR_DELAY_NS 1000000000ull /* nothing is drawn for what takes less */
#define BAR_EVERY_NS 100000000ull  /* ten times a second is as fast as is pleasant to read */

static struct {
	bool wanted; /* a terminal and no option against it */
	uint64_t begun_ns, drawn_ns;
} bar;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* True if a write to the terminal neither waits (output held by ^S) nor stops this process (in the
 * background): a target may be frozen meanwhile. */
static bool terminal_ready(void)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };

	return tcgetpgrp(STDERR_FILENO) == getpgrp() && poll(&out, 1, 0) == 1 &&
	       (out.revents & POLLOUT);
}

static const char *amount(char text[WORDS_MAX], uint64_t n, enum progress_unit unit)
{
	if (unit == PROGRESS_ITEMS)
		snprintf(text, WORDS_MAX, "%llu", (unsigned long long)n);
	else
		words_bytes(text, unit == PROGRESS_PAGES ? n * 4096 : n);
	return text;
}

static void draw(const char *phase, uint64_t done, uint64_t total, enum progress_unit unit)
{
	char line[512], a[WORDS_MAX], b[WORDS_MAX], blocks[41];
	struct winsize size = { 0 };
	size_t columns, cells, used;
	double part = total ? (double)done / (double)total : 0;

	columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
	if (part > 1)
		part = 1;
	cells = columns >= 100 ? 40 : columns >= 70 ? 20 : 0;
	used = (size_t)(part * (double)cells);
	memset(blocks, '#', used);
	memset(blocks + used, '.', cells - used);
	blocks[cells] = '\0';
	if (total)
		snprintf(line, sizeof(line), "%-16s [%s] %3.0f %%  %s of %s", phase, blocks,
			 part * 100, amount(a, done, unit), amount(b, total, unit));
	else
		snprintf(line, sizeof(line), "%-16s %s", phase, amount(a, done, unit));
	if (columns < sizeof(line))
		line[columns - 1] = '\0';
	dprintf(STDERR_FILENO, "\r\033[K%s", line);
}

static bool tell(void *arg, const char *phase, uint64_t done, uint64_t total,
		 enum progress_unit unit)
{
	uint64_t now;

	(void)arg;
	if (interrupt_signal())
		return false;
	if (!bar.wanted)
		return true;
	now = now_ns();
	if (now - bar.begun_ns < BAR_DELAY_NS || now - bar.drawn_ns < BAR_EVERY_NS)
		return true;
	if (terminal_ready()) {
		draw(phase, done, total, unit);
		bar.drawn_ns = now;
	}
	return true;
}

const struct progress *bar_begin(const struct options *options)
{
	static const struct progress progress = { .tell = tell };

	bar.wanted = !options->no_progress && !options->quiet && isatty(STDERR_FILENO);
	bar.begun_ns = now_ns();
	bar.drawn_ns = 0;
	return &progress;
}

void bar_end(void)
{
	if (bar.drawn_ns && terminal_ready() && write(STDERR_FILENO, "\r\033[K", 4) < 0)
		bar.wanted = false;
	bar.drawn_ns = 0;
}
