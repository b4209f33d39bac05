#include "cli/looking.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/commands.h"
#include "cli/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int looking_open(const struct options *options, struct looking *looking)
{
	struct generation gen;
	int result;

	memset(looking, 0, sizeof(*looking));
	result = open_to_read(options, &looking->store, &looking->view);
	if (result != R_OK) {
		looking->store = NULL;
		looking->view = NULL;
		return result;
	}
	result = find_generation(options, looking->view, &gen);
	if (result == R_OK)
		result = look_open(looking->view, &gen, &looking->look);
	if (result == R_OK)
		result = secrets_reveal(options, looking->store, &looking->keys);
	if (result == R_OK && options->reveal_secrets)
		look_reveal(looking->look, looking->keys);
	if (result != R_OK)
		looking_close(looking);
	return result;
}

void looking_close(struct looking *looking)
{
	look_close(looking->look);
	store_keys_close(looking->keys);
	close_reading(looking->store, looking->view);
	memset(looking, 0, sizeof(*looking));
}

const struct look_task *looking_task(const struct options *options, const struct look *look)
{
	const struct look_task *task;

	if (!options->pid)
		return &look->tasks[0];
	task = look_task(look, (uint32_t)options->pid);
	if (!task)
		warn("generation %llu has no process %lld; see snap show --gen %llu",
		     (unsigned long long)look->gen.number, (long long)options->pid,
		     (unsigned long long)look->gen.number);
	return task;
}

int looking_create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EEXIST)
		warn("%s exists already; remove it or name another file", path);
	else if (fd < 0)
		warn_errno("%s", path);
	return fd;
}
