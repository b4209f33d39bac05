/* Files of /proc that belong to tasks: of itself, of a child, a folder, a namespace. */
#include "target.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	char path[64], text[4096] = { 0 };
	struct stat before, now;
	pid_t child = fork();
	int self, folder, of_child, ns;

	if (!child) {
		for (;;)
			pause();
	}
	self = open("/proc/self/status", O_RDONLY);
	folder = open("/proc/self", O_RDONLY | O_DIRECTORY);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)child);
	of_child = open(path, O_RDWR);
	ns = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	CHECK(self >= 0 && folder >= 0 && of_child >= 0 && ns >= 0 && !fstat(ns, &before));

	target_ready();

	CHECK(read(self, text, sizeof(text) - 1) > 0 && strstr(text, "\nPid:"));
	CHECK(atoi(strstr(text, "\nPid:") + 5) == getpid());
	CHECK(!faccessat(folder, "fdinfo", F_OK, 0));
	CHECK(write(of_child, "77", 2) == 2);
	memset(text, 0, sizeof(text));
	CHECK(!lseek(of_child, 0, SEEK_SET) && read(of_child, text, 100) > 0);
	CHECK(!strcmp(text, "77\n"));
	CHECK(!fstat(ns, &now) && now.st_ino == before.st_ino && fcntl(ns, F_GETFD) == FD_CLOEXEC);
	CHECK(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
	CHECK(read(of_child, text, 10) <= 0);
	target_pass();
}
