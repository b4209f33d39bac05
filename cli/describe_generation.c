/* What belongs to a generation as a whole, in JSON: figures of the take, mounts. */
#include "cli/describe.h"

#include "base/result.h"
#include "engine/exchange/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

static void set_number(json_t *json, const char *key, uint64_t value)
{
	json_object_set_new(json, key, json_integer((json_int_t)value));
}

/* CRIU counts in microseconds. */
static void set_time(json_t *json, const char *key, uint64_t microseconds)
{
	set_number(json, key, 1000 * microseconds);
}

static json_t *dump_statistics(const DumpStatsEntry *dump)
{
	json_t *json = json_object();

	set_time(json, "freezing_ns", dump->freezing_time);
	set_time(json, "frozen_ns", dump->frozen_time);
	set_time(json, "memdump_ns", dump->memdump_time);
	set_time(json, "memwrite_ns", dump->memwrite_time);
	set_number(json, "pages_scanned", dump->pages_scanned);
	set_number(json, "pages_skipped_parent", dump->pages_skipped_parent);
	set_number(json, "pages_written", dump->pages_written);
	set_number(json, "pages_lazy", dump->pages_lazy);
	if (dump->has_shpages_scanned)
		set_number(json, "shared_pages_scanned", dump->shpages_scanned);
	if (dump->has_shpages_skipped_parent)
		set_number(json, "shared_pages_skipped_parent", dump->shpages_skipped_parent);
	if (dump->has_shpages_written)
		set_number(json, "shared_pages_written", dump->shpages_written);
	return json;
}

static int add_dump(ProtobufCMessage *message, void *arg)
{
	const StatsEntry *stats = (const StatsEntry *)message;

	if (stats->dump)
		json_object_set_new(arg, "criu", dump_statistics(stats->dump));
	image_free_message(message);
	return R_OK;
}

int describe_statistics(const struct look *look, json_t **out)
{
	const struct generation *gen = &look->gen;
	json_t *json = json_object();
	int rc;

	set_number(json, "frozen_ns", gen->frozen_ns);
	set_number(json, "wall_ns", gen->wall_ns);
	set_number(json, "pages_scanned", gen->pages_scanned);
	set_number(json, "pages_new", gen->pages_new);
	set_number(json, "pages_shared", gen->pages_shared);
	set_number(json, "pages_zero", gen->pages_zero);
	set_number(json, "bytes_stored", gen->bytes_stored);
	rc = look_each_entry(look, IMAGE_STATS, EXCHANGE_PREFIX "stats-dump", add_dump, json);
	if (rc == R_OK) /* container engines put it beside the dump */
		rc = look_each_entry(look, IMAGE_STATS, EXCHANGE_ARCHIVE_PREFIX "stats-dump",
				     add_dump, json);
	if (rc != R_OK) {
		json_decref(json);
		return rc;
	}
	*out = json;
	return R_OK;
}

static const char *type_word(const MntEntry *mount)
{
	static const char *const words[] = {
		[FSTYPE__PROC] = "proc",
		[FSTYPE__SYSFS] = "sysfs",
		[FSTYPE__DEVTMPFS] = "devtmpfs",
		[FSTYPE__BINFMT_MISC] = "binfmt_misc",
		[FSTYPE__TMPFS] = "tmpfs",
		[FSTYPE__DEVPTS] = "devpts",
		[FSTYPE__SIMFS] = "simfs",
		[FSTYPE__PSTORE] = "pstore",
		[FSTYPE__SECURITYFS] = "securityfs",
		[FSTYPE__FUSECTL] = "fusectl",
		[FSTYPE__DEBUGFS] = "debugfs",
		[FSTYPE__CGROUP] = "cgroup",
		[FSTYPE__AUFS] = "aufs",
		[FSTYPE__MQUEUE] = "mqueue",
		[FSTYPE__FUSE] = "fuse",
		[FSTYPE__OVERLAYFS] = "overlay",
		[FSTYPE__AUTOFS] = "autofs",
		[FSTYPE__TRACEFS] = "tracefs",
		[FSTYPE__CGROUP2] = "cgroup2",
	};

	if (mount->fsname)
		return mount->fsname;
	if (mount->fstype < sizeof(words) / sizeof(words[0]) && words[mount->fstype])
		return words[mount->fstype];
	return "unknown";
}

/* What mount(8) would call the flags, those of the file system behind it among them. */
static json_t *options_of(const MntEntry *mount)
{
	static const struct {
		uint32_t flag;
		const char *word;
	} words[] = {
		{ MS_NOSUID, "nosuid" },	 { MS_NODEV, "nodev" },
		{ MS_NOEXEC, "noexec" },	 { MS_NOATIME, "noatime" },
		{ MS_NODIRATIME, "nodiratime" }, { MS_RELATIME, "relatime" },
	};
	uint32_t flags = mount->flags | (mount->has_sb_flags ? mount->sb_flags : 0);
	json_t *list = json_array();

	json_array_append_new(list, json_string(flags & MS_RDONLY ? "ro" : "rw"));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (flags & words[i].flag)
			json_array_append_new(list, json_string(words[i].word));
	if (*mount->options)
		json_array_append_new(list, describe_text(mount->options, strlen(mount->options)));
	return list;
}

static void set_text(json_t *json, const char *key, const char *text)
{
	json_object_set_new(json, key, describe_text(text, strlen(text)));
}

/* Of the image being read. */
struct mounts {
	const struct look *look;
	uint32_t namespace_id;
	json_t *list;
};

/* CRIU leaves the slash at the beginning out. */
static json_t *mountpoint(const char *path)
{
	size_t len = strlen(path), skip = *path == '.' && (path[1] == '/' || !path[1]);
	char *whole = malloc(len + 2);
	json_t *text = NULL;

	if (whole) {
		snprintf(whole, len + 2, "%s%s", path[skip] == '/' ? "" : "/", path + skip);
		text = describe_text(whole, strlen(whole));
	}
	free(whole);
	return text;
}

static int add_mount(ProtobufCMessage *message, void *arg)
{
	const MntEntry *mount = (const MntEntry *)message;
	struct mounts *m = arg;
	json_t *json = json_object();

	json_object_set_new(json, "mountpoint", mountpoint(mount->mountpoint));
	set_text(json, "type", type_word(mount));
	set_text(json, "source", mount->source);
	set_text(json, "root", mount->root);
	json_object_set_new(json, "options", options_of(mount));
	set_number(json, "id", mount->mnt_id);
	set_number(json, "parent", mount->parent_mnt_id);
	set_number(json, "namespace", m->namespace_id);
	if (mount->has_shared_id && mount->shared_id)
		set_number(json, "shared", mount->shared_id);
	if (mount->has_master_id && mount->master_id)
		set_number(json, "slave_of", mount->master_id);
	if (mount->ext_mount || mount->ext_key)
		json_object_set_new(json, "external", json_true());
	image_free_message(message);
	return json_array_append_new(m->list, json) == 0 ? R_OK : R_FAILED;
}

/* Each of the words that commas part; of a file system that is read-only, the mount is too. */
static json_t *own_options(const SnapMountEntry *mount)
{
	const char *at = mount->options,
		   *behind = mount->sb_options + strcspn(mount->sb_options, ",");
	bool read_only =
	    strncmp(mount->sb_options, "ro", 2) == 0 && behind - mount->sb_options == 2;
	json_t *list = json_array();

	while (*at) {
		size_t len = strcspn(at, ",");

		if (read_only && len == 2 && strncmp(at, "rw", 2) == 0)
			json_array_append_new(list, json_string("ro"));
		else
			json_array_append_new(list, describe_text(at, len));
		at += len + (at[len] == ',');
	}
	if (*behind)
		json_array_append_new(list, describe_text(behind + 1, strlen(behind + 1)));
	return list;
}

/* Of a take: what the root of the tree saw mounted. */
static int add_own_mount(ProtobufCMessage *message, void *arg)
{
	const SnapMountEntry *mount = (const SnapMountEntry *)message;
	struct mounts *m = arg;
	json_t *json = json_object();

	set_text(json, "mountpoint", mount->mountpoint);
	set_text(json, "type", mount->type);
	set_text(json, "source", mount->source);
	set_text(json, "root", mount->root);
	json_object_set_new(json, "options", own_options(mount));
	set_number(json, "id", mount->mnt_id);
	set_number(json, "parent", mount->parent_mnt_id);
	if (mount->shared_id)
		set_number(json, "shared", mount->shared_id);
	if (mount->master_id)
		set_number(json, "slave_of", mount->master_id);
	image_free_message(message);
	return json_array_append_new(m->list, json) == 0 ? R_OK : R_FAILED;
}

static int look_at_object(const char *name, const struct object *object, void *arg)
{
	static const char prefix[] = "mountpoints-";
	struct mounts *m = arg;

	(void)object;
	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return R_OK;
	m->namespace_id = (uint32_t)strtoul(name + strlen(prefix), NULL, 10);
	return look_each_entry(m->look, IMAGE_MOUNTPOINTS, name, add_mount, m);
}

int describe_mounts(const struct look *look, json_t **out)
{
	struct mounts m = { .look = look, .list = json_array() };
	int rc = store_object_each(look->view, look->gen.number, look_at_object, &m);

	if (rc == R_OK)
		rc = look_each_entry(look, IMAGE_SNAP_MOUNTS, "snap-mounts", add_own_mount, &m);
	if (rc != R_OK) {
		json_decref(m.list);
		return rc;
	}
	*out = m.list;
	return R_OK;
}
