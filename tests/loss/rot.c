/*
 * loss_rot DIR LEDGER COUNT SCRATCH SEED
 *
 * Damages copies of the store in DIR, one bit or one sector of one file at a time, COUNT times, and
 * has each read by a process of its own: what comes back is right, or somebody says that it is not.
 * Every third copy is taken into as well, every third collected, before it is read.  Prints how
 * many damages were harmless and how many were told of, by file.  Exit codes: 0 none was silent, a
 * crash or a hang; 1 one was; 2 wrong use.  The first bad copy is left at SCRATCH/bad.
 */
#include "check.h"
#include "child.h"
#include "copy.h"

#include "base/result.h"
#include "base/warn.h"
#include "gc/gc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_SECONDS 20
#define SECTOR 512u

enum outcome { HARMLESS, TOLD, SILENT, CRASH, HANG, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = { "harmless", "told", "SILENT", "CRASH",
						     "HANG" };

static struct {
	struct copy store;
	unsigned long outcomes[COPY_FILES_MAX][OUTCOMES]; /* by file */
	char state[2000];
	struct ledger ledger;
	uint64_t random;
} rot;

static uint64_t next_random(void)
{
	rot.random ^= rot.random << 13;
	rot.random ^= rot.random >> 7;
	rot.random ^= rot.random << 17;
	return rot.random * 0x2545f4914f6cdd1dull >> 11;
}

/* Every other damage is of a pack; the others are of the small files, which are used more densely.
 */
static struct copy_file *choose(void)
{
	bool pack = next_random() % 2;
	size_t total = 0, at;

	for (size_t i = 0; i < rot.store.n; i++)
		if ((strncmp(rot.store.files[i].name, "packs/", 6) == 0) == pack)
			total += rot.store.files[i].len + SECTOR;
	at = next_random() % total;
	for (size_t i = 0; i < rot.store.n; i++) {
		if ((strncmp(rot.store.files[i].name, "packs/", 6) == 0) != pack)
			continue;
		if (at < rot.store.files[i].len + SECTOR)
			return &rot.store.files[i];
		at -= rot.store.files[i].len + SECTOR;
	}
	abort();
}

static struct copy_file *damage(char what[400])
{
	struct copy_file *file = choose();
	char path[2400];
	uint8_t sector[SECTOR];
	size_t at, len = 1;
	int fd;

	at = next_random() % file->len;
	if (next_random() % 2) {
		unsigned int bit = (unsigned int)(next_random() % 8);

		sector[0] = file->bytes[at] ^ (uint8_t)(1u << bit);
		snprintf(what, 400, "bit %u of byte %zu of %s", bit, at, file->name);
	} else {
		at -= at % SECTOR;
		len = file->len - at < SECTOR ? file->len - at : SECTOR;
		for (size_t i = 0; i < len; i++)
			sector[i] = (uint8_t)next_random();
		if (next_random() % 2)
			memset(sector, 0, len);
		snprintf(what, 400, "sector %zu of %s, %s", at / SECTOR, file->name,
			 sector[0] | sector[1] ? "random" : "zeroes");
	}
	snprintf(path, sizeof(path), "%s/%s", rot.state, file->name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, sector, len, (off_t)at) != (ssize_t)len) {
		perror(path);
		exit(2);
	}
	close(fd);
	return file;
}

static void keep_quiet(const char *line, void *arg)
{
	(void)line;
	(void)arg;
}

/* A take of what is mostly there already. */
static void take_on(struct store *store)
{
	const struct content content = { .seed = 5, .step = 4, .pages = 300 };
	char line[100], text[2 * CONTENT_HASH_BYTES + 1];
	uint8_t hash[CONTENT_HASH_BYTES];
	struct generation gen;

	content_hash(&content, hash);
	ledger_hash_text(hash, text);
	snprintf(line, sizeof(line), "taking %s\n", text);
	ledger_line(&rot.ledger, line);
	if (content_take(store, "a", &content, &gen) != R_OK)
		return;
	snprintf(line, sizeof(line), "taken %lu %s\n", (unsigned long)gen.number, text);
	ledger_line(&rot.ledger, line);
}

static void use(unsigned long round)
{
	const struct gc_options options = { 0 };
	struct gc_result result;
	struct store *store;

	if (store_open(rot.state, false, true, &store) != R_OK)
		return;
	if (round % 3 == 1)
		take_on(store);
	else
		gc_run(store, NULL, &options, &result);
	store_close(store);
}

static void on_crash(int number)
{
	if (store_in_index() || (number == SIGABRT && store_index_damage_seen()))
		_exit(5);
	raise(number);
}

/* As the command line does it. */
static void guard(void)
{
	const struct sigaction action = { .sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGABRT, &action, NULL);
}

static int look(unsigned long round, bool quiet)
{
	const struct check_options options = { .damage_told = true, .quiet = quiet };
	struct check_result result;

	guard();
	if (quiet)
		warn_set_hook(keep_quiet, NULL);
	if (round % 3)
		use(round);
	if (!check_store(rot.state, &rot.ledger, &options, &result))
		return 9;
	return result.damaged || result.lost || result.unopened ? 5 : 0;
}

/* What happens to a process that uses the copy. */
static enum outcome outcome_of(unsigned long round, bool quiet, int *status)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int code;

		if (quiet && !freopen("/dev/null", "w", stderr))
			_exit(2);
		if (quiet && !freopen("/dev/null", "w", stdout))
			_exit(2);
		code = look(round, quiet);
		fflush(stdout);
		_exit(code);
	}
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	*status = child_wait(pid, LIMIT_SECONDS);
	if (WIFSIGNALED(*status))
		return WTERMSIG(*status) == SIGALRM ? HANG : CRASH;
	return WEXITSTATUS(*status) == 0 ? HARMLESS : WEXITSTATUS(*status) == 5 ? TOLD : SILENT;
}

/* Makes the damaged copy once more, untouched by what was done to it. */
static void leave_copy(uint64_t random, const char *scratch)
{
	char what[400], before[sizeof(rot.state)];

	memcpy(before, rot.state, sizeof(before));
	snprintf(rot.state, sizeof(rot.state), "%s/bad", scratch);
	rot.random = random;
	copy_write(&rot.store, rot.state);
	damage(what);
	memcpy(rot.state, before, sizeof(before));
}

static unsigned long run(unsigned long count, const char *scratch)
{
	unsigned long bad = 0;

	for (unsigned long i = 0; i < count; i++) {
		enum outcome outcome;
		struct copy_file *file;
		uint64_t random = rot.random;
		char what[400];
		int status;

		copy_write(&rot.store, rot.state);
		file = damage(what);
		outcome = outcome_of(i, true, &status);
		rot.outcomes[file - rot.store.files][outcome]++;
		if (outcome < SILENT)
			continue;
		printf("%s (%x): %s, %s\n", outcome_names[outcome], (unsigned int)status, what,
		       i % 3 == 0   ? "read"
		       : i % 3 == 1 ? "taken into"
				    : "collected");
		if (bad++ == 0) {
			outcome_of(i, false, &status);
			leave_copy(random, scratch);
		}
		if (bad >= 20)
			break;
	}
	return bad;
}

int main(int argc, char **argv)
{
	unsigned long bad, count;

	if (argc != 6 || (count = strtoul(argv[3], NULL, 10)) == 0) {
		fprintf(stderr, "usage: loss_rot DIR LEDGER COUNT SCRATCH SEED\n");
		return 2;
	}
	snprintf(rot.state, sizeof(rot.state), "%s/state", argv[4]);
	rot.random = strtoul(argv[5], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
	ledger_read(argv[2], &rot.ledger);
	if (rot.ledger.n == 0 || !copy_load(&rot.store, argv[1])) {
		fprintf(stderr, "%s: cannot load\n", argv[1]);
		return 2;
	}
	bad = run(count, argv[4]);
	for (size_t i = 0; i < rot.store.n; i++) {
		printf("%-40s %8zu bytes:", rot.store.files[i].name, rot.store.files[i].len);
		for (int k = 0; k < OUTCOMES; k++)
			if (rot.outcomes[i][k])
				printf(" %lu %s", rot.outcomes[i][k], outcome_names[k]);
		printf("\n");
	}
	printf("%lu damages, %lu bad\n", count, bad);
	return bad != 0;
}
