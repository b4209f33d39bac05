/* Cookies: the table of what counts as a difference, build-ids of well-made and hostile ELF files,
 * sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/result.h"
#include "engine/proc/files/cookie.h"

static struct cookie base(void)
{
	return (struct cookie){ .dev = 1,
				.ino = 2,
				.size = 1000,
				.mode = S_IFREG | 0644,
				.has_times = true,
				.mtime_sec = 10,
				.ctime_sec = 11 };
}

#define FULL(c) \
	{ \
		.kind = SUM_FULL, .crc = (c) \
	}
#define SAMPLED(c) \
	{ \
		.kind = SUM_SAMPLED, .pages = 64, .crc = (c) \
	}

struct row {
	const char *what;
	struct file_sum then_sum, now_sum;
	uint64_t now_size, now_ino;
	uint32_t now_mode;
	int64_t now_mtime;
	bool grows;
	uint8_t then_id, now_id;	 /* one byte of a build-id of four; 0: none */
	uint8_t then_verity, now_verity; /* likewise of a digest */
	unsigned int expected;
};

static const struct row table[] = {
	{ .what = "nothing" },
	{ .what = "another inode, same times", .now_ino = 3, .expected = DIFFERS_INODE },
	{ .what = "written, nothing noted", .now_mtime = 12, .expected = DIFFERS_MODIFIED },
	{ .what = "touched, same sum", .then_sum = FULL(5), .now_sum = FULL(5), .now_mtime = 12 },
	{ .what = "other sum",
	  .then_sum = FULL(5),
	  .now_sum = FULL(6),
	  .expected = DIFFERS_CONTENT },
	{ .what = "other samples",
	  .then_sum = SAMPLED(5),
	  .now_sum = SAMPLED(6),
	  .expected = DIFFERS_CONTENT },
	{ .what = "written, same samples",
	  .then_sum = SAMPLED(5),
	  .now_sum = SAMPLED(5),
	  .now_mtime = 12,
	  .expected = DIFFERS_MODIFIED },
	{ .what = "written, other samples",
	  .then_sum = SAMPLED(5),
	  .now_sum = SAMPLED(6),
	  .now_mtime = 12,
	  .expected = DIFFERS_CONTENT },
	{ .what = "same samples, times put back, another inode",
	  .then_sum = SAMPLED(5),
	  .now_sum = SAMPLED(5),
	  .now_ino = 3,
	  .expected = DIFFERS_INODE },
	{ .what = "a sum of another kind",
	  .then_sum = FULL(5),
	  .now_sum = SAMPLED(5),
	  .expected = DIFFERS_CONTENT },
	{ .what = "mode", .now_mode = S_IFREG | 0600, .expected = DIFFERS_MODE },
	{ .what = "type alone",
	  .now_mode = S_IFDIR | 0644,
	  .now_size = 4,
	  .expected = DIFFERS_TYPE },
	{ .what = "shorter", .now_size = 999, .expected = DIFFERS_SIZE },
	{ .what = "shorter, though it only grows",
	  .now_size = 999,
	  .grows = true,
	  .expected = DIFFERS_SIZE },
	{ .what = "longer", .now_size = 1001, .expected = DIFFERS_SIZE },
	{ .what = "grown, nothing noted",
	  .now_size = 1001,
	  .grows = true,
	  .expected = DIFFERS_GROWN },
	{ .what = "grown, same beginning",
	  .now_size = 1001,
	  .grows = true,
	  .then_sum = SAMPLED(5),
	  .now_sum = SAMPLED(5),
	  .expected = DIFFERS_GROWN },
	{ .what = "grown, other beginning",
	  .now_size = 1001,
	  .grows = true,
	  .then_sum = SAMPLED(5),
	  .now_sum = SAMPLED(6),
	  .expected = DIFFERS_SIZE | DIFFERS_PREFIX },
	{ .what = "longer, samples prove nothing of a file written anywhere",
	  .now_size = 1001,
	  .then_sum = SAMPLED(5),
	  .now_sum = SAMPLED(5),
	  .expected = DIFFERS_SIZE },
	{ .what = "longer, all of it still there",
	  .now_size = 1001,
	  .then_sum = FULL(5),
	  .now_sum = FULL(5),
	  .expected = DIFFERS_GROWN },
	{ .what = "same build-id, reinstalled",
	  .then_id = 7,
	  .now_id = 7,
	  .now_mtime = 99,
	  .now_ino = 3,
	  .expected = DIFFERS_INODE },
	{ .what = "other build-id", .then_id = 7, .now_id = 8, .expected = DIFFERS_BUILD_ID },
	{ .what = "no build-id any more", .then_id = 7, .expected = DIFFERS_BUILD_ID },
	{ .what = "same digest, touched, same samples",
	  .then_verity = 7,
	  .now_verity = 7,
	  .then_sum = SAMPLED(5),
	  .now_sum = SAMPLED(5),
	  .now_mtime = 99 },
	{ .what = "other digest, same times",
	  .then_verity = 7,
	  .now_verity = 8,
	  .expected = DIFFERS_VERITY },
	{ .what = "no digest any more",
	  .then_verity = 7,
	  .now_mtime = 99,
	  .expected = DIFFERS_VERITY },
	{ .what = "same build-id, other bytes",
	  .then_id = 7,
	  .now_id = 7,
	  .then_sum = FULL(5),
	  .now_sum = FULL(6),
	  .expected = DIFFERS_CONTENT },
};

static void set_verity(struct cookie *c, uint8_t byte)
{
	c->verity_bytes = byte ? 4 : 0;
	memset(c->verity, byte, c->verity_bytes);
}

static void set_id(struct cookie *c, uint8_t byte)
{
	c->build_id_bytes = byte ? 4 : 0;
	memset(c->build_id, byte, c->build_id_bytes);
}

static void test_compare(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct row *row = &table[i];
		struct cookie then = base(), now = base();
		unsigned int got;

		then.grows = row->grows;
		then.sum = row->then_sum;
		now.sum = row->now_sum;
		set_id(&then, row->then_id);
		set_id(&now, row->now_id);
		set_verity(&then, row->then_verity);
		set_verity(&now, row->now_verity);
		now.size = row->now_size ? row->now_size : then.size;
		now.ino = row->now_ino ? row->now_ino : then.ino;
		now.mode = row->now_mode ? row->now_mode : then.mode;
		now.mtime_sec = row->now_mtime ? row->now_mtime : then.mtime_sec;
		got = cookie_compare(&then, &now);
		if (got != row->expected)
			fail_msg("%s: 0x%x instead of 0x%x", row->what, got, row->expected);
	}
}

static void test_same_stat(void **state)
{
	struct cookie then = base(), now = base();

	(void)state;
	assert_true(cookie_same_stat(&then, &now));
	now.ctime_nsec = 1;
	assert_false(cookie_same_stat(&then, &now));
	now = base();
	then.has_btime = now.has_btime = true;
	now.btime_sec = 1;
	assert_false(cookie_same_stat(&then, &now));
	/* Of a file system that does not know it any more. */
	now.has_btime = false;
	assert_true(cookie_same_stat(&then, &now));
	then.has_times = false;
	assert_false(cookie_same_stat(&then, &now));
}

static void test_images(void **state)
{
	uint8_t hash[SUM_HASH_BYTES] = { 1, 2, 3 }, verity[4] = { 1, 0, 9, 9 };
	uint32_t words[5] = { 1, 2, 3, 4, 5 };
	RegFileEntry reg = REG_FILE_ENTRY__INIT;
	SnapFileEntry more = SNAP_FILE_ENTRY__INIT;
	struct cookie cookie;

	(void)state;
	reg.size = 12;
	reg.mode = S_IFREG | 0600;
	reg.n_build_id = 5;
	reg.build_id = words;
	reg.has_checksum = 1;
	reg.checksum = 77;
	reg.checksum_config = SUM_SAMPLED;
	reg.checksum_parameter = 64;
	more.has_mtime_sec = more.has_ctime_sec = more.has_content_hash = more.has_verity = 1;
	more.content_hash = (ProtobufCBinaryData){ sizeof(hash), hash };
	more.verity = (ProtobufCBinaryData){ sizeof(verity), verity };
	cookie_from_images(&reg, &more, &cookie);
	assert_int_equal(cookie.build_id_bytes, 20);
	assert_memory_equal(cookie.build_id, words, 20);
	assert_int_equal(cookie.sum.kind, SUM_SAMPLED);
	assert_int_equal(cookie.sum.pages, 64);
	assert_memory_equal(cookie.sum.hash, hash, sizeof(hash));
	assert_int_equal(cookie.verity_bytes, 4);
	assert_true(cookie.has_times);
	/* What cannot be is not taken in. */
	reg.n_build_id = 1000;
	more.verity.len = 4096;
	more.content_hash.len = 3;
	reg.checksum_config = 9;
	cookie_from_images(&reg, &more, &cookie);
	assert_int_equal(cookie.build_id_bytes, 0);
	assert_int_equal(cookie.verity_bytes, 0);
	assert_int_equal(cookie.sum.kind, SUM_NONE);
	/* Of another program: logs are known by their flags. */
	reg.flags = O_WRONLY | O_APPEND;
	cookie_from_images(&reg, NULL, &cookie);
	assert_true(cookie.grows);
	assert_false(cookie.has_times);
}

static void test_explain(void **state)
{
	struct cookie then = base(), now = base();
	char text[512], tiny[12];

	(void)state;
	now.size = 2345;
	now.mode = S_IFREG | 0600;
	cookie_explain(&then, &now, DIFFERS_SIZE | DIFFERS_MODE, text, sizeof(text));
	assert_string_equal(text, "size 1000 -> 2345, mode 100644 -> 100600");
	cookie_explain(&then, &now, DIFFERS_SIZE | DIFFERS_MODE, tiny, sizeof(tiny));
	assert_true(strlen(tiny) < sizeof(tiny));
	assert_string_equal(cookie_word(DIFFERS_BUILD_ID), "build-id");
	assert_null(cookie_word(1u << 30));
}

/* ---- ELF ---- */

struct elf {
	Elf64_Ehdr head;
	Elf64_Phdr note, load;
	uint8_t notes[96];
};

static size_t add_note(uint8_t *at, const char *name, uint32_t name_bytes, uint32_t type,
		       const void *desc, uint32_t desc_bytes)
{
	Elf64_Nhdr h = { name_bytes, desc_bytes, type };
	size_t padded = (name_bytes + 3u) & ~3u;

	memcpy(at, &h, sizeof(h));
	memcpy(at + sizeof(h), name, name_bytes);
	memcpy(at + sizeof(h) + padded, desc, desc_bytes);
	return sizeof(h) + padded + ((desc_bytes + 3u) & ~3u);
}

static struct elf good_elf(void)
{
	struct elf e = { 0 };
	size_t n;

	memcpy(e.head.e_ident, ELFMAG, SELFMAG);
	e.head.e_ident[EI_CLASS] = ELFCLASS64;
	e.head.e_ident[EI_DATA] = ELFDATA2LSB;
	e.head.e_phoff = offsetof(struct elf, note);
	e.head.e_phentsize = sizeof(Elf64_Phdr);
	e.head.e_phnum = 2;
	n = add_note(e.notes, "Linux", 6, 3, "xxxx", 4);
	n += add_note(e.notes + n, "GNU", 4, NT_GNU_BUILD_ID, "0123456789abcdef0123", 20);
	e.note = (Elf64_Phdr){ .p_type = PT_NOTE,
			       .p_offset = offsetof(struct elf, notes),
			       .p_filesz = n,
			       .p_align = 4 };
	e.load.p_type = PT_LOAD;
	return e;
}

static int read_id(const void *bytes, size_t len, uint8_t *id, size_t *id_len)
{
	int fd = memfd_create("elf", MFD_CLOEXEC), rc;

	assert_true(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	rc = build_id_read(fd, len, id, id_len);
	close(fd);
	return rc;
}

static void test_build_id(void **state)
{
	uint8_t id[BUILD_ID_MAX_BYTES];
	struct elf e = good_elf();
	size_t len = 0;

	(void)state;
	assert_int_equal(read_id(&e, sizeof(e), id, &len), R_OK);
	assert_int_equal(len, 20);
	assert_memory_equal(id, "0123456789abcdef0123", 20);
	/* The name counts: other makers use type 3 too. */
	e.notes[add_note((uint8_t[96]){ 0 }, "Linux", 6, 3, "xxxx", 4) + sizeof(Elf64_Nhdr)] = 'X';
	assert_int_equal(read_id(&e, sizeof(e), id, &len), R_NOT_FOUND);
	/* Of this very program, whatever its linker did, and of what is no ELF file. */
	assert_int_equal(read_id("#!/bin/sh\n", 10, id, &len), R_NOT_FOUND);
	assert_int_equal(read_id("", 0, id, &len), R_NOT_FOUND);
}

static void test_hostile_elf(void **state)
{
	uint8_t id[BUILD_ID_MAX_BYTES];
	struct elf good = good_elf();
	size_t len;

	(void)state;
	/* Cut short anywhere. */
	for (size_t n = 0; n < sizeof(good); n++) {
		int rc = read_id(&good, n, id, &len);

		assert_true(rc == R_NOT_FOUND || (rc == R_OK && len == 20));
	}
	/* Any one byte anything: no crash, no more than what fits. */
	for (size_t at = 0; at < sizeof(good); at++)
		for (int value = 0; value < 256; value += 51) {
			struct elf e = good;
			int rc;

			((uint8_t *)&e)[at] = (uint8_t)value;
			rc = read_id(&e, sizeof(e), id, &len);
			assert_true(rc == R_NOT_FOUND || (rc == R_OK && len <= sizeof(id)));
		}
	/* Numbers that overflow. */
	for (int i = 0; i < 6; i++) {
		struct elf e = good;
		uint32_t *note = (uint32_t *)e.notes;

		if (i == 0)
			e.head.e_phoff = UINT64_MAX - 8;
		if (i == 1)
			e.note.p_offset = UINT64_MAX - 8;
		if (i == 2)
			e.note.p_filesz = UINT64_MAX;
		if (i == 3)
			note[0] = UINT32_MAX;
		if (i == 4)
			note[1] = UINT32_MAX - 3;
		if (i == 5)
			e.head.e_phnum = PN_XNUM;
		assert_int_equal(read_id(&e, sizeof(e), id, &len), R_NOT_FOUND);
	}
}

/* ---- sums ---- */

static void test_sums(void **state)
{
	static uint8_t bytes[100 * 4096 + 17];
	int fd = memfd_create("sum", MFD_CLOEXEC);
	struct file_sum full, part, again;
	uint64_t read_bytes = 0;

	(void)state;
	/* The check value of the polynomial. */
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 4096);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(sum_file(fd, sizeof(bytes), SUM_FULL, 0, &full, &read_bytes), R_OK);
	assert_int_equal(full.crc, crc32c(0, bytes, sizeof(bytes)));
	assert_int_equal(read_bytes, sizeof(bytes));
	read_bytes = 0;
	assert_int_equal(sum_file(fd, sizeof(bytes), SUM_SAMPLED, 64, &part, &read_bytes), R_OK);
	assert_int_equal(part.kind, SUM_SAMPLED);
	assert_int_equal(read_bytes, 63 * 4096 + 17);
	/* First and last page are among the samples. */
	assert_int_equal(pwrite(fd, "x", 1, sizeof(bytes) - 1), 1);
	assert_int_equal(sum_file(fd, sizeof(bytes), SUM_SAMPLED, 64, &again, &read_bytes), R_OK);
	assert_int_not_equal(again.crc, part.crc);
	/* A small one is summed up whole, and says so; one that is shorter is found out. */
	assert_int_equal(sum_file(fd, 64 * 4096, SUM_SAMPLED, 64, &again, &read_bytes), R_OK);
	assert_int_equal(again.kind, SUM_FULL);
	assert_int_equal(again.crc, crc32c(0, bytes, 64 * 4096));
	assert_int_equal(sum_file(fd, sizeof(bytes) + 1, SUM_FULL, 0, &again, &read_bytes),
			 R_NOT_FOUND);
	assert_int_equal(sum_file(fd, 0, SUM_SAMPLED, 64, &again, &read_bytes), R_OK);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare),	 cmocka_unit_test(test_same_stat),
		cmocka_unit_test(test_images),	 cmocka_unit_test(test_explain),
		cmocka_unit_test(test_build_id), cmocka_unit_test(test_hostile_elf),
		cmocka_unit_test(test_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
