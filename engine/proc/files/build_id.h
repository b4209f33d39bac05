/* The build-id a linker leaves in an ELF file. */
#ifndef SNAP_ENGINE_BUILD_ID_H
#define SNAP_ENGINE_BUILD_ID_H

#include <stddef.h>
#include <stdint.h>

#define BUILD_ID_MAX_BYTES 64

/*
 * Reads the build-id (note of type 3 whose name is "GNU") of the file `fd` of `file_bytes` bytes,
 * as the program headers tell where it is.  At most 80 KiB are read, whatever the file claims. R_OK
 * with `*len` bytes, R_NOT_FOUND if it is no ELF file of this machine's byte order, or has none, or
 * makes no sense, R_FAILED with errno set and nothing reported.
 */
int build_id_read(int fd, uint64_t file_bytes, uint8_t id[BUILD_ID_MAX_BYTES], size_t *len);

#endif
