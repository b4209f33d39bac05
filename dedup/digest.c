#include "dedup/digest.h"

#include "base/crew.h"
#include "store/page.h"

/* 64 pages take a processor about as long as it takes to wake another one. */
#define PIECE_PAGES 64u
#define ALONE_PAGES (2 * PIECE_PAGES)

struct work {
	const uint8_t *secret, *pages;
	size_t n;
	struct digest *digests;
};

static void digest_piece(size_t piece, unsigned int worker, void *arg)
{
	const struct work *work = arg;
	size_t end = (piece + 1) * PIECE_PAGES;

	(void)worker;
	for (size_t i = piece * PIECE_PAGES; i < end && i < work->n; i++) {
		const uint8_t *page = work->pages + i * PAGE_BYTES;
		struct digest *digest = &work->digests[i];

		digest->zero = page_is_zero(page);
		if (!digest->zero)
			page_hash(work->secret, page, digest->hash);
	}
}

void digest_pages(struct crew *crew, const uint8_t *secret, const uint8_t *pages, size_t n,
		  struct digest *digests)
{
	struct work work = { secret, pages, n, digests };
	size_t pieces = (n + PIECE_PAGES - 1) / PIECE_PAGES;

	if (crew && n >= ALONE_PAGES) {
		crew_run(crew, pieces, digest_piece, &work);
		return;
	}
	for (size_t i = 0; i < pieces; i++)
		digest_piece(i, 0, &work);
}
