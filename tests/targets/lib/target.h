/*
 * What a self-judging target program is made of.
 *
 * A target sets up one kind of state, calls target_ready(), which comes back when the harness wants
 * the judgement (after a take that left the target running, or after a restore: the target cannot
 * tell), compares what it finds with what it had, and calls target_pass().  It works in the folder
 * it was started in, which is its own, and exchanges three files with the harness there: `ready`
 * (written by the target), `judge` (created by the harness), `verdict` (written by the target).
 */
#ifndef SNAP_TESTS_TARGET_H
#define SNAP_TESTS_TARGET_H

#include <stddef.h>
#include <stdint.h>

/* Remembers the working folder.  target_ready() calls it; call it first thing if the target changes
 * its folder or its root. */
void target_init(void);

/* Tells the harness that the state is set up, and waits to be judged.  Uses no descriptor, no
 * signal and no thread while waiting: it looks for a file every few milliseconds. */
void target_ready(void);

/* The two halves of target_ready(), for targets that go on doing something meanwhile. */
void target_say_ready(void);
int target_is_judged(void);

/* Writes the verdict and ends the process.  Any task of the tree may fail; the root passes. */
void target_pass(void) __attribute__((noreturn));
void target_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Fails with the source line and the text of the condition (and errno) unless it holds. */
#define CHECK(condition) \
	do { \
		if (!(condition)) \
			target_fail("%s:%d: %s (errno %m)", __FILE_NAME__, __LINE__, #condition); \
	} while (0)

/* For setting the state up: the same, but the test is skipped: this machine cannot do it. */
#define NEED(condition) \
	do { \
		if (!(condition)) \
			target_skip("%s:%d: %s (errno %m)", __FILE_NAME__, __LINE__, #condition); \
	} while (0)
void target_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* A reproducible pattern: fills with it, and says at which offset memory differs from it (`len` if
 * nowhere). */
void pattern_fill(void *memory, size_t len, uint32_t seed);
size_t pattern_differs(const void *memory, size_t len, uint32_t seed);

/* One line of /proc/self/NAME (or of the path, if it starts with '/') that begins with `prefix`,
 * without its newline; 0 or -1 if there is none. */
int proc_line(const char *name, const char *prefix, char *line, size_t size);

/* A listener on a free port of 127.0.0.1, and a connection to it. */
int tcp_listener(void);
void tcp_connect(int listener, int *client, int *server);

/* Waits for a child and fails unless it exited with 0. */
void expect_child_ok(int pid);

#endif
