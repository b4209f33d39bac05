/* Messages for the person at the terminal.  Everything goes to standard error. */
#ifndef SNAP_BASE_WARN_H
#define SNAP_BASE_WARN_H

enum warn_level { WARN_QUIET, WARN_NORMAL, WARN_VERBOSE };

/* Sets how much is printed; WARN_NORMAL at start.  errors are printed at every level. */
void warn_set_level(enum warn_level level);

/* Calls `fn` in place of printing, with the finished line without newline; NULL prints again. */
void warn_set_hook(void (*fn)(const char *line, void *arg), void *arg);

/* Prints "snap: " and the message.  For failures: name the object and what to do next. */
void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* As warn(), with ": " and the text of errno behind.  Leaves errno as it was. */
void warn_errno(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A remark; not printed with --quiet. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A detail; printed with --verbose only. */
void detail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
