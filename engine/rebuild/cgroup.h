/* Control groups that are gone, made again from what the generation tells of them. */
#ifndef SNAP_ENGINE_REBUILD_CGROUP_H
#define SNAP_ENGINE_REBUILD_CGROUP_H

#include "engine/rebuild/rebuild.h"

/* Does the generation tell how the group `path` of this hierarchy was set up? */
bool cgroup_known(const struct rebuild *r, const char *controllers, const char *path);

/* Notes that it has to be made, by cgroup_make().  R_OK or R_FAILED (reported). */
int cgroup_plan(struct rebuild *r, const char *controllers, const char *path);

#endif
