/* What the take and the restore of TCP connections share. */
#ifndef SNAP_ENGINE_PROC_FDS_TCP_REPAIR_H
#define SNAP_ENGINE_PROC_FDS_TCP_REPAIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/image/image.h"

/* Do the sequence numbers of this state count a FIN of ours, or of the peer's? */
bool tcp_fin_sent(uint32_t state);
bool tcp_fin_received(uint32_t state);

/* Marks packets that pass a lock, CRIU's locks too: those by which a restore tells its own socket
 * what the peer has done already. */
#define TCP_LOCK_MARK 0xc114u

/* In CRIU's inventory. */
#define CRIU_LOCK_NFTABLES 1
#define CRIU_LOCK_NONE 2

/* The name of a table of locks: this, an id, and the pid of the tree's root. */
#define TCP_LOCK_TABLE_PREFIX "CRIU-"
#define TCP_LOCK_ID "snap-"

/*
 * While a connection has no socket, this machine would answer its peer with a reset.  A lock drops
 * what the peer sends, by a table of nftables for each tree that is named by its root's pid. CRIU's
 * restore takes a table away if an image tells it the second part of its name.  The lock of a
 * connection goes by itself after a while in which any peer has given up.
 * R_OK, R_UNSUPPORTED (no nft program, named), R_FAILED.
 */
int tcp_lock(pid_t root, const InetSkEntry *entry);
/* Ends it; quietly if there is none. */
void tcp_unlock(pid_t root, const InetSkEntry *entry);
/* Ends all locks of a tree, and takes its table away. */
void tcp_unlock_all(pid_t root);
/* The same for those of a dump of CRIU's, by the id that its inventory has. */
void tcp_unlock_criu(const char *id);

#endif
