/* What the take and the restore of TCP connections share. */
#ifndef SNAP_ENGINE_PROC_FDS_TCP_REPAIR_H
#define SNAP_ENGINE_PROC_FDS_TCP_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/image/image.h"

/* Do the sequence numbers of this state count a FIN of ours, or of the peer's? */
bool tcp_fin_sent(uint32_t state);
bool tcp_fin_received(uint32_t state);

/* Marks packets that pass a lock: those by which a restore tells its own socket what the peer has
 * done already. */
#define TCP_LOCK_MARK 0x736e6170u

/*
 * While a connection has no socket, this machine would answer its peer with a reset.  A lock drops
 * what the peer sends (nftables, table "inet snap").  It goes by itself after a while in which any
 * peer has given up.
 * R_OK, R_UNSUPPORTED (no nft program, named), R_FAILED.
 */
int tcp_lock(const InetSkEntry *entry);
/* Ends it; quietly if there is none. */
void tcp_unlock(const InetSkEntry *entry);

#endif
