/* How members of an archive are named as objects of a generation. */
#ifndef SNAP_ENGINE_EXCHANGE_ARCHIVE_OBJECT_H
#define SNAP_ENGINE_EXCHANGE_ARCHIVE_OBJECT_H

#include <stddef.h>

/* Files of the dump in `folder` ("checkpoint/") are named as in an import of that folder, all
 * others by where they are in the archive.  `room` of IMPORT_NAME_MAX + 1 is always enough. */
void archive_object_name(const char *folder, const char *member, char *name, size_t room);

#endif
