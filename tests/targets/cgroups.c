/* Control groups with settings, and groups below them, that are removed before the restore: in a
 * hierarchy of version 1 (where there is one) and in the unified one. */
// between: find $(cat groups) -depth -type d -exec rmdir {} +
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct group {
	const char *top, *members, *setting, *value, *below_value;
	char path[1024];
	bool used;
};

static struct group groups[] = {
	{ .top = "/sys/fs/cgroup/cpu",
	  .members = "tasks",
	  .setting = "cpu.shares",
	  .value = "512\n",
	  .below_value = "300\n" },
	{ .top = "/sys/fs/cgroup",
	  .members = "cgroup.procs",
	  .setting = "cgroup.max.depth",
	  .value = "7\n",
	  .below_value = "3\n" },
	{ .top = "/sys/fs/cgroup/unified",
	  .members = "cgroup.procs",
	  .setting = "cgroup.max.depth",
	  .value = "7\n",
	  .below_value = "3\n" },
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static int put(const char *folder, const char *file, const char *text)
{
	char path[1200];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -1;
	rc = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	close(fd);
	return rc;
}

static void expect(const char *folder, const char *file, const char *text)
{
	char path[1200], now[256] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		target_fail("%s: %m", path);
	CHECK(read(fd, now, sizeof(now) - 1) >= 0 && !close(fd));
	if (strcmp(now, text) != 0)
		target_fail("%s is %s instead of %s", path, now, text);
}

static void set_up(struct group *g, const char *name)
{
	char below[1100], self[1024];

	snprintf(self, sizeof(self), "%s/%s", g->top, g->members);
	if (access(self, W_OK) != 0)
		return;
	snprintf(g->path, sizeof(g->path), "%s/%s", g->top, name);
	NEED(!mkdir(g->path, 0700));
	snprintf(below, sizeof(below), "%s/below", g->path);
	NEED(!mkdir(below, 0711));
	NEED(!put(g->path, g->setting, g->value));
	NEED(!put(below, g->setting, g->below_value));
	NEED(!put(g->path, g->members, "0"));
	g->used = true;
}

static void judge(const struct group *g)
{
	char below[1100];
	struct stat st;

	if (!g->used)
		return;
	snprintf(below, sizeof(below), "%s/below", g->path);
	expect(g->path, g->setting, g->value);
	expect(below, g->setting, g->below_value);
	CHECK(!stat(g->path, &st) && (st.st_mode & 0777) == 0700);
	CHECK(!stat(below, &st) && (st.st_mode & 0777) == 0711);
	/* it is a member: leaving it, and only that, makes it removable */
	errno = 0;
	CHECK(!rmdir(below));
	CHECK(rmdir(g->path) == -1 && errno == EBUSY);
	CHECK(!put(g->top, g->members, "0"));
	CHECK(!rmdir(g->path));
}

int main(void)
{
	char cwd[512], name[512];
	bool any = false;
	FILE *list;

	target_init();
	CHECK(getcwd(cwd, sizeof(cwd)));
	/* /tmp/snap-test.XXXXXX/a */
	snprintf(name, sizeof(name), "%s", cwd + 1);
	for (char *c = name; *c; c++)
		if (*c == '/')
			*c = '-';
	list = fopen("groups", "w");
	CHECK(list);
	for (size_t i = 0; i < GROUPS; i++) {
		set_up(&groups[i], name);
		any |= groups[i].used;
		if (groups[i].used)
			fprintf(list, "%s\n", groups[i].path);
	}
	fclose(list);
	NEED(any);

	target_ready();

	for (size_t i = 0; i < GROUPS; i++)
		judge(&groups[i]);
	target_pass();
}
