/* Framing of images: what is written reads back, and no bytes at all make the reader misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/image/image.h"

static void quiet(const char *line, void *arg)
{
	(void)line;
	(void)arg;
}

static void build(struct image_writer *writer, size_t entries)
{
	image_writer_init(writer, IMAGE_PIPES_DATA);
	for (size_t i = 0; i < entries; i++) {
		PipeDataEntry entry = PIPE_DATA_ENTRY__INIT;

		entry.pipe_id = (uint32_t)i + 1;
		entry.bytes = 5;
		image_add(writer, &entry.base);
		image_add_payload(writer, "hello", 5);
	}
	assert_int_equal(image_finish(writer), R_OK);
}

static void test_frame(void **state)
{
	static const uint8_t inventory_head[] = { 0x16, 0x31, 0x31, 0x58 };
	static const uint8_t ids_head[] = { 0x19, 0x43, 0x56, 0x54, 0x30, 0x20, 0x43, 0x54 };
	InventoryEntry inventory = INVENTORY_ENTRY__INIT;
	struct image_writer writer;

	(void)state;
	/* The inventory alone has a single magic word. */
	inventory.img_version = 2;
	image_writer_init(&writer, IMAGE_INVENTORY);
	image_add(&writer, &inventory.base);
	assert_int_equal(writer.len, 4 + 4 + 2);
	assert_memory_equal(writer.data, inventory_head, 4);
	assert_memory_equal(writer.data + 4, "\2\0\0\0\x08\2", 6);
	image_writer_free(&writer);

	image_writer_init(&writer, IMAGE_IDS);
	assert_int_equal(writer.len, 8);
	assert_memory_equal(writer.data, ids_head, 8);
	image_writer_free(&writer);
}

static void test_round_trip(void **state)
{
	struct image_writer writer;
	struct image_reader reader;
	ProtobufCMessage *message;
	const void *payload;

	(void)state;
	build(&writer, 3);
	assert_int_equal(
	    image_open(&reader, IMAGE_PIPES_DATA, "pipes-data", writer.data, writer.len), R_OK);
	for (uint32_t i = 1; i <= 3; i++) {
		assert_int_equal(image_next(&reader, &message), R_OK);
		assert_int_equal(((PipeDataEntry *)message)->pipe_id, i);
		assert_int_equal(image_payload(&reader, 5, &payload), R_OK);
		assert_memory_equal(payload, "hello", 5);
		image_free_message(message);
	}
	assert_int_equal(image_next(&reader, &message), R_NOT_FOUND);
	assert_null(message);
	image_writer_free(&writer);
}

static void test_wrong_kind(void **state)
{
	struct image_writer writer;
	struct image_reader reader;

	(void)state;
	build(&writer, 1);
	assert_int_equal(image_open(&reader, IMAGE_CORE, "core-1", writer.data, writer.len),
			 R_DAMAGED);
	image_writer_free(&writer);
}

/* Reads whatever is there to the end; only that it ends and stays within the bytes matters. */
static int read_all(const uint8_t *data, size_t len)
{
	struct image_reader reader;
	ProtobufCMessage *message;
	const void *payload;
	int rc = image_open(&reader, IMAGE_PIPES_DATA, "pipes-data", data, len);

	while (rc == R_OK) {
		rc = image_next(&reader, &message);
		if (rc == R_OK)
			rc = image_payload(&reader, ((PipeDataEntry *)message)->bytes, &payload);
		image_free_message(message);
	}
	return rc;
}

static void test_truncated(void **state)
{
	struct image_writer writer;
	size_t whole = 0;

	(void)state;
	build(&writer, 2);
	for (size_t len = 0; len <= writer.len; len++) {
		/* A copy of exactly this size, so that a sanitizer sees any step beyond. */
		uint8_t *copy = malloc(len ? len : 1);
		int rc;

		memcpy(copy, writer.data, len);
		rc = read_all(copy, len);
		assert_true(rc == R_DAMAGED || rc == R_NOT_FOUND);
		whole += rc == R_NOT_FOUND;
		free(copy);
	}
	/* The heads alone, one entry, two entries: nothing else is an image. */
	assert_int_equal(whole, 3);
	image_writer_free(&writer);
}

static void test_flipped(void **state)
{
	struct image_writer writer;

	(void)state;
	build(&writer, 2);
	for (size_t bit = 0; bit < writer.len * 8; bit++) {
		uint8_t *copy = malloc(writer.len);
		int rc;

		memcpy(copy, writer.data, writer.len);
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		rc = read_all(copy, writer.len);
		assert_true(rc == R_DAMAGED || rc == R_NOT_FOUND);
		if (bit < 64)
			assert_int_equal(rc, R_DAMAGED);
		free(copy);
	}
	image_writer_free(&writer);
}

static void test_huge_length(void **state)
{
	uint8_t data[16] = {
		0x19, 0x43, 0x56, 0x54, 0x09, 0x37, 0x45, 0x56, 0xff, 0xff, 0xff, 0xff
	};

	(void)state;
	assert_int_equal(read_all(data, sizeof(data)), R_DAMAGED);
}

static void test_empty_message(void **state)
{
	struct image_writer writer;
	SeccompEntry empty = SECCOMP_ENTRY__INIT;
	ProtobufCMessage *message;

	(void)state;
	image_writer_init(&writer, IMAGE_SECCOMP);
	image_add(&writer, &empty.base);
	assert_int_equal(writer.len, 12);
	assert_int_equal(
	    image_read_one(IMAGE_SECCOMP, "seccomp", writer.data, writer.len, &message), R_OK);
	assert_int_equal(((SeccompEntry *)message)->n_seccomp_filters, 0);
	image_free_message(message);
	/* Two where one belongs. */
	image_add(&writer, &empty.base);
	assert_int_equal(
	    image_read_one(IMAGE_SECCOMP, "seccomp", writer.data, writer.len, &message), R_DAMAGED);
	image_writer_free(&writer);
}

static void test_names(void **state)
{
	(void)state;
	assert_ptr_equal(image_kind_by_name("core-12"), image_kind(IMAGE_CORE));
	assert_ptr_equal(image_kind_by_name("pstree"), image_kind(IMAGE_PSTREE));
	assert_ptr_equal(image_kind_by_name("ghost-file-1f"), image_kind(IMAGE_GHOST_FILE));
	assert_ptr_equal(image_kind_by_name("snap-files"), image_kind(IMAGE_SNAP_FILES));
	assert_ptr_equal(image_kind_by_name("files"), image_kind(IMAGE_FILES));
	assert_ptr_equal(image_kind_by_name("fs-7"), image_kind(IMAGE_FS));
	assert_null(image_kind_by_name("pages-12"));
	assert_null(image_kind_by_name("core-"));
	assert_null(image_kind_by_name("core-x"));
	assert_null(image_kind_by_name(""));
	assert_ptr_equal(image_kind_by_name("netns-ct-1"), NULL);
	assert_ptr_equal(image_kind_by_name("netns-1"), image_kind(IMAGE_NETNS));
	assert_ptr_equal(image_kind_by_name("pagemap-12"), image_kind(IMAGE_PAGEMAP));
	assert_ptr_equal(image_kind_by_name("pagemap-shmem-12"), image_kind(IMAGE_PAGEMAP_SHMEM));
	assert_string_equal(image_raw_by_name("netns-ct-1"), "netns-ct");
	assert_string_equal(image_raw_by_name("pages-12"), "pages");
	assert_string_equal(image_raw_by_name("tmpfs-dev-9.tar.gz"), "tmpfs-dev");
	assert_null(image_raw_by_name("tmpfs-9"));
	assert_null(image_raw_by_name("pages"));
	assert_ptr_equal(image_kind_by_magic(0x64324033), image_kind(IMAGE_BPFMAP_DATA));
	assert_null(image_kind_by_magic(0));
	assert_ptr_equal(image_kind_by_tag("MNTS"), image_kind(IMAGE_MOUNTPOINTS));
	/* Every row is whole, and no two share name or, with few exceptions, magic word. */
	for (int i = 0; i < IMAGE_KINDS; i++) {
		const struct image_kind *kind = image_kind((enum image_kind_id)i);

		assert_non_null(kind->message);
		assert_ptr_equal(image_kind_by_name(kind->name), kind);
		assert_int_equal(image_kind_by_magic(kind->magic)->magic, kind->magic);
		assert_string_equal(image_kind_by_magic(kind->magic)->tag, kind->tag);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),	      cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_wrong_kind),    cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_flipped),	      cmocka_unit_test(test_huge_length),
		cmocka_unit_test(test_empty_message), cmocka_unit_test(test_names),
	};

	warn_set_hook(quiet, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
