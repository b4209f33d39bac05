#include "engine/proc/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/result.h"
#include "base/warn.h"
#include "dedup/dedup.h"
#include "engine/image/image.h"

/* A machine of ten thousand mounts has some 2 MiB of them. */
#define MOUNTS_MAX_BYTES (8u << 20)

/* A space, tab, newline or backslash stands as \040 and so on. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		unsigned int code = 0;
		bool octal = *text == '\\';

		for (int i = 1; octal && i <= 3; i++) {
			octal = text[i] >= '0' && text[i] <= '7';
			code = code * 8 + (unsigned int)(text[i] - '0');
		}
		*to++ = octal && code && code < 256 ? (char)code : *text;
		text += octal && code && code < 256 ? 3 : 0;
	}
	*to = '\0';
}

/* The next word, ended by a NUL; NULL: there is none.  Words may be empty, as the source of a mount
 * may be. */
static char *next_word(char **rest)
{
	return strsep(rest, " ");
}

static bool read_number(const char *text, uint32_t *value, const char **end)
{
	char *behind;
	unsigned long number;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoul(text, &behind, 10);
	*value = (uint32_t)number;
	*end = behind;
	return !errno && number <= UINT32_MAX;
}

static bool whole_number(const char *text, uint32_t *value)
{
	const char *end;

	return read_number(text, value, &end) && *end == '\0';
}

static bool read_device(const char *text, struct proc_mount *mount)
{
	const char *end;

	return read_number(text, &mount->major, &end) && *end == ':' &&
	       whole_number(end + 1, &mount->minor);
}

/* Which mounts hear of each other's changes; words that later kernels may add are passed over. */
static bool read_tag(const char *word, struct proc_mount *mount)
{
	static const char shared[] = "shared:", master[] = "master:", from[] = "propagate_from:";

	if (strncmp(word, shared, strlen(shared)) == 0)
		return whole_number(word + strlen(shared), &mount->shared);
	if (strncmp(word, master, strlen(master)) == 0)
		return whole_number(word + strlen(master), &mount->slave_of);
	if (strncmp(word, from, strlen(from)) == 0)
		return whole_number(word + strlen(from), &mount->from);
	mount->unbindable |= strcmp(word, "unbindable") == 0;
	return true;
}

int proc_mount_parse(char *line, struct proc_mount *mount)
{
	char *word;

	memset(mount, 0, sizeof(*mount));
	if (!whole_number(next_word(&line), &mount->id) ||
	    !whole_number(next_word(&line), &mount->parent) ||
	    !read_device(next_word(&line), mount))
		return R_DAMAGED;
	mount->root = next_word(&line);
	mount->mountpoint = next_word(&line);
	mount->options = next_word(&line);
	while ((word = next_word(&line)) && strcmp(word, "-") != 0)
		if (!read_tag(word, mount))
			return R_DAMAGED;
	mount->type = next_word(&line);
	mount->source = next_word(&line);
	mount->options_behind = next_word(&line);
	if (!mount->options_behind)
		return R_DAMAGED;
	unescape(mount->root);
	unescape(mount->mountpoint);
	unescape(mount->type);
	unescape(mount->source);
	unescape(mount->options_behind);
	return R_OK;
}

static void add(struct image_writer *writer, const struct proc_mount *mount)
{
	SnapMountEntry entry = SNAP_MOUNT_ENTRY__INIT;

	entry.mnt_id = mount->id;
	entry.parent_mnt_id = mount->parent;
	entry.major = mount->major;
	entry.minor = mount->minor;
	entry.root = mount->root;
	entry.mountpoint = mount->mountpoint;
	entry.type = mount->type;
	entry.source = mount->source;
	entry.options = mount->options;
	entry.sb_options = mount->options_behind;
	entry.has_shared_id = mount->shared;
	entry.shared_id = mount->shared;
	entry.has_master_id = mount->slave_of;
	entry.master_id = mount->slave_of;
	entry.has_propagate_from = mount->from;
	entry.propagate_from = mount->from;
	entry.has_unbindable = mount->unbindable;
	entry.unbindable = mount->unbindable;
	image_add(writer, &entry.base);
}

int mounts_take(struct ingest *ingest, pid_t pid)
{
	char name[64], *text, *rest, *line;
	struct image_writer writer;
	struct proc_mount mount;
	size_t len;
	int rc = R_OK;

	snprintf(name, sizeof(name), "/proc/%d/mountinfo", pid);
	if (io_read_file(AT_FDCWD, name, MOUNTS_MAX_BYTES, &text, &len) != R_OK) {
		note("%s: %s; the generation does not tell what is mounted", name, strerror(errno));
		return R_OK;
	}
	image_writer_init(&writer, IMAGE_SNAP_MOUNTS);
	for (rest = text; rc == R_OK && (line = strsep(&rest, "\n")) && *line;) {
		rc = proc_mount_parse(line, &mount);
		if (rc == R_OK)
			add(&writer, &mount);
	}
	free(text);
	if (rc == R_DAMAGED) {
		note("%s is not what this version of snap understands; the generation does not "
		     "tell what is mounted",
		     name);
		image_writer_free(&writer);
		return R_OK;
	}
	rc = image_finish(&writer);
	if (rc == R_OK)
		rc = object_put(ingest, "snap-mounts", writer.data, writer.len);
	image_writer_free(&writer);
	return rc;
}
