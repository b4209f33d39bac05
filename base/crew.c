#include "base/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct member {
	struct crew *crew;
	unsigned int worker;
	pthread_t thread;
};

/* `lock` guards what stands below it. */
struct crew {
	struct member members[CREW_MAX]; /* 0 is the caller */
	unsigned int size, started;
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	void (*fn)(size_t i, unsigned int worker, void *arg);
	void *arg;
	size_t next, n, busy; /* pieces: to give out, all, given out and not done */
	bool ending;
};

struct crew *crew_new(unsigned int most)
{
	struct crew *crew = calloc(1, sizeof(*crew));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!crew)
		return NULL;
	most = most < CREW_MAX ? most : CREW_MAX;
	crew->size = cpus < 1 ? 1 : cpus > (long)most ? most : (unsigned int)cpus;
	crew->started = 1;
	for (unsigned int i = 0; i < CREW_MAX; i++)
		crew->members[i] = (struct member){ .crew = crew, .worker = i };
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->work, NULL);
	pthread_cond_init(&crew->done, NULL);
	return crew;
}

unsigned int crew_size(const struct crew *crew)
{
	return crew->size;
}

/* Does pieces until none is left to be given out.  Called, and returns, with the lock held. */
static void do_pieces(struct crew *crew, unsigned int worker)
{
	while (crew->next < crew->n) {
		size_t piece = crew->next++;

		crew->busy++;
		pthread_mutex_unlock(&crew->lock);
		crew->fn(piece, worker, crew->arg);
		pthread_mutex_lock(&crew->lock);
		crew->busy--;
	}
}

static void *member_main(void *arg)
{
	struct member *member = arg;
	struct crew *crew = member->crew;

	pthread_mutex_lock(&crew->lock);
	while (!crew->ending) {
		if (crew->next == crew->n) {
			pthread_cond_wait(&crew->work, &crew->lock);
			continue;
		}
		do_pieces(crew, member->worker);
		pthread_cond_signal(&crew->done);
	}
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

/* Threads take no signals: these belong to the command. */
static void start(struct crew *crew)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (crew->started < crew->size) {
		struct member *member = &crew->members[crew->started];

		if (pthread_create(&member->thread, NULL, member_main, member))
			crew->size = crew->started;
		else
			crew->started++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void give_out(struct crew *crew, size_t n,
		     void (*fn)(size_t i, unsigned int worker, void *arg), void *arg)
{
	pthread_mutex_lock(&crew->lock);
	crew->fn = fn;
	crew->arg = arg;
	crew->next = 0;
	crew->n = n;
	pthread_cond_broadcast(&crew->work);
	pthread_mutex_unlock(&crew->lock);
}

void crew_run(struct crew *crew, size_t n, void (*fn)(size_t i, unsigned int worker, void *arg),
	      void *arg)
{
	if (n == 1) {
		fn(0, 0, arg);
		return;
	}
	if (n > 1 && crew->started < crew->size)
		start(crew);
	give_out(crew, n, fn, arg);
	crew_finish(crew);
}

void crew_begin(struct crew *crew, size_t n, void (*fn)(size_t i, unsigned int worker, void *arg),
		void *arg)
{
	if (crew->started < crew->size)
		start(crew);
	give_out(crew, n, fn, arg);
}

void crew_finish(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	do_pieces(crew, 0);
	while (crew->busy > 0)
		pthread_cond_wait(&crew->done, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
}

void crew_free(struct crew *crew)
{
	if (!crew)
		return;
	pthread_mutex_lock(&crew->lock);
	crew->ending = true;
	pthread_cond_broadcast(&crew->work);
	pthread_mutex_unlock(&crew->lock);
	while (crew->started > 1)
		pthread_join(crew->members[--crew->started].thread, NULL);
	pthread_cond_destroy(&crew->done);
	pthread_cond_destroy(&crew->work);
	pthread_mutex_destroy(&crew->lock);
	free(crew);
}
