#include "base/boot_id.h"

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define TEXT_BYTES_MAX 256

bool boot_id_parse(const char *text, uint8_t id[BOOT_ID_BYTES])
{
	static const char hex[] = "0123456789abcdef";
	size_t digits = 0;

	for (; *text && digits < 2 * BOOT_ID_BYTES; text++) {
		const char *at = strchr(hex, *text);

		if (*text == '-')
			continue;
		if (!at)
			return false;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | (at - hex));
		digits++;
	}
	return digits == 2 * BOOT_ID_BYTES;
}

int boot_id_read(uint8_t id[BOOT_ID_BYTES])
{
	char *text;
	size_t len;
	bool good;

	if (io_read_file(AT_FDCWD, BOOT_ID_PATH, TEXT_BYTES_MAX, &text, &len) != R_OK) {
		warn_errno("cannot read " BOOT_ID_PATH);
		return R_FAILED;
	}
	good = boot_id_parse(text, id);
	free(text);
	if (!good)
		warn(BOOT_ID_PATH " is not a boot id");
	return good ? R_OK : R_FAILED;
}
