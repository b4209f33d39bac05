/* The id of this run of the machine: a pid and a start time mean one process within it only. */
#ifndef SNAP_BASE_BOOT_ID_H
#define SNAP_BASE_BOOT_ID_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_ID_BYTES 16

/* Of 32 hexadecimal digits in small letters, with dashes anywhere between them; what follows them
 * is not looked at.  False if `text` does not begin so. */
bool boot_id_parse(const char *text, uint8_t id[BOOT_ID_BYTES]);

/* Reads that of /proc/sys/kernel/random/boot_id (random(4)).  R_OK; R_FAILED, reported. */
int boot_id_read(uint8_t id[BOOT_ID_BYTES]);

#endif
