/*
 * Ranges without smaps: /proc/PID/maps tells all but their flags, and these are one word each of
 * the kernel (vma_bits.h), the bits of which are not the same in all kernels.  So what each bit is
 * called is learnt from samples, mappings of our own whose words and names are both known.  Where a
 * word holds a bit that was not met there, or the two lists differ, smaps is read after all.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/result.h"
#include "engine/proc/maps_internal.h"
#include "engine/proc/vma_bits.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define PAGE 4096u
#define BITS 64
#define NOT_KNOWN (-2) /* what it is called cannot be told */
#define NO_NAME (-1)   /* nothing in smaps comes from it */

#define WORDS_MAX 64

static struct {
	bool ready;
	int name_of[BITS];
	/* Whole words, as some bits are met together only. */
	struct {
		uint64_t bits, names;
	} words[WORDS_MAX];
	size_t n_words;
} learnt;

/* Each bit differs from the others in at least one mapping. */
static void make_samples(uint8_t **pages, size_t n, int *uffd)
{
	static const int advice[] = { MADV_RANDOM,    MADV_SEQUENTIAL, MADV_DONTFORK,
				      MADV_DONTDUMP,  MADV_HUGEPAGE,   MADV_NOHUGEPAGE,
				      MADV_MERGEABLE, MADV_WIPEONFORK };
	size_t i = 0;
	int exe;

	for (; i < sizeof(advice) / sizeof(advice[0]); i++)
		madvise(pages[i], PAGE, advice[i]);
	mlock(pages[i++], PAGE);
	mprotect(pages[i++], PAGE, PROT_NONE);
	mmap(pages[i++], PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	mmap(pages[i++], PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
	     0);
	mmap(pages[i++], PAGE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	madvise(pages[i++], PAGE, MADV_GUARD_INSTALL);
	syscall(SYS_mlock2, pages[i++], PAGE, MLOCK_ONFAULT);
	/* May be executed, but not written. */
	exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (exe >= 0) {
		mmap(pages[i], PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, exe, 0);
		close(exe);
	}
	i++;
	*uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (*uffd >= 0 && i < n) {
		struct uffdio_api api = { .api = UFFD_API,
					  .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
		struct uffdio_register order = {
			.range = { .start = (uintptr_t)pages[i], .len = PAGE },
			.mode = UFFDIO_REGISTER_MODE_WP,
		};

		if (ioctl(*uffd, UFFDIO_API, &api) == 0)
			ioctl(*uffd, UFFDIO_REGISTER, &order);
	}
}

/* Which names a bit may have: those of all ranges that have it and of none that has not. */
static uint64_t names_of_bit(const struct maps *maps, const struct vma_bits *list, int bit)
{
	uint64_t with = ~(uint64_t)0, without = 0;
	bool met = false;

	for (size_t i = 0; i < maps->n; i++) {
		if (list[i].bits >> bit & 1) {
			with &= maps->vmas[i].flag_names;
			met = true;
		} else {
			without |= maps->vmas[i].flag_names;
		}
	}
	return met ? with & ~without : UINT64_MAX;
}

/* Lists of the same ranges, in which each is told fully? */
static bool are_alike(const struct maps *maps, const struct vma_bits *list, size_t n)
{
	if (n != maps->n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (list[i].start != maps->vmas[i].start || list[i].end != maps->vmas[i].end)
			return false;
	return true;
}

static bool find_word(uint64_t bits, uint64_t *names)
{
	for (size_t i = 0; i < learnt.n_words; i++)
		if (learnt.words[i].bits == bits) {
			*names = learnt.words[i].names;
			return true;
		}
	return false;
}

/* False if one word means two things: then nothing is as this code believes. */
static bool learn_words(const struct maps *maps, const struct vma_bits *list)
{
	for (size_t i = 0; i < maps->n; i++) {
		uint64_t names = maps->vmas[i].flag_names, known;

		if (find_word(list[i].bits, &known)) {
			if (known != names)
				return false;
		} else if (learnt.n_words < WORDS_MAX && !(names & MAPS_NAME_UNKNOWN)) {
			learnt.words[learnt.n_words].bits = list[i].bits;
			learnt.words[learnt.n_words++].names = names;
		}
	}
	return true;
}

static bool learn_bits(const struct maps *maps, const struct vma_bits *list)
{
	uint64_t names[BITS], claimed = 0, twice = 0;

	for (int bit = 0; bit < BITS; bit++) {
		names[bit] = names_of_bit(maps, list, bit);
		if (names[bit] != UINT64_MAX) {
			twice |= claimed & names[bit];
			claimed |= names[bit];
		}
	}
	for (int bit = 0; bit < BITS; bit++) {
		uint64_t found = names[bit];

		learnt.name_of[bit] = found == 0 ? NO_NAME : NOT_KNOWN;
		if (found && found != UINT64_MAX && !(found & (found - 1)) && !(found & twice) &&
		    found != MAPS_NAME_UNKNOWN)
			learnt.name_of[bit] = __builtin_ctzll(found);
	}
	/* Then the samples themselves must come out as they are. */
	for (size_t i = 0; i < maps->n; i++) {
		uint64_t all = 0;
		bool known = true;

		for (int bit = 0; bit < BITS; bit++)
			if (list[i].bits >> bit & 1) {
				known &= learnt.name_of[bit] != NOT_KNOWN;
				if (learnt.name_of[bit] >= 0)
					all |= 1ull << learnt.name_of[bit];
			}
		if (known && all != maps->vmas[i].flag_names)
			return false;
	}
	return true;
}

/* Reading takes memory, so that the two lists may differ in that. */
static void keep_common(struct maps *maps, struct vma_bits *list, size_t n)
{
	size_t kept = 0, k = 0;

	for (size_t i = 0; i < maps->n; i++) {
		while (k < n && list[k].start < maps->vmas[i].start)
			k++;
		if (k == n || list[k].start != maps->vmas[i].start ||
		    list[k].end != maps->vmas[i].end)
			continue;
		maps->vmas[kept] = maps->vmas[i];
		list[kept++] = list[k++];
	}
	maps->n = kept;
}

void maps_ready(void)
{
	enum { SAMPLES = 17 };
	static bool tried;
	uint8_t *pages[SAMPLES], *room;
	struct vma_bits *list;
	struct maps maps;
	int uffd = -1;
	size_t n;

	if (tried || !vma_bits_ready())
		return;
	tried = true;
	/* Apart from each other by pages of no access, so that they do not merge. */
	room = mmap(NULL, 2 * SAMPLES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		return;
	for (size_t i = 0; i < SAMPLES; i++) {
		pages[i] = room + (2 * i + 1) * PAGE;
		mprotect(pages[i], PAGE, PROT_READ | PROT_WRITE);
	}
	make_samples(pages, SAMPLES, &uffd);
	if (maps_read_smaps(getpid(), &maps) == R_OK) {
		if (vma_bits_read(getpid(), &list, &n)) {
			keep_common(&maps, list, n);
			learnt.ready = maps.n >= SAMPLES && learn_words(&maps, list) &&
				       learn_bits(&maps, list);
			free(list);
		}
		maps_free(&maps);
	}
	if (uffd >= 0)
		close(uffd);
	munmap(room, 2 * SAMPLES * PAGE);
}

static bool names_of_word(uint64_t bits, uint64_t *names)
{
	if (find_word(bits, names))
		return true;
	*names = 0;
	for (int bit = 0; bit < BITS; bit++) {
		if (!(bits >> bit & 1))
			continue;
		if (learnt.name_of[bit] == NOT_KNOWN)
			return false;
		if (learnt.name_of[bit] >= 0)
			*names |= 1ull << learnt.name_of[bit];
	}
	return true;
}

/* What smaps would say. */
static bool translate(const struct vma_bits *from, struct vma *vma)
{
	if (!names_of_word(from->bits, &vma->flag_names))
		return false;
	vma->marks |= maps_marks(vma->flag_names);
	vma->has_flags = true;
	vma->shares_pages = !vma->shared && (from->forked > 1 || vma->marks & VMA_MARK_MERGEABLE);
	return true;
}

/* The gate page of the kernel is in no list of ranges but in that text. */
static bool is_gate(const struct vma *vma)
{
	return strcmp(vma->name, "[vsyscall]") == 0;
}

static bool translate_all(struct maps *maps, const struct vma_bits *list, size_t n)
{
	struct maps own = *maps;

	if (own.n && is_gate(&own.vmas[own.n - 1]))
		own.n--;
	if (!are_alike(&own, list, n))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!translate(&list[i], &maps->vmas[i]))
			return false;
	if (own.n < maps->n)
		maps->vmas[own.n].has_flags = true;
	return true;
}

bool maps_read_fast(pid_t pid, struct maps *maps)
{
	struct vma_bits *list;
	char path[64], *text;
	size_t len, n;
	bool done;

	if (!learnt.ready || !vma_bits_read(pid, &list, &n))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	done = io_read_file(AT_FDCWD, path, MAPS_MAX_BYTES, &text, &len) == R_OK &&
	       maps_parse(text, len, maps) == R_OK;
	if (done && !translate_all(maps, list, n)) {
		maps_free(maps);
		done = false;
	}
	free(list);
	return done;
}
