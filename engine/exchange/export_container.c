/* What an archive tells of the container beside the dump: what was imported, or for a generation of
 * a take as much as checkpointctl asks for. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/export_internal.h"
#include "engine/exchange/tar_out.h"
#include "engine/image/image.h"

#define SECOND_NS 1000000000ll
#define TEXT_BYTES 1024
/* Of dump_uptime and the start of processes. */
#define TICK_NS 10000000ll
#define STATS_FILE "stats-dump"

/* As JSON has times. */
static const char *words(int64_t ns, char text[64])
{
	time_t seconds = (time_t)(ns / SECOND_NS);
	struct tm tm;
	size_t len = 0;

	if (gmtime_r(&seconds, &tm))
		len = strftime(text, 64, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, 64 - len, ".%09lldZ", (long long)(ns % SECOND_NS));
	return text;
}

/* When the root was started, 0 if that is not known. */
static int64_t root_started(struct export_dir *ex)
{
	ProtobufCMessage *message;
	const InventoryEntry *entry;
	int64_t ago = -1;

	if (!ex->gen->root_start ||
	    export_read_one(ex, IMAGE_INVENTORY, "inventory", &message) != R_OK)
		return 0;
	entry = (const InventoryEntry *)message;
	if (entry->has_dump_uptime && entry->dump_uptime >= ex->gen->root_start)
		ago = (int64_t)(entry->dump_uptime - ex->gen->root_start) * TICK_NS;
	image_free_message(message);
	return ago < 0 ? 0 : ex->gen->time_ns - ago;
}

/* Names of lineages need no quoting. */
static int put_config(struct export_dir *ex)
{
	const struct generation *gen = ex->gen;
	int64_t started = root_started(ex);
	char text[TEXT_BYTES], created[64], taken[64];
	int len =
	    snprintf(text, sizeof(text),
		     "{\n  \"id\": \"%s-%" PRIu64 "\",\n  \"name\": \"%s\",\n"
		     "  \"runtime\": \"snap\",\n  \"engine\": \"snap\",\n%s%s%s"
		     "  \"checkpointedTime\": \"%s\",\n"
		     "  \"restoredTime\": \"0001-01-01T00:00:00Z\",\n"
		     "  \"restored\": false\n}\n",
		     gen->lineage, gen->number, gen->lineage,
		     started ? "  \"createdTime\": \"" : "", started ? words(started, created) : "",
		     started ? "\",\n" : "", words(gen->time_ns, taken));

	return tar_out_bytes(ex->tar, "config.dump", text, (size_t)len);
}

/* checkpointctl takes what it does not know for containerd, which has the name here. */
static int put_spec(struct export_dir *ex)
{
	char text[TEXT_BYTES];
	int len = snprintf(text, sizeof(text),
			   "{\n  \"ociVersion\": \"1.0.2\",\n  \"annotations\": {\n"
			   "    \"io.container.manager\": \"snap\",\n"
			   "    \"io.kubernetes.cri.container-name\": \"%s\"\n  }\n}\n",
			   ex->gen->lineage);

	return tar_out_bytes(ex->tar, "spec.dump", text, (size_t)len);
}

/* Through a file without name, as its length comes first. */
static int put_kept(struct export_dir *ex, const char *object_name, const struct object *object,
		    const char *member)
{
	const char *prefix = ex->prefix;
	int rc;

	ex->prefix = "";
	rc = export_object(ex, object_name, object, member);
	ex->prefix = prefix;
	return rc;
}

/* Beside the dump, where container engines put it. */
static int put_statistics(struct export_dir *ex)
{
	const char *prefix = ex->prefix;
	int rc;

	ex->prefix = "";
	rc = export_statistics(ex);
	ex->prefix = prefix;
	return rc;
}

struct keeping {
	struct export_dir *ex;
	bool config, spec;
};

static int keep_one(const char *name, const struct object *object, void *arg)
{
	struct keeping *k = arg;
	const char *member = name + strlen(EXCHANGE_ARCHIVE_PREFIX);

	if (strncmp(name, EXCHANGE_ARCHIVE_PREFIX, strlen(EXCHANGE_ARCHIVE_PREFIX)) != 0)
		return R_OK;
	k->config |= strcmp(member, "config.dump") == 0;
	k->spec |= strcmp(member, "spec.dump") == 0;
	return put_kept(k->ex, name, object, member);
}

int export_container(struct export_dir *ex)
{
	struct keeping k = { .ex = ex };
	int rc = store_object_each(ex->view, ex->gen->number, keep_one, &k);

	if (rc == R_OK && !k.config)
		rc = put_config(ex);
	if (rc == R_OK && !k.spec)
		rc = put_spec(ex);
	return rc;
}

int export_container_statistics(struct export_dir *ex)
{
	struct object object;
	int rc =
	    store_object(ex->view, ex->gen->number, EXCHANGE_ARCHIVE_PREFIX STATS_FILE, &object);

	if (rc != R_NOT_FOUND)
		return rc;
	rc = store_object(ex->view, ex->gen->number, EXCHANGE_PREFIX STATS_FILE, &object);
	if (rc == R_OK)
		return put_kept(ex, EXCHANGE_PREFIX STATS_FILE, &object, STATS_FILE);
	return rc == R_NOT_FOUND ? put_statistics(ex) : rc;
}
