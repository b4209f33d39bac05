/* What a restore keeps of sockets while it brings them back. */
#include "engine/proc/fds/sockets.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/proc/fds/fds_internal.h"

/* A socket's second entry tells what was known only when all files were; it joins the first. */
static void join_more(SnapSocketEntry *first, SnapSocketEntry *second)
{
	if (second->n_pending) {
		first->pending = second->pending;
		first->n_pending = second->n_pending;
		second->pending = NULL;
		second->n_pending = 0;
	}
	if (second->n_pending_peers) {
		first->pending_peers = second->pending_peers;
		first->n_pending_peers = second->n_pending_peers;
		second->pending_peers = NULL;
		second->n_pending_peers = 0;
	}
	if (second->has_peer_name) {
		first->has_peer_name = true;
		first->peer_name = second->peer_name;
		second->has_peer_name = false;
		second->peer_name.data = NULL;
		second->peer_name.len = 0;
	}
	if (second->has_outside) {
		first->has_outside = true;
		first->outside = second->outside;
	}
}

static int load_more(struct fds_restore *restore, const ProtobufCMessage *entry,
		     const void *payload, size_t bytes)
{
	struct sockets *s = fds_restore_kinds(restore)->sockets;
	SnapSocketEntry *more = (SnapSocketEntry *)(uintptr_t)entry;

	(void)payload, (void)bytes;
	for (size_t i = 0; i < s->n_more; i++) {
		if (s->more[i]->id != more->id)
			continue;
		join_more(s->more[i], more);
		return R_OK;
	}
	if (grow(&s->more, s->n_more, &s->room_more, sizeof(*s->more)))
		return R_FAILED;
	s->more[s->n_more++] = more;
	return R_OK;
}

static int load_file(struct fds_restore *restore, const ProtobufCMessage *entry,
		     const void *payload, size_t bytes)
{
	struct sockets *s = fds_restore_kinds(restore)->sockets;
	const FileEntry *file = (const FileEntry *)entry;

	(void)payload, (void)bytes;
	if (file->type == FD_TYPES__INETSK && file->isk && file->isk->opts &&
	    file->isk->opts->so_reuseport && file->isk->src_port) {
		if (grow(&s->reuseport, s->n_reuseport, &s->room_reuseport, sizeof(*s->reuseport)))
			return R_FAILED;
		s->reuseport[s->n_reuseport++] = file->isk;
	}
	if (file->type != FD_TYPES__UNIXSK || !file->usk)
		return R_OK;
	if (grow(&s->unix_list, s->n_unix, &s->room_unix, sizeof(*s->unix_list)))
		return R_FAILED;
	s->unix_list[s->n_unix++] = (struct usk){
		.id = file->id,
		.entry = file->usk,
		.more = sk_more_find(restore, file->id),
		.fd = -1,
		.phantom = -1,
	};
	return R_OK;
}

int sockets_load(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);
	int r;

	if (kinds->sockets)
		return R_OK;
	kinds->sockets = calloc(1, sizeof(*kinds->sockets));
	if (!kinds->sockets) {
		warn_errno("no memory for sockets");
		return R_FAILED;
	}
	r = fds_restore_each(restore, IMAGE_SNAP_SOCKETS, NULL, load_more);
	if (!r)
		r = fds_restore_each(restore, IMAGE_FILES, NULL, load_file);
	if (!r)
		r = unix_queue_load(restore);
	return r;
}

void sockets_done(struct fds_restore *restore)
{
	struct fds_restore_kinds *kinds = fds_restore_kinds(restore);
	struct sockets *s = kinds->sockets;

	if (!s)
		return;
	for (size_t i = 0; i < s->n_unix; i++)
		if (s->unix_list[i].phantom >= 0)
			close(s->unix_list[i].phantom);
	for (size_t i = 0; i < s->n_queue; i++)
		free(s->queue[i].data);
	free(s->queue);
	free(s->reuseport);
	free(s->unix_list);
	free(s->more);
	free(s);
	kinds->sockets = NULL;
}
