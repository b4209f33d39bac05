/*
 * loss_replay RECORD STATES SCRATCH SEED
 *
 * Replays the calls that were recorded on their way to a store, cuts the power after each of them
 * in several ways, STATES times in all, and holds what is then on the disk against what had been
 * promised by that moment: every generation whose take had returned is whole, none that was
 * forgotten is back, and the store can be used.  Each store is looked at by a process of its own,
 * which may take 30 seconds.  Exit codes: 0 all good; 1 not; 2 wrong use.  The directory of a bad
 * state is left at SCRATCH/state.
 */
#include "check.h"
#include "child.h"
#include "disk.h"
#include "preload.h"

#include "base/result.h"
#include "base/warn.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_SECONDS 30

struct event {
	struct record record;
	char *name, *name2;
	uint8_t *data;
};

struct replay {
	struct event *events;
	size_t n;
	char dir[3000];
	unsigned long checked, bad;
};

static char *read_part(FILE *file, size_t len)
{
	char *part = calloc(1, len + 1);

	if (!part || fread(part, 1, len, file) != len) {
		fprintf(stderr, "the record ends in the middle\n");
		exit(2);
	}
	return part;
}

static void read_events(struct replay *replay, const char *path)
{
	FILE *file = fopen(path, "re");
	struct record record;

	if (!file) {
		perror(path);
		exit(2);
	}
	while (fread(&record, sizeof(record), 1, file) == 1) {
		struct event *event;

		if (record.magic != RECORD_MAGIC) {
			fprintf(stderr, "%s: not a record\n", path);
			exit(2);
		}
		replay->events = realloc(replay->events, (replay->n + 1) * sizeof(*replay->events));
		if (!replay->events)
			exit(2);
		event = &replay->events[replay->n++];
		event->record = record;
		event->name = read_part(file, record.name_len);
		event->name2 = read_part(file, record.name2_len);
		event->data = (uint8_t *)read_part(file, record.data_len);
		if (record.data_len == 0 && record.kind != CALL_WRITE) {
			free(event->data);
			event->data = NULL;
		}
	}
	fclose(file);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_tree(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void keep_quiet(const char *line, void *arg)
{
	(void)line;
	(void)arg;
}

/* What the next user of the store does: looks, takes, looks again.  An exit code. */
static int look(const char *dir, struct ledger *ledger, bool quiet, bool writable)
{
	const struct content content = { .seed = 77, .step = 0, .pages = 60 };
	const struct check_options options = { .writable = writable, .quiet = quiet };
	char line[100], text[2 * CONTENT_HASH_BYTES + 1];
	uint8_t hash[CONTENT_HASH_BYTES];
	struct check_result result;
	struct generation gen;
	struct store *store;

	if (quiet)
		warn_set_hook(keep_quiet, NULL);
	if (!check_store(dir, ledger, &options, &result))
		return 9;
	if (store_open(dir, true, true, &store) != R_OK)
		return 10;
	if (content_take(store, "after", &content, &gen) != R_OK)
		return 11;
	store_close(store);
	content_hash(&content, hash);
	ledger_hash_text(hash, text);
	snprintf(line, sizeof(line), "taking %s\n", text);
	ledger_line(ledger, line);
	snprintf(line, sizeof(line), "taken %lu %s\n", (unsigned long)gen.number, text);
	ledger_line(ledger, line);
	return check_store(dir, ledger, &options, &result) ? 0 : 12;
}

/* True if the store of that state is good. */
static bool judge(struct replay *replay, struct ledger *ledger, bool quiet, bool writable)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int code = look(replay->dir, ledger, quiet, writable);

		fflush(stdout);
		_exit(code);
	}
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	status = child_wait(pid, LIMIT_SECONDS);
	if (status == 0)
		return true;
	printf("    exit code %d, signal %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	return false;
}

static bool make_state(struct replay *replay, const struct disk *disk, enum loss_mode mode,
		       uint64_t seed)
{
	remove_tree(replay->dir);
	if (mkdir(replay->dir, 0700)) {
		perror(replay->dir);
		exit(2);
	}
	return disk_after_loss(disk, mode, seed, replay->dir);
}

/* Power goes when `done` calls have returned; those not synced are lost in the given way. */
static void cut(struct replay *replay, const struct disk *disk, struct ledger *ledger, size_t done,
		enum loss_mode mode, uint64_t seed)
{
	if (!make_state(replay, disk, mode, seed))
		exit(2);
	replay->checked++;
	if (judge(replay, ledger, true, seed % 2))
		return;
	replay->bad++;
	printf("BAD: power cut after call %zu of %zu, mode %d, seed %lu, %zu calls not synced\n",
	       done, replay->n, mode, (unsigned long)seed, disk_pending(disk));
	/* Once more, with its messages; the state is left there. */
	make_state(replay, disk, mode, seed);
	judge(replay, ledger, false, seed % 2);
	if (replay->bad >= 5)
		exit(1);
	make_state(replay, disk, mode, seed);
}

/* The calls at which power is cut `more` times over: those that follow others not yet synced. */
static void run(struct replay *replay, unsigned long states, uint64_t seed)
{
	struct disk *disk = disk_new();
	struct ledger ledger = { 0 }, at;
	uint64_t acc = 0;

	for (size_t i = 0; i < replay->n; i++) {
		const struct event *event = &replay->events[i];

		if (event->record.kind == RECORD_MARK) {
			if (!ledger_line(&ledger, (char *)event->data))
				exit(2);
		} else {
			disk_apply(disk, &event->record, event->name, event->name2, event->data);
		}
		for (acc += states; acc >= replay->n; acc -= replay->n) {
			unsigned long k = replay->checked;

			ledger_copy(&ledger, &at);
			cut(replay, disk, &at, i + 1, (enum loss_mode)((k + seed) % LOSS_MODES),
			    seed * 1000003 + k);
			ledger_free(&at);
		}
	}
	disk_free(disk);
	ledger_free(&ledger);
}

int main(int argc, char **argv)
{
	struct replay replay = { 0 };
	unsigned long states;

	if (argc != 5 || (states = strtoul(argv[2], NULL, 10)) == 0) {
		fprintf(stderr, "usage: loss_replay RECORD STATES SCRATCH SEED\n");
		return 2;
	}
	snprintf(replay.dir, sizeof(replay.dir), "%s/state", argv[3]);
	read_events(&replay, argv[1]);
	run(&replay, states, strtoul(argv[4], NULL, 10));
	printf("%lu states after a power loss within %zu calls, %lu bad\n", replay.checked,
	       replay.n, replay.bad);
	return replay.bad || !replay.checked;
}
