#include "tar_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

#define BLOCK 512u

void tar_make_bytes(struct tar_make *tar, const void *data, size_t n)
{
	if (tar->len + n > tar->room) {
		tar->room = 2 * (tar->len + n);
		tar->data = realloc(tar->data, tar->room);
		if (!tar->data)
			abort();
	}
	if (data && n)
		memcpy(tar->data + tar->len, data, n);
	else if (n)
		memset(tar->data + tar->len, 0, n);
	tar->len += n;
}

/* Octal, or where that has no room the number itself, as GNU does it. */
static void put_number(uint8_t *field, size_t width, uint64_t value)
{
	if (value >> (3 * (width - 1)) == 0) {
		for (size_t i = width - 1; i-- > 0; value >>= 3)
			field[i] = (uint8_t)('0' + value % 8);
		return;
	}
	for (size_t i = width; i-- > 1; value >>= 8)
		field[i] = (uint8_t)value;
	field[0] = 0x80;
}

void tar_make_member(struct tar_make *tar, const char *name, char type, const char *link,
		     const void *data, size_t n, uint64_t told)
{
	uint8_t head[BLOCK] = { 0 };
	uint32_t sum = 0;

	memcpy(head, name, strnlen(name, 100));
	put_number(head + 100, 8, type == '5' ? 0755 : 0644);
	put_number(head + 108, 8, 0);
	put_number(head + 116, 8, 0);
	put_number(head + 124, 12, told);
	put_number(head + 136, 12, 1700000000);
	memset(head + 148, ' ', 8);
	head[156] = (uint8_t)type;
	if (link)
		memcpy(head + 157, link, strnlen(link, 100));
	memcpy(head + 257, "ustar", 6);
	memcpy(head + 263, "00", 2);
	for (size_t i = 0; i < BLOCK; i++)
		sum += head[i];
	put_number(head + 148, 7, sum);
	tar_make_bytes(tar, head, BLOCK);
	tar_make_bytes(tar, data, n);
	tar_make_bytes(tar, NULL, (BLOCK - n % BLOCK) % BLOCK);
}

void tar_make_file(struct tar_make *tar, const char *name, const void *data, size_t n)
{
	tar_make_member(tar, name, '0', NULL, data, n, n);
}

void tar_make_end(struct tar_make *tar)
{
	tar_make_bytes(tar, NULL, (size_t)2 * BLOCK);
}

/* A message of numbers, each field below 16 and each value below 128, framed as in an image. */
static size_t put_entry(uint8_t *to, const uint8_t (*fields)[2], size_t n)
{
	put_le32(to, (uint32_t)(2 * n));
	for (size_t i = 0; i < n; i++) {
		to[4 + 2 * i] = (uint8_t)(fields[i][0] << 3);
		to[5 + 2 * i] = fields[i][1];
	}
	return 4 + 2 * n;
}

#define ENTRY(to, ...) \
	put_entry(to, (const uint8_t[][2]){ __VA_ARGS__ }, \
		  sizeof((const uint8_t[][2]){ __VA_ARGS__ }) / 2)

static void add_image(struct tar_make *tar, const char *folder, const char *name,
		      const uint8_t *data, size_t n)
{
	char path[120];

	snprintf(path, sizeof(path), "%s%s", folder, name);
	tar_make_file(tar, path, data, n);
}

void tar_make_dump(struct tar_make *tar, const char *folder)
{
	uint8_t image[128], pages[2 * 4096];
	size_t n = 8, common = 4;

	put_le32(image, 0x58313116);
	n = common + ENTRY(image + common, { 1, 2 });
	add_image(tar, folder, "inventory.img", image, n);
	put_le32(image, 0x54564319);
	put_le32(image + 4, 0x50273030);
	n = 8 + ENTRY(image + 8, { 1, 7 }, { 2, 0 }, { 3, 7 }, { 4, 7 }, { 5, 7 });
	add_image(tar, folder, "pstree.img", image, n);
	put_le32(image + 4, 0x56084025);
	n = 8 + ENTRY(image + 8, { 1, 1 });
	/* Addresses of 0x10000 take three bytes of a number, so by hand. */
	memcpy(image + n, "\x0a\0\0\0\x08\x80\x80\x04\x10\x02\x20\x04\x28\x01", 14);
	n += 14;
	add_image(tar, folder, "pagemap-7.img", image, n);
	for (size_t i = 0; i < sizeof(pages); i++)
		pages[i] = (uint8_t)(i * 7 + i / 4096);
	add_image(tar, folder, "pages-1.img", pages, sizeof(pages));
}

void tar_make_whole(struct tar_make *tar)
{
	static const char config[] = "{\"id\":\"f00d\",\"name\":\"web\",\"runtime\":\"runc\"}";
	uint8_t noise[3000];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(i * i >> 3);
	tar_make_member(tar, "checkpoint/", '5', NULL, NULL, 0, 0);
	tar_make_dump(tar, "checkpoint/");
	tar_make_file(tar, "config.dump", config, strlen(config));
	tar_make_file(tar, "rootfs-diff.tar", noise, sizeof(noise));
	tar_make_file(tar, "empty", NULL, 0);
	tar_make_end(tar);
}
