/* A generation in JSON, as inspect prints it and diff compares it. */
#ifndef SNAP_CLI_DESCRIBE_H
#define SNAP_CLI_DESCRIBE_H

#include <jansson.h>
#include <stdbool.h>

#include "engine/look/look.h"
#include "engine/look/queues.h"

/* What is to be told of a process beyond what it is. */
struct describe {
	bool environment, files, sockets, mappings, credentials, threads, stacks;
	const struct look *before; /* an earlier generation mappings are compared with, or NULL */
	bool entropy;		   /* of each mapping, for which its bytes are read */
	const struct look_queues *queues; /* of files and sockets; NULL: not told */
};

/* Text of unknown origin: bytes that are no UTF-8 become "\xNN".  NULL: out of memory. */
json_t *describe_text(const char *bytes, size_t len);

/* One process.  R_OK with a new reference, or a result that has been reported. */
int describe_task(const struct look *look, const struct look_task *task,
		  const struct describe *what, json_t **json);

/* Its open files ("files") or only the sockets among them, by descriptor, with what waits in them
 * unless `queues` is NULL. */
json_t *describe_files(const struct look *look, const struct look_task *task,
		       const struct look_queues *queues, bool sockets_only);

/* Adds what is known of the socket to its object; nothing if `file` is none. */
void describe_socket(const struct look *look, const struct look_queues *queues,
		     const FileEntry *file, json_t *json);

/* What taking the generation cost, and where it was a dump of CRIU's ("criu") what that tells of
 * itself.  R_OK or reported. */
int describe_statistics(const struct look *look, json_t **json);

/* What an imported checkpoint archive tells of its container; NULL if the generation is of none.
 * R_OK or reported. */
int describe_container(const struct look *look, json_t **json);

/* What was mounted in the mount namespaces the generation has images of.  R_OK or reported. */
int describe_mounts(const struct look *look, json_t **json);

/* Its mappings, with how much of each is stored, zero, or the file's, with `entropy` how random the
 * stored bytes are (a sample of each run), and with `before` how much differs from that generation.
 * R_OK or reported. */
int describe_mappings(const struct look *look, const struct look_task *task,
		      const struct describe *what, json_t **json);

/* Adds the stacks to the objects of the threads.  R_OK or reported. */
int describe_stacks(const struct look *look, const struct look_task *task, json_t *threads);

/* Registers of one thread by name. */
json_t *describe_registers(const struct look_thread *thread);

/* Ids and capabilities. */
json_t *describe_credentials(const struct look_task *task);

#endif
