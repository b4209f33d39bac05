/*
 * A checkpoint archive from hostile hands.  What is read of it keeps its promises: members lie one
 * behind the other within the tar, their names lead nowhere.  What is imported comes back byte for
 * byte.  The first byte says what is done with the others.
 */
#include "../unit/look/tar_make.h"
#include "fuzz.h"
#include "fuzz_store_room.h"

#include "base/io.h"
#include "base/result.h"
#include "engine/exchange/archive.h"
#include "engine/exchange/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

/* Byte 0 of an input: as it is; the rest is compressed first, so that what is changed is the tar;
 * the rest is imported. */
enum { FUZZ_PLAIN, FUZZ_GZIP, FUZZ_ZSTD, FUZZ_IMPORT, FUZZ_KINDS };

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	if (fd < 0 || io_pwrite_all(fd, data, len, 0) != R_OK)
		abort();
	return fd;
}

static bool leads_out(const char *name)
{
	if (*name == '/')
		return true;
	for (const char *part = name; *part; part += strspn(part, "/")) {
		size_t n = strcspn(part, "/");

		if ((n == 2 && memcmp(part, "..", 2) == 0) || (n == 1 && *part == '.'))
			return true;
		part += n;
	}
	return strlen(name) > ARCHIVE_MEMBER_NAME_MAX;
}

static void check(const struct dump_archive *archive)
{
	uint64_t behind = 0;

	if (archive->n_members > ARCHIVE_MEMBERS_MAX || !archive->folder ||
	    archive->n_files + archive->n_links > archive->n_members)
		abort();
	for (size_t i = 0; i < archive->n_members; i++) {
		const struct archive_member *m = &archive->members[i];

		if (leads_out(m->at.name) || m->at.offset < behind ||
		    m->at.offset > archive->tar_bytes ||
		    m->at.size > archive->tar_bytes - m->at.offset ||
		    (m->link && m->link[0] == '/'))
			abort();
		behind = m->at.offset + m->at.size;
	}
	for (size_t i = 1; i < archive->n_files; i++)
		if (strcmp(archive->files[i - 1].name, archive->files[i].name) >= 0)
			abort();
}

static void try_reading(const void *data, size_t len)
{
	struct dump_archive archive;
	int fd = file_of(data, len);

	if (dump_archive_read(fd, "fuzz", NULL, &archive) == R_OK)
		check(&archive);
	dump_archive_close(&archive);
	close(fd);
}

/* The tar in the archive `fd`, which was taken, is what the generation gives back. */
static void compare(struct store *store, int fd, const struct generation *gen)
{
	struct export_options options = { 0 };
	struct export_result result;
	struct dump_archive archive, again;
	struct store_view *view;
	int out = memfd_create("again", MFD_CLOEXEC);
	uint8_t *a, *b;

	if (out < 0 || store_view_open(store, &view) != R_OK ||
	    exchange_export_archive(view, gen, out, "again", &options, &result) != R_OK ||
	    lseek(out, 0, SEEK_SET) != 0)
		abort();
	store_view_close(view);
	if (dump_archive_read(fd, "fuzz", NULL, &archive) != R_OK ||
	    dump_archive_read(out, "again", NULL, &again) != R_OK ||
	    archive.tar_bytes != again.tar_bytes ||
	    strcmp(archive.compression, again.compression) != 0)
		abort();
	a = malloc(archive.tar_bytes);
	b = malloc(archive.tar_bytes);
	if (!a || !b || io_pread_all(archive.fd, a, archive.tar_bytes, 0) != R_OK ||
	    io_pread_all(again.fd, b, archive.tar_bytes, 0) != R_OK ||
	    memcmp(a, b, archive.tar_bytes) != 0)
		abort();
	free(a);
	free(b);
	dump_archive_close(&archive);
	dump_archive_close(&again);
	close(out);
}

static void try_import(const void *data, size_t len)
{
	const struct import_options options = { .lineage = "fuzz" };
	struct import_result result = { .gen = { .time_ns = 1 } };
	struct store *store = fuzz_store();
	int fd = file_of(data, len);

	if (exchange_import_archive(store, fd, "fuzz", &options, &result) == R_OK) {
		fuzz_store_grown();
		if (lseek(fd, 0, SEEK_SET) != 0)
			abort();
		compare(store, fd, &result.gen);
	}
	close(fd);
}

/* gzip in two parts. */
static size_t gzip(const uint8_t *data, size_t len, uint8_t *to, size_t room)
{
	const size_t cut = len / 3, at[] = { 0, cut, len };
	size_t used = 0;

	for (size_t i = 0; i < 2; i++) {
		z_stream z = { .next_in = (Bytef *)data + at[i],
			       .avail_in = (uInt)(at[i + 1] - at[i]),
			       .next_out = to + used,
			       .avail_out = (uInt)(room - used) };

		if (deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, 0) != Z_OK ||
		    deflate(&z, Z_FINISH) != Z_STREAM_END)
			abort();
		used += z.total_out;
		deflateEnd(&z);
	}
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	unsigned int kind = len ? data[0] % FUZZ_KINDS : FUZZ_PLAIN;
	uint8_t *packed;
	size_t room, n;

	if (!len)
		return 0;
	setenv("TMPDIR", "/dev/shm", 1);
	data++;
	len--;
	room = ZSTD_compressBound(len) + len / 100 + 1024;
	packed = malloc(room);
	if (!packed)
		abort();
	if (kind == FUZZ_PLAIN) {
		try_reading(data, len);
	} else if (kind == FUZZ_IMPORT) {
		try_import(data, len);
	} else {
		n = kind == FUZZ_GZIP ? gzip(data, len, packed, room)
				      : ZSTD_compress(packed, room, data, len, 1);
		try_reading(packed, n);
	}
	free(packed);
	return 0;
}

#define SEEDS 9

static void add_links(struct tar_make *tar)
{
	char name[512];

	tar->len -= 1024;
	tar_make_member(tar, "checkpoint/parent", '2', "../pre-checkpoint", NULL, 0, 0);
	memset(name, 'n', 200);
	name[200] = '\0';
	/* GNU's way of long names. */
	tar_make_file(tar, "unused", NULL, 0);
	tar->len -= 512;
	tar_make_member(tar, "././@LongLink", 'L', NULL, name, 201, 201);
	tar_make_file(tar, "short", "x", 1);
	/* That of POSIX, with a time and a sparse map. */
	tar_make_member(tar, "head", 'x', NULL, "20 mtime=1234567.89\n22 GNU.sparse.major=1\n", 42,
			42);
	tar_make_file(tar, "other", "0\n", 2);
	tar_make_dump(tar, "pre-checkpoint/");
	tar_make_end(tar);
}

/* The archive with a dump in each way of being tried; links and long names; the same compressed. */
size_t fuzz_seed(unsigned int i, uint8_t *data, size_t room)
{
	struct tar_make tar = { 0 };
	size_t len;

	if (i >= SEEDS || room < 65536)
		return 0;
	tar_make_whole(&tar);
	if (i >= FUZZ_KINDS && i < 7)
		add_links(&tar);
	data[0] = (uint8_t)(i < FUZZ_KINDS ? i : i == 4 || i == 6 ? FUZZ_IMPORT : FUZZ_PLAIN);
	if (i < 6) {
		memcpy(data + 1, tar.data, tar.len);
		len = tar.len;
	} else if (i == 6) {
		tar.len -= 1024 + 512; /* cut off */
		memcpy(data + 1, tar.data, tar.len);
		len = tar.len;
	} else if (i == 7) {
		len = gzip(tar.data, tar.len, data + 1, room - 1);
	} else {
		len = ZSTD_compress(data + 1, room - 1, tar.data, tar.len, 3);
	}
	free(tar.data);
	return 1 + len;
}
