/* A stopped child stays stopped, its parent was told, and it goes on at SIGCONT; so with threads.
 */
#include "target.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int *counter;

static void *spin(void *arg)
{
	for (;;) {
		counter[1]++;
		usleep(1000);
	}
	return NULL;
}

int main(void)
{
	pthread_t id;
	siginfo_t info;
	pid_t child;
	char path[64], line[128];
	int status, count;

	counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	child = fork();
	if (!child) {
		pthread_create(&id, NULL, spin, NULL);
		for (;;) {
			counter[0]++;
			usleep(1000);
		}
	}
	while (!counter[0] || !counter[1])
		usleep(1000);
	CHECK(!kill(child, SIGSTOP));
	CHECK(!waitid(P_PID, child, &info, WSTOPPED | WNOWAIT));
	/* One more, which stays pending. */
	CHECK(!kill(child, SIGSTOP));
	count = counter[0];

	target_ready();

	usleep(20000);
	CHECK(counter[0] == count);
	snprintf(path, sizeof(path), "/proc/%d/status", child);
	CHECK(!proc_line(path, "State:", line, sizeof(line)));
	CHECK(line[7] == 'T');
	CHECK(!kill(child, SIGCONT));
	for (int i = 0; i < 2000 && counter[0] == count; i++)
		usleep(1000);
	CHECK(counter[0] > count);
	count = counter[1];
	for (int i = 0; i < 2000 && counter[1] == count; i++)
		usleep(1000);
	CHECK(counter[1] > count);
	CHECK(!kill(child, SIGKILL));
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	target_pass();
}
