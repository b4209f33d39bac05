/* Names of members: those that could lead out of the archive, or to what others mean, are refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/archive_internal.h"

#define INVENTORY "inventory.img"

const char *dump_archive_shown(char shown[ARCHIVE_SHOWN_MAX], const char *name)
{
	size_t i;

	for (i = 0; name[i] && i + 1 < ARCHIVE_SHOWN_MAX; i++) {
		unsigned char c = (unsigned char)name[i];

		shown[i] = c < 0x20 || c == 0x7f ? '?' : name[i];
	}
	shown[i] = '\0';
	return shown;
}

static int refuse(const struct dump_archive *archive, const char *name, const char *why)
{
	char shown[ARCHIVE_SHOWN_MAX];

	warn("%s: member \"%s\" %s; such an archive is not taken in", archive->path,
	     dump_archive_shown(shown, name), why);
	return R_UNSUPPORTED;
}

bool dump_archive_resolve(const char *from, const char *to,
			  char resolved[ARCHIVE_MEMBER_NAME_MAX + 1])
{
	const char *slash = strrchr(from, '/');
	size_t len = slash ? (size_t)(slash - from) : 0;

	if (*to == '/' || !*to || len > ARCHIVE_MEMBER_NAME_MAX)
		return false;
	memcpy(resolved, from, len);
	while (*to) {
		size_t part = strcspn(to, "/");

		if (part == 2 && memcmp(to, "..", 2) == 0) {
			if (!len)
				return false;
			while (len && resolved[len - 1] != '/')
				len--;
			len -= len > 0;
		} else if (part && !(part == 1 && *to == '.')) {
			if (len + part + 1 > ARCHIVE_MEMBER_NAME_MAX)
				return false;
			if (len)
				resolved[len++] = '/';
			memcpy(resolved + len, to, part);
			len += part;
		}
		to += part;
		to += strspn(to, "/");
	}
	resolved[len] = '\0';
	return true;
}

/* What is wrong with a name, NULL if nothing is. */
static const char *wrong_name(const char *name)
{
	size_t len = strlen(name);

	if (*name == '/')
		return "has an absolute name";
	if (len > ARCHIVE_MEMBER_NAME_MAX)
		return "has a name of more than 240 bytes";
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return "has control characters in its name";
	for (const char *part = name; *part;) {
		size_t n = strcspn(part, "/");

		if (n == 2 && memcmp(part, "..", 2) == 0)
			return "leads out of its folder";
		if (!n || (n == 1 && *part == '.'))
			return "has a name that is not written plainly";
		part += n;
		part += *part == '/';
	}
	return NULL;
}

static int check_names(const struct dump_archive *archive)
{
	char target[ARCHIVE_MEMBER_NAME_MAX + 1];

	for (size_t i = 0; i < archive->n_members; i++) {
		const struct archive_member *m = &archive->members[i];
		const char *wrong = wrong_name(m->at.name);

		/* The top itself. */
		if (!*m->at.name && !m->directory)
			wrong = "has no name";
		if (wrong)
			return refuse(archive, m->at.name, wrong);
		if (m->link && !dump_archive_resolve(m->at.name, m->link, target))
			return refuse(archive, m->at.name,
				      "is a link that leads out of the archive");
	}
	return R_OK;
}

static int by_name(const void *a, const void *b)
{
	const struct archive_member *left = *(const struct archive_member *const *)a;
	const struct archive_member *right = *(const struct archive_member *const *)b;

	return strcmp(left->at.name, right->at.name);
}

/* The first member whose name is not before `name`. */
static size_t not_before(const struct archive_member *const *sorted, size_t n, const char *name)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(sorted[mid]->at.name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* No name twice, but of folders; nothing below what is no folder. */
static int check_places(const struct dump_archive *archive,
			const struct archive_member *const *sorted)
{
	char below[ARCHIVE_MEMBER_NAME_MAX + 2];
	size_t n = archive->n_members, len, at;

	for (size_t i = 0; i < n; i++) {
		const struct archive_member *m = sorted[i];

		if (i && strcmp(m->at.name, sorted[i - 1]->at.name) == 0 &&
		    !(m->directory && sorted[i - 1]->directory))
			return refuse(archive, m->at.name, "is there twice");
		if (m->directory)
			continue;
		len = (size_t)snprintf(below, sizeof(below), "%s/", m->at.name);
		at = not_before(sorted, n, below);
		if (at < n && strncmp(sorted[at]->at.name, below, len) == 0)
			return refuse(archive, sorted[at]->at.name,
				      "is below one that is no folder");
	}
	return R_OK;
}

static int make_lists(struct dump_archive *archive, const struct archive_member *const *sorted)
{
	archive->files = calloc(archive->n_members + 1, sizeof(*archive->files));
	archive->links = calloc(archive->n_members + 1, sizeof(*archive->links));
	if (!archive->files || !archive->links) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t i = 0; i < archive->n_members; i++) {
		const struct archive_member *m = sorted[i];

		if (m->link)
			archive->links[archive->n_links++] =
			    (struct tar_link){ m->at.name, m->link };
		else if (!m->directory)
			archive->files[archive->n_files++] = m->at;
	}
	return R_OK;
}

/* In "checkpoint/", as container engines have it, or in the only folder with an inventory. */
static int find_dump(struct dump_archive *archive)
{
	const char *found = NULL;
	size_t n = 0, len;

	for (size_t i = 0; i < archive->n_files; i++) {
		const char *name = archive->files[i].name, *base = strrchr(name, '/');

		if (strcmp(base ? base + 1 : name, INVENTORY) != 0)
			continue;
		if (n++ == 0 || strcmp(name, "checkpoint/" INVENTORY) == 0)
			found = name;
	}
	if (!n) {
		warn("%s: there is no " INVENTORY " in it, so it holds no dump", archive->path);
		return R_NOT_FOUND;
	}
	if (n > 1 && strcmp(found, "checkpoint/" INVENTORY) != 0) {
		warn("%s: it holds several dumps, and none in checkpoint/; unpack it and import "
		     "the folders one by one",
		     archive->path);
		return R_UNSUPPORTED;
	}
	len = strlen(found) - strlen(INVENTORY);
	archive->folder = strndup(found, len);
	if (archive->folder)
		return R_OK;
	warn("out of memory");
	return R_FAILED;
}

int dump_archive_check(struct dump_archive *archive)
{
	const struct archive_member **sorted;
	int rc = check_names(archive);

	if (rc != R_OK)
		return rc;
	sorted = calloc(archive->n_members + 1, sizeof(const struct archive_member *));
	if (!sorted) {
		warn("out of memory");
		return R_FAILED;
	}
	for (size_t i = 0; i < archive->n_members; i++)
		sorted[i] = &archive->members[i];
	qsort(sorted, archive->n_members, sizeof(*sorted), by_name);
	rc = check_places(archive, sorted);
	if (rc == R_OK)
		rc = make_lists(archive, sorted);
	free(sorted);
	return rc == R_OK ? find_dump(archive) : rc;
}
