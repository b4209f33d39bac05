/*
 * Images as JSON: those CRIU has written come back byte for byte, crit's JSON is ours, and nothing
 * that is wrong gets through without a message that says where.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <ftw.h>

#include "base/endian.h"
#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/image/image.h"
#include "engine/image/json.h"

static char said[1000];

static void keep(const char *line, void *arg)
{
	(void)arg;
	snprintf(said, sizeof(said), "%s", line);
}

static int setup(void **state)
{
	(void)state;
	warn_set_hook(keep, NULL);
	return 0;
}

static char *text_of(const json_t *json, bool pretty)
{
	char *text = NULL;
	size_t len;
	FILE *file = open_memstream(&text, &len);

	assert_non_null(file);
	assert_int_equal(image_json_print(json, pretty, file), R_OK);
	assert_int_equal(fclose(file), 0);
	return text;
}

/* Decodes; the text is to be freed. */
static char *decode(const char *name, const void *data, size_t len, bool pretty)
{
	const struct image_json_options how = { .pretty = pretty };
	json_t *json;
	char *text;

	said[0] = '\0';
	if (image_json_decode(name, data, len, &how, &json) != R_OK)
		fail_msg("%s: %s", name, said);
	text = text_of(json, pretty);
	json_decref(json);
	return text;
}

static int encode(const char *text, struct wire_buffer *image)
{
	json_t *json;
	int result;

	memset(image, 0, sizeof(*image));
	if (image_json_parse("text", text, strlen(text), &json) != R_OK)
		return R_FAILED;
	result = image_json_encode("text", json, image);
	json_decref(json);
	return result;
}

static void encodes_to(const char *text, const void *data, size_t len)
{
	struct wire_buffer image;

	said[0] = '\0';
	if (encode(text, &image) != R_OK)
		fail_msg("%s", said);
	assert_int_equal(image.len, len);
	assert_memory_equal(image.data, data, len);
	wire_buffer_free(&image);
}

/* What is decoded, in both forms, makes the same bytes. */
static void round_trip(const char *name, const void *data, size_t len)
{
	for (int pretty = 0; pretty < 2; pretty++) {
		char *text = decode(name, data, len, pretty);

		encodes_to(text, data, len);
		free(text);
	}
}

/* Every beginning of an image is an image with fewer entries, or is said to be damaged. */
static void cut_off(const char *name, const char *data, size_t len)
{
	const struct image_json_options how = { 0 };

	for (size_t part = 0; part < len; part += len < 4000 ? 1 : len / 997) {
		char *bytes = malloc(part + 1);
		json_t *json = NULL;
		int result;

		assert_non_null(bytes);
		memcpy(bytes, data, part); /* so that reading behind it is noticed */
		said[0] = '\0';
		result = image_json_decode(name, bytes, part, &how, &json);
		if (result == R_OK)
			json_decref(json);
		else if (result != R_DAMAGED || !strstr(said, name))
			fail_msg("%s of %zu bytes: %d, %s", name, part, result, said);
		free(bytes);
	}
}

static size_t images, texts;

static int one_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	const char *name = path + at->base;
	const char *crit = strstr(path, ".crit."), *ending = strrchr(path, '.');
	char image_path[1000], *data, *shown;
	bool plain;
	size_t len;

	(void)st;
	if (type != FTW_F || strcmp(name, "README.md") == 0 || strcmp(name, "states.c") == 0)
		return 0;
	if (!crit) {
		assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &data, &len), R_OK);
		round_trip(name, data, len);
		if (strncmp(name, "pages", 5) != 0)
			cut_off(name, data, len);
		images++;
		free(data);
		return 0;
	}
	plain = strstr(crit, ".plain.") != NULL;
	assert_non_null(ending);
	snprintf(image_path, sizeof(image_path), "%.*s.img", (int)(crit - path), path);
	assert_int_equal(io_read_file(AT_FDCWD, image_path, 1 << 20, &data, &len), R_OK);
	assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &shown, &(size_t){ 0 }), R_OK);
	encodes_to(shown, data, len);
	shown[strcspn(shown, plain ? "\n" : "")] = '\0';
	if (!plain && shown[strlen(shown) - 1] == '\n')
		shown[strlen(shown) - 1] = '\0';
	ending = decode(name, data, len, !plain);
	assert_string_equal(ending, shown);
	texts++;
	free((char *)ending);
	free(shown);
	free(data);
	return 0;
}

static void test_golden(void **state)
{
	(void)state;
	assert_int_equal(nftw(GOLDEN, one_file, 8, FTW_PHYS), 0);
	assert_true(images > 150);
	assert_true(texts > 15);
}

/* An image of one entry. */
static size_t frame(uint8_t *to, enum image_kind_id id, const void *message, size_t len,
		    const void *payload, size_t payload_len)
{
	const struct image_kind *kind = image_kind(id);
	size_t at = 0;

	if (kind->head) {
		put_le32(to, kind->head);
		at += 4;
	}
	put_le32(to + at, kind->magic);
	put_le32(to + at + 4, (uint32_t)len);
	memcpy(to + at + 8, message, len);
	if (payload_len)
		memcpy(to + at + 8 + len, payload, payload_len);
	return at + 8 + len + payload_len;
}

#define FS "\x08\1\x10\2" /* cwd_id 1, root_id 2 */

/* Message bytes and what has to be in their JSON. */
static void shows(const char *message, size_t len, const char *part)
{
	uint8_t image[200];
	size_t n = frame(image, IMAGE_FS, message, len, NULL, 0);
	char *text = decode("fs-1", image, n, false);

	if (!strstr(text, part))
		fail_msg("%s is not in %s", part, text);
	free(text);
	round_trip("fs-1", image, n);
}

static void test_unknown(void **state)
{
	struct wire_buffer image;

	(void)state;
	shows(FS "\x18\x12", 6, "{\"cwd_id\": 1, \"root_id\": 2, \"umask\": 18}");
	shows(FS "\x98\6\5", 7,
	      "\"unknown_fields\": [{\"number\": 99, \"wire_type\": 0, \"value\": 5}]");
	shows(FS "\x9a\6\3abc", 10, "\"wire_type\": 2, \"value\": \"YWJj\\n\"}]");
	shows(FS "\x99\6\xff\xff\xff\xff\xff\xff\xff\xff", 14, "\"value\": 18446744073709551615}]");
	shows(FS "\x9d\6\1\0\0\0", 10, "\"wire_type\": 5, \"value\": 1}]");
	/* Bytes that fields alone would not make: long forms, another order, twice the same. */
	shows("\x08\x81\0\x10\2", 5, "\"root_id\": 2, \"raw_bytes\": \"CIEAEAI=\\n\"}");
	shows("\x10\2\x08\1", 4, "{\"cwd_id\": 1, \"root_id\": 2, \"raw_bytes\"");
	shows(FS "\x08\7", 6, "{\"cwd_id\": 7, \"root_id\": 2, \"raw_bytes\"");
	/* Who changes the fields has to take the bytes out. */
	assert_int_equal(encode("{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": 5, \"root_id\": 2, "
				"\"raw_bytes\": \"CIEAEAI=\"}]}",
				&image),
			 R_FAILED);
	assert_non_null(strstr(said, "entries[0].raw_bytes: says something else"));
	wire_buffer_free(&image);
}

static void test_payloads(void **state)
{
	static const char shm[] = "\x0a\x0e\x08\1\x10\0\x18\0\x20\0\x28\0\x30\0\x38\0\x10\5";
	static const char sem[] = "\x0a\x0e\x08\1\x10\0\x18\0\x20\0\x28\0\x30\0\x38\0\x10\3";
	static const char msg[] =
	    "\x0a\x0e\x08\1\x10\0\x18\0\x20\0\x28\0\x30\0\x38\0\x10\x40\x18\2";
	static const char queued[] = "\4\0\0\0\x08\1\x10\3abc\0\0\0\0\0"
				     "\4\0\0\0\x08\2\x10\1xGARBAGE";
	uint8_t image[200];
	char *text;
	size_t n;

	(void)state;
	n = frame(image, IMAGE_IPCNS_SHM, shm, 18, "12345\0\0\0", 8);
	round_trip("ipcns-shm-1", image, n);
	n = frame(image, IMAGE_IPCNS_SHM, shm, 18, "12345xyz", 8);
	round_trip("ipcns-shm-1", image, n);
	text = decode("ipcns-shm-1", image, n, false);
	assert_non_null(strstr(text, "\"extra\": \"MTIzNDU=\\n\", \"extra_padding\": \"eHl6\\n\""));
	free(text);
	n = frame(image, IMAGE_IPCNS_SEM, sem, 18, "\1\0\2\0\xff\xff\0\0", 8);
	text = decode("ipcns-sem-1", image, n, false);
	assert_non_null(strstr(text, "\"extra\": [1, 2, 65535]"));
	free(text);
	round_trip("ipcns-sem-1", image, n);
	n = frame(image, IMAGE_IPCNS_MSG, msg, 20, queued, sizeof(queued) - 1);
	round_trip("ipcns-msg-1", image, n);
	n = frame(image, IMAGE_BPFMAP_DATA, "\x08\1\x10\2\x18\4\x20\1", 8, "kkvvvv", 6);
	round_trip("bpfmap-data", image, n);
	n = frame(image, IMAGE_FIFO_DATA, "\x08\1\x10\2", 4, "ab", 2);
	round_trip("fifo-data", image, n);
	n = frame(image, IMAGE_SK_QUEUES, "\x08\1\x10\0", 4, "", 0);
	round_trip("sk-queues", image, n);
	/* Chunks of a ghost, and contents of one that has none. */
	n = frame(image, IMAGE_GHOST_FILE, "\x08\0\x10\0\x18\0\x48\1", 8,
		  "\4\0\0\0\x08\3\x10\0abc\4\0\0\0\x08\1\x10\5z", 20);
	round_trip("ghost-file-1", image, n);
	n = frame(image, IMAGE_GHOST_FILE, "\x08\0\x10\0\x18\0", 6, "\0\xff", 2);
	round_trip("ghost-file-1", image, n);
	/* Pages as CRIU counts them now and as it did, of a parent too. */
	n = frame(image, IMAGE_PAGEMAP, "\x08\1", 2, "\6\0\0\0\x08\0\x10\3\x18\1", 10);
	text = decode("pagemap-1", image, n, true);
	assert_non_null(strstr(text, "\"compat_nr_pages\": 3,\n            \"in_parent\": true"));
	free(text);
	round_trip("pagemap-1", image, n);
}

static void test_files_without_entries(void **state)
{
	uint8_t image[8];
	char *text;

	(void)state;
	/* Raw files are known by their names. */
	round_trip("somewhere/pages-1.img", "\1\2\3", 3);
	round_trip("tmpfs-9.tar.gz.img", "", 0);
	text = decode("route-9.img", "\0", 1, false);
	assert_string_equal(text, "{\"magic\": \"RAW\", \"entries\": [{\"extra\": \"AA==\\n\"}]}");
	free(text);
	/* Images of version 1 have no common word. */
	put_le32(image, image_kind(IMAGE_FS)->magic);
	text = decode("fs-1", image, 4, false);
	assert_string_equal(text, "{\"magic\": \"FS\", \"entries\": [], \"img_version\": 1}");
	free(text);
	round_trip("fs-1", image, 4);
}

/* Pretty forms, and numbers of all sizes, mean what the plain ones do. */
static void test_forms(void **state)
{
	static const char *const same[][2] = {
		{ "\"start\": \"0x1000\"", "\"start\": 4096" },
		{ "\"prot\": \"PROT_READ | PROT_WRITE | 0x40\"", "\"prot\": 67" },
		{ "\"prot\": \"\"", "\"prot\": 0" },
		{ "\"status\": \"VMA_AREA_REGULAR | 0x10000\"", "\"status\": \"65537\"" },
		{ "\"fd\": \"-0x1\"", "\"fd\": -1" },
		{ "\"shmid\": 18446744073709551615", "\"shmid\": \"0xffffffffffffffff\"" },
		{ "\"shmid\": 9223372036854775808", "\"shmid\": \"9223372036854775808\"" },
	};
	static const char entry[] = "{\"magic\": \"VMAS\", \"entries\": [{%s, %s \"pgoff\": 0, %s "
				    "\"flags\": 1, %s \"end\": 1%s}]}";

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		struct wire_buffer images_of[2];

		for (int k = 0; k < 2; k++) {
			char text[600];
			const char *one = same[i][k];

			snprintf(text, sizeof(text), entry, one,
				 strstr(one, "start") ? "" : "\"start\": 1,",
				 strstr(one, "shmid") ? "" : "\"shmid\": 1,",
				 strstr(one, "prot") ? "" : "\"prot\": 1,",
				 strstr(one, "status")
				     ? ", \"fd\": -1"
				     : (strstr(one, "fd") ? ", \"status\": 1"
							  : ", \"status\": 1, \"fd\": -1"));
			if (encode(text, &images_of[k]) != R_OK)
				fail_msg("%s: %s", text, said);
		}
		assert_int_equal(images_of[0].len, images_of[1].len);
		assert_memory_equal(images_of[0].data, images_of[1].data, images_of[0].len);
		wire_buffer_free(&images_of[0]);
		wire_buffer_free(&images_of[1]);
	}
}

static void test_refused(void **state)
{
	static const char *const wrong[][2] = {
		{ "", "is empty" },
		{ "{", "line 1" },
		{ "[]", "should be an object" },
		{ "{\"magic\": \"FS\"}", "entries" },
		{ "{\"magic\": \"NONE\", \"entries\": []}", "no kind of image \"NONE\"" },
		{ "{\"magic\": \"FS\", \"entries\": [], \"more\": 1}", "\"more\"" },
		{ "{\"magic\": \"FS\", \"entries\": [1]}", "entries[0]: should be an object" },
		{ "{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": 1}]}", "root_id is missing" },
		{ "{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": 1, \"root_id\": 1, \"x\": 1}]}",
		  "\"x\" is no field of fs_entry" },
		{ "{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": 4294967296, \"root_id\": 1}]}",
		  "entries[0].cwd_id: does not fit" },
		{ "{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": -1, \"root_id\": 1}]}",
		  "below 0" },
		{ "{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": 1.5, \"root_id\": 1}]}",
		  "whole" },
		{ "{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": 99999999999999999999}]}",
		  "64 bits" },
		{ "{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": 1, \"root_id\": 1, \"extra\": "
		  "\"YQ==\"}]}",
		  "nothing follows" },
		{ "{\"magic\": \"PIPES_DATA\", \"entries\": [{\"pipe_id\": 1, \"bytes\": 2}]}",
		  "extra" },
		{ "{\"magic\": \"PIPES_DATA\", \"entries\": [{\"pipe_id\": 1, \"bytes\": 2, "
		  "\"extra\": \"YQ==\"}]}",
		  "entries[0].extra: 1 bytes where the entry says 2" },
		{ "{\"magic\": \"PIPES_DATA\", \"entries\": [{\"pipe_id\": 1, \"bytes\": 2, "
		  "\"extra\": \"... <2B>\"}]}",
		  "--nopl" },
		{ "{\"magic\": \"PIPES_DATA\", \"entries\": [{\"pipe_id\": 1, \"bytes\": 2, "
		  "\"extra\": \"Y!==\"}]}",
		  "not base64" },
		{ "{\"magic\": \"FDINFO\", \"entries\": [{\"id\": 1, \"flags\": 0, \"type\": "
		  "\"REGG\", "
		  "\"fd\": 1}]}",
		  "entries[0].type: \"REGG\" is no fd_types" },
		{ "{\"magic\": \"TCP_STREAM\", \"entries\": [{\"inq_len\": 1, \"inq_seq\": 1, "
		  "\"outq_len\": 0, \"outq_seq\": 1, \"opt_mask\": 1, \"snd_wscale\": 1, "
		  "\"mss_clamp\": 1, \"extra\": {\"inq\": \"\", \"outq\": \"YQ==\"}}]}",
		  "inq_len" },
		{ "{\"magic\": \"IPCNS_SEM\", \"entries\": [{\"desc\": {\"key\": 1, \"uid\": 1, "
		  "\"gid\": 1, \"cuid\": 1, \"cgid\": 1, \"mode\": 1, \"id\": 1}, \"nsems\": 1, "
		  "\"extra\": [65536]}]}",
		  "entries[0].extra[0]: does not fit into 16 bits" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct wire_buffer image;

		said[0] = '\0';
		if (encode(wrong[i][0], &image) == R_OK)
			fail_msg("%s was encoded", wrong[i][0]);
		if (!strstr(said, wrong[i][1]))
			fail_msg("%s: says \"%s\", without \"%s\"", wrong[i][0], said, wrong[i][1]);
		wire_buffer_free(&image);
	}
}

static void damaged(enum image_kind_id id, const char *message, size_t len, const char *words)
{
	const struct image_json_options how = { 0 };
	uint8_t image[2000];
	size_t n = frame(image, id, message, len, NULL, 0);
	json_t *json;

	said[0] = '\0';
	assert_int_equal(image_json_decode("name-1", image, n, &how, &json), R_DAMAGED);
	if (!strstr(said, "name-1: entry 0, byte ") || !strstr(said, words))
		fail_msg("says \"%s\", without \"%s\"", said, words);
}

static void test_damaged(void **state)
{
	const struct image_json_options how = { 0 };
	char deep[1500];
	json_t *json;

	(void)state;
	damaged(IMAGE_FS, "\x08\1", 2, "lacks root_id");
	damaged(IMAGE_FS, "\x0a\1x\x10\1", 5, "wire type 2 instead of 0");
	damaged(IMAGE_FS, FS "\x9a\6\x7f", 7, "bytes that are not all there");
	damaged(IMAGE_FS, FS "\x0b", 5, "a type that there is not");
	damaged(IMAGE_FS, FS "\0\0", 6, "a number that there is not");
	damaged(IMAGE_FS, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "does not end");
	damaged(IMAGE_PIPES_DATA, "\x08\1\x10\5", 4,
		"5 bytes of contents are announced, 0 are left");
	damaged(IMAGE_IPCNS_SHM,
		"\x0a\x0e\x08\1\x10\0\x18\0\x20\0\x28\0\x30\0\x38\0\x10\xff\xff\xff\xff\xff\xff\xff"
		"\xff\xff\1",
		27, "announced");
	/* Namespaces of AppArmor in one another, each with a name behind it: an attack on the stack
	 * that has to fit into single-byte lengths, as far as it goes. */
	memset(deep, 0, sizeof(deep));
	for (size_t i = 0; i < 60; i++) {
		deep[2 * i] = i ? 0x1a : 0x0a;
		deep[2 * i + 1] = (char)(118 - 2 * i);
	}
	damaged(IMAGE_APPARMOR, deep, 120, "lacks name");
	assert_int_equal(image_json_decode("none", "no image at all", 15, &how, &json), R_DAMAGED);
	assert_non_null(strstr(said, "image none: does not begin"));
	assert_int_equal(image_json_decode("none", "", 0, &how, &json), R_DAMAGED);
	assert_int_equal(image_json_decode("none", "\x19\x43\x56\x54\0\0", 6, &how, &json),
			 R_DAMAGED);
	assert_non_null(strstr(said, "magic words"));
}

/* Deeper than anybody nests, far less deep than the stack. */
static void test_depth(void **state)
{
	const struct image_json_options how = { 0 };
	struct wire_buffer inner = { 0 }, entry = { 0 };
	uint8_t *image;
	json_t *json;
	size_t n;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct wire_buffer outer = { 0 };
		const struct wire_field name = { 1, WIRE_BYTES, 0, (const uint8_t *)"n", 1, NULL };
		const struct wire_field below = { 3, WIRE_BYTES, 0, inner.data, inner.len, NULL };

		wire_put_field(&outer, &name);
		wire_put_field(&outer, &below);
		wire_buffer_free(&inner);
		inner = outer;
	}
	wire_put_field(&entry,
		       &(struct wire_field){ 1, WIRE_BYTES, 0, inner.data, inner.len, NULL });
	image = malloc(entry.len + 20);
	assert_non_null(image);
	n = frame(image, IMAGE_APPARMOR, entry.data, entry.len, NULL, 0);
	assert_int_equal(image_json_decode("apparmor", image, n, &how, &json), R_DAMAGED);
	assert_non_null(strstr(said, "more than 100 deep"));
	free(image);
	wire_buffer_free(&inner);
	wire_buffer_free(&entry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),	 cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_payloads), cmocka_unit_test(test_files_without_entries),
		cmocka_unit_test(test_forms),	 cmocka_unit_test(test_refused),
		cmocka_unit_test(test_damaged),	 cmocka_unit_test(test_depth),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
