/*
 * loss_fail DIR LEDGER COMMAND CLASS ERROR ALWAYS FROM STEP JOBS SCRATCH
 *
 * Runs COMMAND on copies of the store in DIR with one of its calls of CLASS failing
 * (preload_fail.c, which is to be loaded before this): call FROM, FROM + STEP and so on until it
 * makes no more, JOBS at once.  COMMAND is create, take, gc, forget, detach, compact or recompress:
 * what the program of that name does behind its options.  Each copy is used by processes of its
 * own, which may take 60 seconds: the first does it with the failing call; the second holds what is
 * there against the ledger, does the same without, and looks again.
 *
 * A command gets over it, or says what is wrong; nothing is lost, and the next one goes through.
 * Prints how many were tried and how many ended with an error; what they said is in
 * SCRATCH/messages.  Exit codes: 0 good; 1 not; 2 wrong use.
 */
#include "check.h"
#include "child.h"
#include "copy.h"

#include "base/result.h"
#include "base/warn.h"
#include "gc/gc.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_SECONDS 60
#define MESSAGES_BYTES 8192
#define THERE_MAX 64
#define TRIES_MAX 100000 /* of one list: a command that never ends is not in here */
#define BAD_MAX 5

/* What a process that did the command tells the one that started it. */
struct told {
	long calls;
	int result;
	bool damage; /* the index is called damaged */
	uint64_t taken;
	bool listed;
	uint64_t there[THERE_MAX];
	size_t n_there;
	char messages[MESSAGES_BYTES];
	size_t len;
};

struct fail {
	struct copy base;
	struct ledger ledger;
	const struct command *command;
	const char *class, *error;
	bool always;
	char state[3000];
	const char *scratch;
	long (*plan)(const char *class, long at, bool always, const char *error);
	struct told *told;
};

static struct {
	unsigned long tried, refused, bad;
	long calls; /* of one that went through */
} * shared;

struct command {
	const char *name;
	int (*run)(const char *dir, struct told *told);
	struct content content; /* of a take */
	bool from_nothing;
};

static int take(const char *dir, const struct content *content, struct told *told)
{
	struct generation gen;
	struct store *store;
	int result = store_open(dir, true, true, &store);

	if (result != R_OK)
		return result;
	result = content_take(store, "a", content, &gen);
	if (result == R_OK)
		told->taken = gen.number;
	store_close(store);
	return result;
}

#define TAKE_SEED 5 /* lineage a of lib.sh */

static struct content content_of(uint64_t step)
{
	const char *pages = getenv("LOSS_PAGES");

	return (struct content){ TAKE_SEED, step, pages ? strtoul(pages, NULL, 10) : 700 };
}

static int run_create(const char *dir, struct told *told)
{
	const struct content content = content_of(0);

	return take(dir, &content, told);
}

static int run_take(const char *dir, struct told *told)
{
	const struct content content = content_of(4);

	return take(dir, &content, told);
}

static int collect_in(struct store *store, unsigned keep_last, const struct gc_options *options)
{
	const struct gc_policy policy = { .keep_last = keep_last };
	struct gc_result collected;
	struct store_view *view;
	struct gc_plan *plan;
	int result = store_view_open(store, &view);

	if (result != R_OK)
		return result;
	result = gc_plan_policy(view, &policy, (int64_t)time(NULL) * 1000000000, &plan);
	store_view_close(view);
	if (result != R_OK)
		return result;
	result = gc_run(store, plan, options, &collected);
	gc_plan_free(plan);
	return result;
}

static int collect(const char *dir, unsigned keep_last, unsigned max_unused, bool recompress)
{
	const struct gc_options options = { .max_unused_percent = max_unused,
					    .recompress = recompress };
	struct store *store;
	int result = store_open(dir, false, true, &store);

	if (result != R_OK)
		return result;
	result = collect_in(store, keep_last, &options);
	store_close(store);
	return result;
}

static int run_gc(const char *dir, struct told *told)
{
	(void)told;
	return collect(dir, 1, GC_MAX_UNUSED_PERCENT, false);
}

static int run_compact(const char *dir, struct told *told)
{
	(void)told;
	return collect(dir, 1, 0, false);
}

static int run_recompress(const char *dir, struct told *told)
{
	(void)told;
	return collect(dir, 1, GC_MAX_UNUSED_PERCENT, true);
}

/* One that failed behind its commit has forgotten already, and a gc goes on. */
static int run_forget(const char *dir, struct told *told)
{
	const struct gc_options options = { .max_unused_percent = GC_MAX_UNUSED_PERCENT };
	const uint64_t numbers[] = { 5, 7 };
	struct gc_result collected;
	struct generation gen;
	struct store_view *view;
	struct store *store;
	int result = store_open(dir, false, true, &store);

	(void)told;
	if (result != R_OK)
		return result;
	result = store_view_open(store, &view);
	if (result == R_OK) {
		result = store_generation(view, numbers[0], &gen);
		store_view_close(view);
	}
	if (result == R_OK)
		result = gc_forget(store, numbers, 2, &options, &collected);
	else if (result == R_NOT_FOUND)
		result = collect_in(store, 0, &options);
	store_close(store);
	return result;
}

static const struct command commands[] = {
	{ .name = "create", .run = run_create, .from_nothing = true },
	{ .name = "take", .run = run_take },
	{ .name = "gc", .run = run_gc },
	{ .name = "forget", .run = run_forget },
	{ .name = "detach", .run = run_gc },
	{ .name = "compact", .run = run_compact },
	{ .name = "recompress", .run = run_recompress },
};

static bool takes(const struct command *command)
{
	return command->run == run_create || command->run == run_take;
}

static void keep_message(const char *line, void *arg)
{
	struct told *told = arg;
	size_t len = strlen(line);

	if (told->len + len + 2 > sizeof(told->messages))
		return;
	memcpy(told->messages + told->len, line, len);
	told->messages[told->len + len] = '\n';
	told->len += len + 1;
}

static int list_one(const struct generation *gen, void *arg)
{
	struct told *told = arg;

	if (told->n_there < THERE_MAX)
		told->there[told->n_there++] = gen->number;
	return R_OK;
}

/* Which generations are left. */
static void list(const char *dir, struct told *told)
{
	struct store_view *view;
	struct store *store;

	if (store_open(dir, false, false, &store) != R_OK)
		return;
	if (store_view_open(store, &view) == R_OK) {
		told->listed = store_generation_each(view, list_one, told) == R_OK;
		store_view_close(view);
	}
	store_close(store);
}

/* The command with failing calls, in a process of its own. */
static int disturbed(struct fail *fail, long at)
{
	struct told *told = fail->told;

	warn_set_hook(keep_message, told);
	fail->plan(fail->class, at, fail->always, fail->error);
	told->result = fail->command->run(fail->state, told);
	told->calls = fail->plan("", 0, false, "0");
	told->damage = store_index_damage_seen();
	if (told->result == R_OK && !takes(fail->command))
		list(fail->state, told);
	return 0;
}

static void line(struct ledger *ledger, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(struct ledger *ledger, const char *fmt, ...)
{
	char text[200];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!ledger_line(ledger, text))
		abort();
}

/* What is to be said before the command, and after one that returned R_OK. */
static void say_before(const struct fail *fail, struct ledger *ledger)
{
	uint8_t hash[CONTENT_HASH_BYTES];
	char text[2 * CONTENT_HASH_BYTES + 1];
	struct content content = content_of(fail->command->from_nothing ? 0 : 4);

	if (takes(fail->command)) {
		content_hash(&content, hash);
		ledger_hash_text(hash, text);
		line(ledger, "taking %s\n", text);
		return;
	}
	for (size_t i = 0; i < ledger->n; i++)
		ledger->entries[i].forgetting = true;
}

static void say_after(const struct fail *fail, struct ledger *ledger, const struct told *told)
{
	struct ledger_entry *entry = &ledger->entries[ledger->n - 1];

	if (takes(fail->command)) {
		entry->number = told->taken;
		return;
	}
	for (size_t i = 0; i < ledger->n; i++) {
		bool there = false;

		for (size_t k = 0; k < told->n_there; k++)
			there = there || told->there[k] == ledger->entries[i].number;
		if (!there)
			ledger->entries[i].forgotten = true;
	}
}

/* What the next one finds and does, in a process of its own.  An exit code. */
static int next(struct fail *fail, struct ledger *ledger)
{
	struct check_options options = { .quiet = true };
	struct check_result result;
	struct told told = { 0 };

	if (access(fail->state, F_OK) == 0 && !check_store(fail->state, ledger, &options, &result))
		return 9;
	say_before(fail, ledger);
	if (fail->command->run(fail->state, &told) != R_OK)
		return 10;
	if (!takes(fail->command))
		list(fail->state, &told);
	say_after(fail, ledger, &told);
	options.writable = true;
	return check_store(fail->state, ledger, &options, &result) ? 0 : 12;
}

/* What waitpid() gives. */
static int in_child(struct fail *fail, long at, struct ledger *ledger, bool quiet)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int code;

		/* Before there is a store, a reader says so. */
		if (quiet && !freopen("/dev/null", "w", stderr))
			_exit(2);
		code = ledger ? next(fail, ledger) : disturbed(fail, at);
		fflush(stdout);
		_exit(code);
	}
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	return child_wait(pid, LIMIT_SECONDS);
}

/* A failure names what it was about. */
static bool is_clear(const struct fail *fail)
{
	static const char *const words[] = { "index", "pack", "memory", "page", "generation" };
	const char *text = fail->told->messages;

	if (strstr(text, fail->state))
		return true;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(text, words[i]))
			return true;
	return false;
}

static const char *judge(const struct fail *fail, int status)
{
	const struct told *told = fail->told;
	bool reads = strcmp(fail->class, "reads") == 0;

	if (status != 0)
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "it does not end"
									  : "it crashed";
	if (told->result == R_OK)
		return !takes(fail->command) && !told->listed ? "no list afterwards" : NULL;
	if (told->result == R_DAMAGED && !reads)
		return "it says that something is damaged";
	if (told->damage && !reads)
		return "it says that the index is damaged";
	return is_clear(fail) ? NULL : "no clear message";
}

static void keep_messages(const struct fail *fail)
{
	char path[3100];
	int fd;

	snprintf(path, sizeof(path), "%s/messages", fail->scratch);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, fail->told->messages, fail->told->len) < 0) {
		perror(path);
		exit(2);
	}
	close(fd);
}

/* True if the call was reached. */
static bool one(struct fail *fail, long at)
{
	struct told *told = fail->told;
	struct ledger ledger;
	const char *wrong;
	int status;

	if (fail->command->from_nothing)
		copy_remove(fail->state);
	else
		copy_write(&fail->base, fail->state);
	ledger_copy(&fail->ledger, &ledger);
	memset(told, 0, sizeof(*told));
	say_before(fail, &ledger);
	status = in_child(fail, at, NULL, false);
	wrong = judge(fail, status);
	if (status == 0 && told->result == R_OK)
		say_after(fail, &ledger, told);
	else if (status == 0)
		keep_messages(fail);
	if (status != 0 || told->calls >= at)
		__atomic_fetch_add(&shared->tried, 1, __ATOMIC_SEQ_CST);
	else
		shared->calls = told->calls;
	if (told->result != R_OK)
		__atomic_fetch_add(&shared->refused, 1, __ATOMIC_SEQ_CST);
	if (!wrong) {
		status = in_child(fail, at, &ledger, true);
		if (status != 0)
			wrong = WIFSIGNALED(status)	   ? "the next one crashed or did not end"
				: WEXITSTATUS(status) == 9 ? "not as the ledger has it"
				: WEXITSTATUS(status) == 10
				    ? "the next one fails as well"
				    : "not as the ledger has it after the next one";
	}
	if (wrong) {
		printf("BAD: %s, %s call %ld failing with %s%s: %s (status %x, result %d)\n%s",
		       fail->command->name, fail->class, at, fail->error,
		       fail->always ? " and all later ones" : "", wrong, (unsigned int)status,
		       told->result, told->messages);
		__atomic_fetch_add(&shared->bad, 1, __ATOMIC_SEQ_CST);
	}
	free(ledger.entries);
	return status != 0 || told->calls >= at;
}

static int work(struct fail *fail, long from, long step)
{
	fail->told = mmap(NULL, sizeof(*fail->told), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fail->told == MAP_FAILED || setenv("LOSS_DIR", fail->state, 1))
		return 2;
	for (long at = from; shared->bad < BAD_MAX; at += step) {
		if (!one(fail, at))
			return 0;
		if (at > TRIES_MAX) {
			printf("BAD: there is no end of calls\n");
			return 1;
		}
	}
	return 1;
}

static int run(struct fail *fail, long from, long step, int jobs)
{
	int status, code = 0;

	for (int i = 0; i < jobs; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			snprintf(fail->state, sizeof(fail->state), "%s/state.%d", fail->scratch,
				 (int)getpid());
			code = work(fail, from + i * step, jobs * step);
			copy_remove(fail->state);
			fflush(stdout);
			_exit(code);
		}
		if (pid < 0) {
			perror("fork");
			code = 2;
		}
	}
	while (wait(&status) > 0)
		if (status != 0)
			code = WIFEXITED(status) ? WEXITSTATUS(status) : 2;
	return code;
}

int main(int argc, char **argv)
{
	static struct fail fail;
	int code, jobs;
	long from, step;

	if (argc != 11 || (from = atol(argv[7])) < 1 || (step = atol(argv[8])) < 1 ||
	    (jobs = atoi(argv[9])) < 1) {
		fprintf(stderr, "see the head of %s\n", __FILE__);
		return 2;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[3], commands[i].name) == 0)
			fail.command = &commands[i];
	*(void **)&fail.plan = dlsym(RTLD_DEFAULT, "loss_plan");
	shared =
	    mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!fail.command || !fail.plan || shared == MAP_FAILED) {
		fprintf(stderr, "no such command, or the library is not loaded before this\n");
		return 2;
	}
	fail.class = argv[4];
	fail.error = argv[5];
	fail.always = argv[6][0] == '1';
	fail.scratch = argv[10];
	if (!fail.command->from_nothing) {
		ledger_read(argv[2], &fail.ledger);
		if (fail.ledger.n == 0 || !copy_load(&fail.base, argv[1])) {
			fprintf(stderr, "%s: cannot load\n", argv[1]);
			return 2;
		}
	}
	code = run(&fail, from, step, jobs);
	printf("%s %s %s%s: of %ld %lu tried, %lu ended with an error, %lu bad\n", argv[3], argv[4],
	       argv[5], fail.always ? " from then on" : "", shared->calls, shared->tried,
	       shared->refused, shared->bad);
	return code ? code : shared->bad || shared->calls < 4;
}
