#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child waits for a byte on `go` before it becomes the command, so that it never runs without
 * being recorded; what keeps it from that comes back as an errno on `failure`. */
struct starting {
	int go[2], failure[2];
	int input, output;
};

static void reset_signals(void)
{
	sigset_t none;
	int number;

	for (number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const struct starting *s, char **command)
{
	char byte;
	int error;

	close(s->go[1]);
	if (read(s->go[0], &byte, 1) != 1)
		_exit(EXIT_FAILED); /* snap is gone or gave up */
	reset_signals();
	if (setsid() < 0 || dup2(s->input, STDIN_FILENO) < 0 ||
	    dup2(s->output, STDOUT_FILENO) < 0 || dup2(s->output, STDERR_FILENO) < 0 ||
	    close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		goto err;
	execvp(command[0], command);
err:
	error = errno;
	if (write(s->failure[1], &error, sizeof(error)) < 0)
		_exit(EXIT_FAILED);
	_exit(EXIT_FAILED);
}

static void close_both(int fds[2])
{
	if (fds[0] >= 0)
		close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	fds[0] = fds[1] = -1;
}

static int open_ends(const struct options *options, struct starting *s)
{
	const char *output = options->output ? options->output : "/dev/null";

	s->input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->output = open(output, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0666);
	if (s->output < 0) {
		warn_errno("cannot open %s for the output of %s", output, options->command[0]);
		return R_FAILED;
	}
	if (s->input < 0 || pipe2(s->go, O_CLOEXEC) < 0 || pipe2(s->failure, O_CLOEXEC) < 0) {
		warn_errno("cannot prepare the descriptors of %s", options->command[0]);
		return R_FAILED;
	}
	return R_OK;
}

/* Lets the child go and waits until it has become the command. */
static int let_go(const struct options *options, struct starting *s)
{
	ssize_t got;
	int error;

	close(s->failure[1]);
	s->failure[1] = -1;
	if (write(s->go[1], "", 1) != 1) {
		warn_errno("cannot start %s", options->command[0]);
		return R_FAILED;
	}
	do
		got = read(s->failure[0], &error, sizeof(error));
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return R_OK;
	errno = got == sizeof(error) ? error : EIO;
	warn_errno("cannot start %s", options->command[0]);
	return R_FAILED;
}

static int start(const struct options *options, struct target *target)
{
	struct starting s = { { -1, -1 }, { -1, -1 }, -1, -1 };
	const char *name = options->names[0];
	struct target before;
	bool had = target_load(options->store_dir, name, &before) == R_OK;
	pid_t pid = -1;
	int result;

	result = open_ends(options, &s);
	if (result != R_OK)
		goto out;
	result = R_FAILED;
	pid = fork();
	if (pid < 0) {
		warn_errno("cannot fork");
		goto out;
	}
	if (pid == 0)
		become(&s, options->command);
	if (target_of_pid(pid, target) == R_OK &&
	    target_save(options->store_dir, name, target) == R_OK) {
		result = let_go(options, &s);
		if (result != R_OK && had)
			target_save(options->store_dir, name, &before);
		else if (result != R_OK)
			target_remove(options->store_dir, name);
	}
out:
	close_both(s.go);
	close_both(s.failure);
	if (s.input >= 0)
		close(s.input);
	if (s.output >= 0)
		close(s.output);
	if (pid > 0 && result != R_OK)
		waitpid(pid, NULL, 0); /* its pipe is closed: it ends by itself */
	return result;
}

int cmd_run(const struct options *options)
{
	struct target target;
	struct store *store;
	int result;

	/* A store that cannot be used is found now and not at the first take. */
	result = open_to_write(options, true, &store);
	if (result != R_OK)
		return exit_code_of(result);
	store_close(store);
	if (target_load(options->store_dir, options->names[0], &target) == R_OK &&
	    target_alive(&target)) {
		warn("the target of %s already runs, as process %d; choose another name, or end it",
		     options->names[0], target.pid);
		return EXIT_BUSY;
	}
	result = start(options, &target);
	if (result != R_OK)
		return exit_code_of(result);
	if (options->json)
		return output_json(
		    json_pack("{s:s, s:i}", "lineage", options->names[0], "pid", (int)target.pid));
	if (!options->quiet)
		printf("%d\n", target.pid);
	return EXIT_DONE;
}
