/*
 * Images and JSON of any bytes.  An image that can be decoded encodes to itself; JSON that can be
 * encoded decodes again.  The golden images are the corpus; JSON begins with a brace or a bracket.
 */
#include "fuzz.h"

#include "base/result.h"
#include "engine/image/image.h"
#include "engine/image/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decodes, prints, parses and encodes again. */
static void there_and_back(const void *data, size_t len, bool pretty)
{
	const struct image_json_options how = { .pretty = pretty };
	struct wire_buffer again;
	json_t *json, *parsed;
	char *text = NULL;
	size_t text_len;
	FILE *file;

	if (image_json_decode("fuzz-1", data, len, &how, &json) != R_OK)
		return;
	file = open_memstream(&text, &text_len);
	if (!file || image_json_print(json, pretty, file) != R_OK || fclose(file) != 0)
		abort();
	if (image_json_parse("fuzz-1", text, text_len, &parsed) != R_OK ||
	    image_json_encode("fuzz-1", parsed, &again) != R_OK || again.len != len ||
	    memcmp(again.data, data, len) != 0)
		abort();
	wire_buffer_free(&again);
	json_decref(parsed);
	json_decref(json);
	free(text);
}

static void try_text(const char *text, size_t len)
{
	const struct image_json_options how = { 0 };
	struct wire_buffer image = { 0 };
	json_t *json, *again;

	if (image_json_parse("fuzz", text, len, &json) != R_OK)
		return;
	/* Raw files decode by their names only. */
	if (image_json_encode("fuzz", json, &image) == R_OK &&
	    strcmp(json_string_value(json_object_get(json, "magic")), "RAW") != 0) {
		if (image_json_decode("fuzz", image.data, image.len, &how, &again) != R_OK)
			abort();
		json_decref(again);
	}
	wire_buffer_free(&image);
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len > 0 && (data[0] == '{' || data[0] == '[')) {
		try_text((const char *)data, len);
	} else {
		there_and_back(data, len, false);
		there_and_back(data, len, true);
	}
	return 0;
}

static const char *const texts[] = {
	"{\"magic\": \"FS\", \"entries\": [{\"cwd_id\": 1, \"root_id\": 18446744073709551615, "
	"\"unknown_fields\": [{\"number\": 9, \"wire_type\": 2, \"value\": \"YQ==\"}]}]}",
	"{\"magic\": \"VMAS\", \"entries\": [{\"start\": \"0x1000\", \"end\": \"0x2000\", "
	"\"pgoff\": 0, "
	"\"shmid\": 0, \"prot\": \"PROT_READ | 0x10\", \"flags\": \"MAP_PRIVATE\", \"status\": "
	"\"VMA_AREA_REGULAR\", \"fd\": -1}]}",
	"{\"magic\": \"GHOST_FILE\", \"entries\": [{\"uid\": 0, \"gid\": 0, \"mode\": 1, \"dev\": "
	"\"8:1\", \"rdev\": \"1:3\", \"chunks\": true}, {\"len\": 2, \"off\": 0, \"extra\": "
	"\"YWI=\"}]}",
	"{\"magic\": \"IPCNS_MSG\", \"entries\": [{\"desc\": {\"key\": 1, \"uid\": 1, \"gid\": 1, "
	"\"cuid\": 1, \"cgid\": 1, \"mode\": 1, \"id\": 1}, \"qbytes\": 9, \"qnum\": 1, \"extra\": "
	"[{\"mtype\": 1, \"msize\": 1, \"extra_padding\": \"AAAAAAAAAQ==\"}, \"YQ==\"]}]}",
	"{\"magic\": \"TCP_STREAM\", \"entries\": [{\"inq_len\": 1, \"inq_seq\": 1, \"outq_len\": "
	"0, "
	"\"outq_seq\": 1, \"opt_mask\": 1, \"snd_wscale\": 1, \"mss_clamp\": 1, \"extra\": "
	"\"{\\\"in_q\\\":"
	"\\\"YQ==\\\",\\\"out_q\\\":\\\"\\\"}\"}]}",
	"{\"magic\": \"INETSK\", \"entries\": [{\"src_addr\": [\"::1\"], \"dst_addr\": "
	"[\"10.0.0.1\"], "
	"\"family\": \"INET6\", \"state\": \"LISTEN\"}], \"img_version\": 1}",
};

/* The texts, then an image of each kind with fields of all types. */
size_t fuzz_seed(unsigned int i, uint8_t *data, size_t room)
{
	static const uint8_t fields[] = { 0x08, 0x01, 0x10, 0x02, 0x18, 0x96, 0x01,
					  0x20, 0x00, 0x2a, 0x02, 0x08, 0x01, 0x30,
					  0x01, 0x3a, 0x00, 0x40, 0x7f };
	const unsigned int n_texts = sizeof(texts) / sizeof(texts[0]);
	struct wire_buffer image = { 0 };
	size_t len;

	if (i < n_texts) {
		len = strlen(texts[i]);
		memcpy(data, texts[i], len);
		return len;
	}
	i -= n_texts;
	if (i >= IMAGE_KINDS || room < 256)
		return 0;
	if (image_kind(i)->head)
		wire_put_u32(&image, image_kind(i)->head);
	wire_put_u32(&image, image_kind(i)->magic);
	wire_put_u32(&image, sizeof(fields));
	wire_put(&image, fields, sizeof(fields));
	wire_put_zeroes(&image, 64);
	len = image.len;
	memcpy(data, image.data, len);
	wire_buffer_free(&image);
	return len;
}
