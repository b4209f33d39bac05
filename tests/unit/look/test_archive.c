/* Checkpoint archives: how they may be compressed, what is refused, and with how little memory. */
#include "../store/scratch.h"
#include "tar_make.h"

#include <archive.h>
#include <archive_entry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/archive.h"
#include "engine/exchange/exchange.h"

#define MEMBERS 8u /* of the whole one */
#define PEAK_MAX_KIB (128l << 10)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static char reported[1024];

static void keep(const char *line, void *arg)
{
	(void)arg;
	snprintf(reported, sizeof(reported), "%s", line);
}

static int setup(void **state)
{
	(void)state;
	warn_set_hook(keep, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	warn_set_hook(NULL, NULL);
	return 0;
}

static int file_of(const void *data, size_t n)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_pwrite_all(fd, data, n, 0), R_OK);
	return fd;
}

/* Reads the bytes as an archive; what it says is in `reported`. */
static int read_it(const void *data, size_t n, struct dump_archive *archive)
{
	int fd = file_of(data, n);
	int rc;

	reported[0] = '\0';
	rc = dump_archive_read(fd, "some.tar", NULL, archive);
	/* A tar that is not compressed is read where it is. */
	if (archive->fd == fd)
		archive->own_fd = true;
	else
		close(fd);
	return rc;
}

/* Has to be refused like that, and in these words. */
static void refuses(const void *data, size_t n, int expected, const char *words)
{
	struct dump_archive archive;
	int rc = read_it(data, n, &archive);

	dump_archive_close(&archive);
	if (rc != expected || !strstr(reported, words) || !strstr(reported, "some.tar"))
		fail_msg("%d in place of %d, \"%s\" in place of \"%s\"", rc, expected, reported,
			 words);
}

/* The same bytes, compressed by libarchive. */
static struct tar_make compressed(int filter, const void *data, size_t n)
{
	struct archive_entry *entry = archive_entry_new();
	struct archive *a = archive_write_new();
	struct tar_make to = { 0 };
	size_t used = 0;

	to.room = 2 * n + 65536;
	to.data = malloc(to.room);
	assert_true(a && entry && to.data);
	assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
	assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
	archive_write_set_bytes_in_last_block(a, 1);
	assert_int_equal(archive_write_open_memory(a, to.data, to.room, &used), ARCHIVE_OK);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_pathname(entry, "x");
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, data, n), (la_ssize_t)n);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	archive_entry_free(entry);
	to.len = used;
	return to;
}

/* They are an archive of this tar. */
static void accepts(const struct tar_make *packed, const char *compression,
		    const struct tar_make *tar)
{
	uint8_t *bytes = malloc(tar->len);
	struct dump_archive archive;
	int rc = read_it(packed->data, packed->len, &archive);

	assert_non_null(bytes);
	if (rc != R_OK)
		fail_msg("%s: %d, \"%s\"", compression, rc, reported);
	assert_string_equal(archive.compression, compression);
	assert_string_equal(archive.folder, "checkpoint/");
	assert_int_equal(archive.n_members, MEMBERS);
	assert_int_equal(archive.tar_bytes, tar->len);
	assert_int_equal(io_pread_all(archive.fd, bytes, tar->len, 0), R_OK);
	assert_memory_equal(bytes, tar->data, tar->len);
	dump_archive_close(&archive);
	free(bytes);
}

static const struct {
	int filter;
	const char *name;
	bool sums; /* as they are made here, they have checksums of the contents */
} filters[] = {
	{ ARCHIVE_FILTER_GZIP, "gzip", true },
	{ ARCHIVE_FILTER_ZSTD, "zstd", false },
	{ ARCHIVE_FILTER_BZIP2, "bzip2", true },
	{ ARCHIVE_FILTER_LZ4, "lz4", true },
};
#define FILTERS (sizeof(filters) / sizeof(filters[0]))

static void compressions(void **state)
{
	struct tar_make tar = { 0 };

	(void)state;
	tar_make_whole(&tar);
	accepts(&tar, "none", &tar);
	for (size_t i = 0; i < FILTERS; i++) {
		struct tar_make packed = compressed(filters[i].filter, tar.data, tar.len);

		accepts(&packed, filters[i].name, &tar);
		free(packed.data);
	}
	free(tar.data);
}

/* Parts one after the other, as parallel and appending compressors write them. */
static void several_parts(void **state)
{
	static const size_t cuts[][2] = { { 1, 2 }, { 512, 700 }, { 5000, 5000 }, { 0, 9000 } };
	struct tar_make tar = { 0 };

	(void)state;
	tar_make_whole(&tar);
	for (size_t k = 0; k < 3; k++) { /* gzip, zstd, bzip2 */
		for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
			const size_t at[] = { 0, cuts[i][0], cuts[i][1], tar.len };
			struct tar_make all = { 0 };

			for (size_t part = 0; part < 3; part++) {
				struct tar_make one =
				    compressed(filters[k].filter, tar.data + at[part],
					       at[part + 1] - at[part]);

				tar_make_bytes(&all, one.data, one.len);
				free(one.data);
			}
			/* An empty part of bzip2 is something libarchive cannot read. */
			if (k < 2 || (at[1] > 0 && at[1] < at[2]))
				accepts(&all, filters[k].name, &tar);
			/* Zeroes of a tape, behind gzip only; nothing else. */
			tar_make_bytes(&all, NULL, 600);
			if (k == 0) {
				accepts(&all, "gzip", &tar);
				tar_make_bytes(&all, "x", 1);
				refuses(all.data, all.len, R_DAMAGED, "follows behind its end");
			}
			free(all.data);
		}
	}
	free(tar.data);
}

static void other_compressions(void **state)
{
	static const struct {
		const char *magic;
		size_t n;
		const char *name;
	} others[] = {
		{ "\xfd"
		  "7zXZ\0",
		  6, "xz" },
		{ "LZIP\1", 5, "lzip" },
		{ "\x89LZO\0\r\n\x1a\n", 9, "lzop" },
		{ "\x1f\x9d\x90", 3, "compress" },
	};
	struct tar_make tar = { 0 }, once, twice;
	uint8_t bytes[64];
	char words[64];

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		memset(bytes, 'x', sizeof(bytes));
		memcpy(bytes, others[i].magic, others[i].n);
		snprintf(words, sizeof(words), "compressed by %s, which is not read",
			 others[i].name);
		refuses(bytes, sizeof(bytes), R_UNSUPPORTED, words);
	}
	tar_make_whole(&tar);
	for (size_t i = 0; i < FILTERS; i++) {
		once = compressed(filters[FILTERS - 1 - i].filter, tar.data, tar.len);
		twice = compressed(filters[i].filter, once.data, once.len);
		refuses(twice.data, twice.len, R_UNSUPPORTED, "compressed twice");
		free(once.data);
		free(twice.data);
	}
	free(tar.data);
	refuses("", 0, R_UNSUPPORTED, "neither a folder");
	refuses("\x1f", 1, R_UNSUPPORTED, "neither a folder");
	refuses("\x1f\x8b", 2, R_DAMAGED, "ends early");
	refuses("\x28\xb5\x2f\xfd", 4, R_DAMAGED, "ends early");
}

/* What is kept of the whole one, compressed in each way. */
static void imported(void **state)
{
	struct store *store = scratch_open(*state);
	const struct import_options options = { .lineage = "web" };
	struct tar_make tar = { 0 };

	tar_make_whole(&tar);
	for (size_t i = 0; i <= FILTERS; i++) {
		struct tar_make packed =
		    i < FILTERS ? compressed(filters[i].filter, tar.data, tar.len) : tar;
		struct import_result result = { 0 };
		struct object object;
		struct store_view *view;
		int fd = file_of(packed.data, packed.len);

		if (exchange_import_archive(store, fd, "some.tar", &options, &result) != R_OK)
			fail_msg("compression %zu: %s", i, reported);
		close(fd);
		assert_int_equal(result.gen.time_ns, 1700000000ll * 1000000000);
		assert_int_equal(store_view_open(store, &view), R_OK);
		assert_int_equal(
		    store_object(view, result.gen.number, "archive/rootfs-diff.tar", &object),
		    R_OK);
		assert_int_equal(object.length_bytes, 3000);
		assert_int_equal(store_object(view, result.gen.number, "pages-7", &object), R_OK);
		store_view_close(view);
		free(packed.data);
	}
	assert_int_equal(scratch_stats(store).generations, FILTERS + 1);
	store_close(store);
}

/* Cut off anywhere, and with a byte that is another one anywhere: refused, and nothing is stored.
 * Of a plain tar a wrong byte shows in headers only, as it has no checksum over contents. */
static void cut_and_damaged(void **state)
{
	struct store *store = scratch_open(*state);
	const struct import_options options = { .lineage = "bad" };
	struct tar_make tar = { 0 }, packed;
	struct import_result result;

	tar_make_whole(&tar);
	for (size_t i = 0; i <= FILTERS; i++) {
		size_t step;

		if (i < FILTERS) {
			packed = compressed(filters[i].filter, tar.data, tar.len);
		} else {
			packed = (struct tar_make){ 0 };
			tar_make_bytes(&packed, tar.data, tar.len);
		}
		step = packed.len / 150 + 1;
		for (size_t cut = 0; cut < packed.len; cut += step) {
			int fd = file_of(packed.data, cut);
			int rc;

			reported[0] = '\0';
			memset(&result, 0, sizeof(result));
			rc = exchange_import_archive(store, fd, "some.tar", &options, &result);
			close(fd);
			if ((rc != R_DAMAGED && rc != R_UNSUPPORTED && rc != R_NOT_FOUND) ||
			    !strstr(reported, "some.tar"))
				fail_msg("%zu of %zu bytes, compression %zu: %d, \"%s\"", cut,
					 packed.len, i, rc, reported);
		}
		for (size_t at = 0; i < FILTERS && at < packed.len; at += step) {
			struct dump_archive archive;

			packed.data[at] ^= 0x10;
			/* What says nothing of the contents (a time, a name) may be another. */
			if (read_it(packed.data, packed.len, &archive) == R_OK && filters[i].sums) {
				uint8_t *bytes = malloc(tar.len);

				assert_non_null(bytes);
				assert_int_equal(archive.tar_bytes, tar.len);
				assert_int_equal(io_pread_all(archive.fd, bytes, tar.len, 0), R_OK);
				assert_memory_equal(bytes, tar.data, tar.len);
				free(bytes);
			}
			dump_archive_close(&archive);
			packed.data[at] ^= 0x10;
		}
		free(packed.data);
	}
	free(tar.data);
	assert_int_equal(scratch_stats(store).generations, 0);
	store_close(store);
}

/* The members that lead elsewhere; names and layouts are in the scenario of archives. */
static void members_refused(void **state)
{
	static const struct {
		const char *name;
		char type;
		const char *link, *words;
	} bad[] = {
		{ "h", '1', "config.dump", "hard link" },
		{ "l", '2', "/etc/passwd", "leads out" },
		{ "l", '2', "a/../../b", "leads out" },
		{ "c", '3', NULL, "device" },
		{ "b", '4', NULL, "device" },
		{ "p", '6', NULL, "pipe" },
		{ "../x", '0', NULL, "leads out" },
		{ "/x", '0', NULL, "absolute" },
		{ "a/../x", '0', NULL, "leads out" },
		{ "a//x", '0', NULL, "plainly" },
		{ "config.dump", '0', NULL, "twice" },
		{ "config.dump/x", '0', NULL, "no folder" },
		{ "a\nb", '0', NULL, "control" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tar_make tar = { 0 };

		tar_make_whole(&tar);
		tar.len -= 1024;
		tar_make_member(&tar, bad[i].name, bad[i].type, bad[i].link, NULL, 0, 0);
		tar_make_end(&tar);
		refuses(tar.data, tar.len, R_UNSUPPORTED, bad[i].words);
		free(tar.data);
	}
}

/* ---- how much memory that takes, in a process of its own ---- */

static void within_bounds(void (*fn)(void))
{
	struct rusage usage;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		fn();
		_exit(0);
	}
	assert_int_equal(wait4(pid, &status, 0, &usage), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	if (!SANITIZED && usage.ru_maxrss > PEAK_MAX_KIB)
		fail_msg("it took %ld KiB", usage.ru_maxrss);
}

/* In the child: what a failed assertion would be. */
static void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "not so: %s; it says \"%s\"\n", what, reported);
	_exit(1);
}

static void must_refuse(const void *data, size_t n, int expected, const char *words)
{
	struct dump_archive archive;
	int rc = read_it(data, n, &archive);

	dump_archive_close(&archive);
	must(rc == expected && strstr(reported, words), words);
}

/* Zeroes beyond any measure: a thousandth, or less, of what they would become. */
static void bomb_of_zstd(void)
{
	static const uint8_t zeroes[1 << 20];
	struct tar_make packed = { 0 };
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	ZSTD_inBuffer in = { 0 };
	static uint8_t out[1 << 17];

	for (unsigned int i = 0; i < 1500; i++) {
		in = (ZSTD_inBuffer){ zeroes, sizeof(zeroes), 0 };
		while (in.pos < in.size) {
			ZSTD_outBuffer to = { out, sizeof(out), 0 };

			must(!ZSTD_isError(ZSTD_compressStream2(zstd, &to, &in, ZSTD_e_continue)),
			     "zstd");
			tar_make_bytes(&packed, out, to.pos);
		}
	}
	must(packed.len > 4096, "enough of it");
	must_refuse(packed.data, packed.len, R_UNSUPPORTED, "have become more than");
}

static void wide_window(void)
{
	struct tar_make tar = { 0 }, packed = { 0 };
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	static uint8_t out[1 << 17];
	ZSTD_outBuffer to = { out, sizeof(out), 0 };
	ZSTD_inBuffer in;

	tar_make_whole(&tar);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, 27);
	in = (ZSTD_inBuffer){ tar.data, tar.len, 0 };
	must(!ZSTD_isError(ZSTD_compressStream2(zstd, &to, &in, ZSTD_e_flush)), "zstd");
	must(!ZSTD_isError(ZSTD_compressStream2(zstd, &to, &in, ZSTD_e_end)), "zstd");
	tar_make_bytes(&packed, out, to.pos);
	must_refuse(packed.data, packed.len, R_UNSUPPORTED, "more than 64 MiB");
}

/* A header of another header that is as long as memory. */
static void huge_headers(void)
{
	static const char types[] = { 'x', 'g', 'L', 'K' };

	for (size_t i = 0; i < sizeof(types); i++) {
		size_t n = (size_t)20 << 20;
		struct tar_make tar = { .room = n + 65536 };
		struct dump_archive archive;

		tar.data = malloc(tar.room);
		must(tar.data != NULL, "memory");
		tar_make_member(&tar, "head", types[i], NULL, NULL, n, n);
		memset(tar.data + 512, 'a', n);
		tar_make_whole(&tar);
		must(read_it(tar.data, tar.len, &archive) != R_OK, "refused");
		must(reported[0] != '\0', "said so");
		dump_archive_close(&archive);
		/* The same, told only. */
		tar.len = 0;
		tar_make_member(&tar, "head", types[i], NULL, NULL, 0, (uint64_t)1 << 40);
		tar_make_whole(&tar);
		must(read_it(tar.data, tar.len, &archive) != R_OK, "refused");
		dump_archive_close(&archive);
		free(tar.data);
	}
}

/* Members without end, each with a long name; a few would be taken, two million would be a GiB. */
static void many_members(void)
{
	struct tar_make packed = { 0 };
	char name[100];

	for (unsigned int i = 0; i < 32769; i++) {
		snprintf(name, sizeof(name), "%090u", i);
		tar_make_file(&packed, name, NULL, 0);
	}
	tar_make_end(&packed);
	must_refuse(packed.data, packed.len, R_UNSUPPORTED, "too many");
}

/* A member of which the header tells more than there is. */
static void huge_members(void)
{
	static const uint64_t sizes[] = { (uint64_t)1 << 33, (uint64_t)1 << 40, (uint64_t)1 << 62,
					  INT64_MAX - 1025,  INT64_MAX,		UINT64_MAX };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct tar_make tar = { 0 };
		struct dump_archive archive;
		int rc;

		tar_make_whole(&tar);
		tar.len -= 1024;
		tar_make_member(&tar, "checkpoint/big", '0', NULL, NULL, 0, sizes[i]);
		tar_make_end(&tar);
		rc = read_it(tar.data, tar.len, &archive);
		must(rc == R_DAMAGED || rc == R_UNSUPPORTED, "refused");
		dump_archive_close(&archive);
		free(tar.data);
	}
}

static void bounds(void **state)
{
	(void)state;
	within_bounds(bomb_of_zstd);
	within_bounds(wide_window);
	within_bounds(huge_headers);
	within_bounds(many_members);
	within_bounds(huge_members);
}

static int setup_store(void **state)
{
	setup(state);
	return scratch_setup(state);
}

static int teardown_store(void **state)
{
	teardown(state);
	return scratch_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(compressions, setup, teardown),
		cmocka_unit_test_setup_teardown(several_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(other_compressions, setup, teardown),
		cmocka_unit_test_setup_teardown(imported, setup_store, teardown_store),
		cmocka_unit_test_setup_teardown(cut_and_damaged, setup_store, teardown_store),
		cmocka_unit_test_setup_teardown(members_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
