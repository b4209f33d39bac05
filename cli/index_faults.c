#include "cli/index_faults.h"

#include "cli/exit_codes.h"
#include "store/store.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES_MAX 4400 /* numbers, and a path of PATH_MAX bytes */

/* Everything here runs in a signal handler: no allocation, no stdio. */

static uintptr_t read_hex(const char **at)
{
	uintptr_t value = 0;

	for (;; ++*at) {
		char c = **at;

		if (c >= '0' && c <= '9')
			value = value * 16 + (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (uintptr_t)(c - 'a') + 10;
		else
			return value;
	}
}

/* One line of a file, without its end; a longer one is cut.  False at the end. */
static bool read_line(int fd, char *line)
{
	size_t used = 0;
	char c;

	while (read(fd, &c, 1) == 1) {
		if (c == '\n') {
			line[used] = '\0';
			return true;
		}
		if (used + 1 < LINE_BYTES_MAX)
			line[used++] = c;
	}
	return false;
}

/* The path of the file mapped at an address, or NULL. */
static const char *mapped_at(uintptr_t address, char *line)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	const char *path = NULL;

	while (fd >= 0 && read_line(fd, line)) {
		const char *at = line;
		uintptr_t start = read_hex(&at), end;

		at++;
		end = read_hex(&at);
		if (address < start || address >= end)
			continue;
		path = strchr(at, '/');
		break;
	}
	if (fd >= 0)
		close(fd);
	return path;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && !strcmp(text + len - end_len, end);
}

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

/* As it would have ended without us. */
static void end_by(int number)
{
	signal(number, SIG_DFL);
	raise(number);
}

static void __attribute__((noreturn)) give_up(const char *what, const char *how)
{
	say("snap: ");
	say(what);
	say(how);
	say(": the index is damaged: run snap verify --repair\n");
	_exit(EXIT_DAMAGED);
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
	static char line[LINE_BYTES_MAX];
	const char *path = mapped_at((uintptr_t)info->si_addr, line);

	(void)context;
	if (path && ends_with(path, "/index/data.mdb"))
		give_up(path, ": a page of it cannot be read, the file was cut short or the disk "
			      "fails (see dmesg)");
	end_by(number);
}

static void on_segv(int number)
{
	if (store_in_index())
		give_up("index", ": a page of it makes no sense");
	end_by(number);
}

/* The index has said already what LMDB aborts about. */
static void on_abort(int number)
{
	if (store_index_damage_seen())
		_exit(EXIT_DAMAGED);
	end_by(number);
}

void index_faults_install(void)
{
	struct sigaction bus = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
	struct sigaction segv = { .sa_handler = on_segv };
	struct sigaction abort = { .sa_handler = on_abort };

	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGABRT, &abort, NULL);
}
