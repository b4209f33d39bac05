/*
 * gzip and zstd, in any number of parts one after the other.  Not by libarchive, as that does not
 * compare the checksums of gzip and takes as much memory for zstd as the archive asks for.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/archive_internal.h"

#define OUT_BYTES ((size_t)128 << 10)
/* zstd keeps as much as that; more is asked for by --ultra and --long only. */
#define WINDOW_LOG_MAX 26

static int damaged(const struct unpacking *u, const char *why)
{
	warn("%s: it is damaged or ends early: %s", u->path, why);
	return R_DAMAGED;
}

static int out_of_memory(void)
{
	warn("out of memory");
	return R_FAILED;
}

/* All that comes of the input at hand; `*ended` is set at the end of a part, which may be before
 * the end of the input. */
static int inflate_some(const struct unpacking *u, z_stream *z, uint8_t *out, bool *ended)
{
	int rc = R_OK, got;

	do {
		z->next_out = out;
		z->avail_out = (uInt)OUT_BYTES;
		got = inflate(z, Z_NO_FLUSH);
		*ended = got == Z_STREAM_END;
		if (got == Z_MEM_ERROR)
			return out_of_memory();
		/* Z_BUF_ERROR: it wants more. */
		if (got != Z_OK && got != Z_STREAM_END && got != Z_BUF_ERROR)
			return damaged(u, z->msg ?: "it makes no sense");
		if (z->avail_out < OUT_BYTES)
			rc = u->write(u->arg, out, OUT_BYTES - z->avail_out);
	} while (rc == R_OK && !*ended && (z->avail_in || !z->avail_out));
	return rc;
}

/* What is behind the end of a part: another one, or zeroes up to the end of a block of tape. */
static int next_part(const struct unpacking *u, z_stream *z, bool *padded, bool *ended)
{
	while (z->avail_in && !*z->next_in) {
		z->next_in++;
		z->avail_in--;
		*padded = true;
	}
	if (!z->avail_in)
		return R_OK;
	if (*padded || *z->next_in != 0x1f || inflateReset(z) != Z_OK)
		return damaged(u, "something that is no gzip follows behind its end");
	*ended = false;
	return R_OK;
}

static int gunzip(const struct unpacking *u, z_stream *z, uint8_t *out)
{
	bool ended = false, padded = false;
	const uint8_t *in;
	size_t n;
	int rc;

	while ((rc = u->read(u->arg, &in, &n)) == R_OK && n > 0) {
		z->next_in = (Bytef *)in;
		z->avail_in = (uInt)n;
		while (rc == R_OK && z->avail_in) {
			if (ended)
				rc = next_part(u, z, &padded, &ended);
			if (rc == R_OK && !ended)
				rc = inflate_some(u, z, out, &ended);
		}
		if (rc != R_OK)
			return rc;
	}
	if (rc == R_OK && !ended)
		return damaged(u, "it goes on behind its last byte");
	return rc;
}

int dump_archive_gunzip(const struct unpacking *u)
{
	uint8_t *out = malloc(OUT_BYTES);
	z_stream z = { 0 };
	int rc;

	/* 16: with the header and checksum of gzip. */
	if (!out || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
		free(out);
		return out_of_memory();
	}
	rc = gunzip(u, &z, out);
	inflateEnd(&z);
	free(out);
	return rc;
}

static int failed(const struct unpacking *u, size_t got)
{
	switch (ZSTD_getErrorCode(got)) {
	case ZSTD_error_memory_allocation:
		return out_of_memory();
	case ZSTD_error_frameParameter_windowTooLarge:
		warn("%s: to unpack it takes more than 64 MiB of memory (it was made with zstd "
		     "--ultra or "
		     "--long); uncompress it first: zstd -d --long=31",
		     u->path);
		return R_UNSUPPORTED;
	default:
		return damaged(u, ZSTD_getErrorName(got));
	}
}

static int unzstd(const struct unpacking *u, ZSTD_DCtx *zstd, uint8_t *out)
{
	ZSTD_inBuffer in = { 0 };
	size_t got = 0;
	int rc;

	while ((rc = u->read(u->arg, (const uint8_t **)&in.src, &in.size)) == R_OK && in.size > 0) {
		ZSTD_outBuffer to = { .dst = out, .size = OUT_BYTES };

		in.pos = 0;
		do {
			to.pos = 0;
			got = ZSTD_decompressStream(zstd, &to, &in);
			if (ZSTD_isError(got))
				return failed(u, got);
			if (to.pos)
				rc = u->write(u->arg, out, to.pos);
		} while (rc == R_OK && (in.pos < in.size || to.pos == to.size));
		if (rc != R_OK)
			return rc;
	}
	/* What is left to come of the part. */
	if (rc == R_OK && got)
		return damaged(u, "it goes on behind its last byte");
	return rc;
}

int dump_archive_unzstd(const struct unpacking *u)
{
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	uint8_t *out = malloc(OUT_BYTES);
	int rc;

	if (zstd && out &&
	    !ZSTD_isError(ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
		rc = unzstd(u, zstd, out);
	else
		rc = out_of_memory();
	free(out);
	ZSTD_freeDCtx(zstd);
	return rc;
}
