#include "cli/secrets.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

/* Where a passphrase comes from; the first that is given. */
struct origin {
	const char *fd, *file;
	bool renewed;
};

/* One line, without its end.  No stream in between, which would keep a copy. */
static int read_line(int fd, const char *from, char *text, size_t room, size_t *len)
{
	*len = 0;
	for (;;) {
		char c;
		ssize_t got = read(fd, &c, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			warn_errno("passphrase: cannot read %s", from);
			return R_FAILED;
		}
		if (got == 0 || c == '\n')
			break;
		if (*len == room) {
			warn("passphrase: %s has a line of more than %zu bytes", from, room);
			return R_UNSUPPORTED;
		}
		text[(*len)++] = c;
	}
	if (*len > 0 && text[*len - 1] == '\r')
		--*len;
	if (*len > 0)
		return R_OK;
	warn("passphrase: %s begins with an empty line", from);
	return R_UNSUPPORTED;
}

static int ask(int tty, const char *question, char *text, size_t room, size_t *len)
{
	struct termios before, silent;
	int result;

	if (tcgetattr(tty, &before) != 0) {
		warn_errno("passphrase: cannot ask at the terminal");
		return R_FAILED;
	}
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	dprintf(tty, "%s: ", question);
	tcsetattr(tty, TCSAFLUSH, &silent);
	result = read_line(tty, "the terminal", text, room, len);
	tcsetattr(tty, TCSAFLUSH, &before);
	dprintf(tty, "\n");
	return result;
}

/* Set twice, as nobody sees what is typed. */
static int ask_terminal(const struct origin *origin, bool fresh, char *text, size_t room,
			size_t *len)
{
	static char again[PASSPHRASE_MAX];
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), result;
	size_t len_again = 0;

	if (tty < 0) {
		warn("a passphrase is needed and there is no terminal to ask at: give it with "
		     "--%spassphrase-file FILE or --%spassphrase-fd N%s",
		     origin->renewed ? "new-" : "", origin->renewed ? "new-" : "",
		     origin->renewed ? "" : ", or name the file in $SNAP_PASSPHRASE_FILE");
		return R_UNSUPPORTED;
	}
	result = ask(tty, fresh ? "new passphrase" : "passphrase", text, room, len);
	if (result == R_OK && fresh) {
		result = ask(tty, "the same again", again, sizeof(again), &len_again);
		if (result == R_OK && (len_again != *len || memcmp(again, text, *len) != 0)) {
			warn("passphrase: the two differ; nothing was changed");
			result = R_UNSUPPORTED;
		}
		explicit_bzero(again, sizeof(again));
	}
	close(tty);
	return result;
}

static int give_passphrase(char *text, size_t room, size_t *len, bool fresh, void *arg)
{
	const struct origin *origin = arg;
	int fd, result;

	if (origin->fd)
		return read_line(atoi(origin->fd), "the descriptor given", text, room, len);
	if (!origin->file)
		return ask_terminal(origin, fresh, text, room, len);
	fd = open(origin->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		warn_errno("passphrase file %s: cannot open", origin->file);
		return R_UNSUPPORTED;
	}
	result = read_line(fd, origin->file, text, room, len);
	close(fd);
	return result;
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

struct key_source secrets_source(const struct options *o, bool renewed)
{
	static struct origin origins[2];
	struct origin *origin = &origins[renewed];
	struct key_source source = { .passphrase = give_passphrase, .arg = origin };

	if (renewed) {
		*origin = (struct origin){ o->new_passphrase_fd, o->new_passphrase_file, true };
		source.file = o->new_key_file;
		return source;
	}
	*origin = (struct origin){ o->passphrase_fd, o->passphrase_file, false };
	if (!origin->fd && !origin->file)
		origin->file = environment("SNAP_PASSPHRASE_FILE");
	source.file = o->key_file ? o->key_file : environment("SNAP_KEY_FILE");
	return source;
}

int secrets_reveal(const struct options *options, struct store *store, struct store_keys **keys)
{
	static const struct rlimit none = { 0, 0 };
	struct key_source source;
	int result;

	*keys = NULL;
	if (!options->reveal_secrets)
		return R_OK;
	/* What is shown is the user's to keep; our own memory is not. */
	setrlimit(RLIMIT_CORE, &none);
	source = secrets_source(options, false);
	result = store_keys_open(store, &source, false, keys);
	/* No keys, no secrets; or it says so where it meets one. */
	return result == R_NOT_FOUND ? R_OK : result;
}

void secrets_note(uint64_t sealed_bytes, const char *what_not)
{
	char text[WORDS_MAX];

	if (sealed_bytes)
		note("secret memory: sealed, %s, %s; --reveal-secrets would",
		     words_bytes(text, sealed_bytes), what_not);
}

static bool is_number(const char *text)
{
	return !text || (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 7);
}

const char *secrets_check(const struct options *o)
{
	if (!is_number(o->passphrase_fd) || !is_number(o->new_passphrase_fd))
		return "a descriptor is a number";
	if (o->passphrase_fd && o->passphrase_file)
		return "--passphrase-fd and --passphrase-file exclude each other";
	if (o->new_passphrase_fd && o->new_passphrase_file)
		return "--new-passphrase-fd and --new-passphrase-file exclude each other";
	return NULL;
}
