/* A program with something to be found in its memory: within a page and across two, in memory that
 * is shared, in a memfd, in a variable, on the stack of a second thread; and some of it later. */
#include "target.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE 4096
#define MANY (1000 * PAGE)

char words[64] = "words of the data segment";

__attribute__((noinline)) static void *the_other_thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *map(size_t bytes, int flags, int fd)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	CHECK(at != MAP_FAILED);
	return at;
}

/* Built of two halves, so that the program's own file does not hold the whole. */
static void put(char *at, const char *first, const char *second)
{
	strcpy(at, first);
	strcat(at, second);
}

/* Something waits in each. */
static void fill_queues(void)
{
	int ends[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	CHECK(write(ends[0], "waits in a socket", 17) == 17);
	CHECK(!pipe(ends) && write(ends[1], "in a pipe", 9) == 9);
}

int main(void)
{
	FILE *places = fopen("places", "w");
	char *many = map(MANY, MAP_PRIVATE | MAP_ANONYMOUS, -1), *border = many + 500 * PAGE - 5;
	char *shared = map(2 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
	int memfd = memfd_create("looked-at", 0);
	pthread_t thread;
	char *file;

	CHECK(places && memfd >= 0 && !ftruncate(memfd, PAGE));
	file = map(PAGE, MAP_SHARED, memfd);
	for (size_t i = 0; i < MANY; i += sizeof(int))
		*(int *)(many + i) = (int)(i * 2654435761u);
	put(border, "over-", "the-edge");
	put(shared, "shared", "-words");
	put(file, "in-a-", "memfd");
	fprintf(places, "border %lx\nshared %lx\nmemfd %lx\n", (long)border, (long)shared,
		(long)file);
	fclose(places);
	fill_queues();
	CHECK(!pthread_create(&thread, NULL, the_other_thread, NULL));
	target_say_ready();
	while (access("next", F_OK))
		usleep(5000);
	put(many + 700 * PAGE, "only-", "later");
	CHECK((places = fopen("changed", "w")));
	fclose(places);
	target_ready();
	return 0;
}
