/* What a checkpoint archive tells of its container, in JSON. */
#include "cli/describe.h"

#include "base/result.h"
#include "base/warn.h"
#include "engine/exchange/exchange.h"

#include <stdlib.h>
#include <string.h>

/* What an engine writes has a few KiB; more is not looked at. */
#define MEMBER_MAX_BYTES ((uint64_t)16 << 20)

/* Where the engines put what (checkpointctl's internal/container.go reads the same). */
#define MANAGER "io.container.manager"
#define CRIO "io.kubernetes.cri-o."
#define CONTAINERD "io.kubernetes.cri."

/* A member as JSON.  *json is NULL if there is none, or it is no object.  R_OK or reported. */
static int load(const struct look *look, const char *member, json_t **json)
{
	struct object object;
	json_error_t error;
	void *data;
	size_t len;
	int rc = store_object(look->view, look->gen.number, member, &object);

	*json = NULL;
	if (rc == R_NOT_FOUND)
		return R_OK;
	if (rc == R_OK && object.length_bytes > MEMBER_MAX_BYTES) {
		note("%s is too long to be looked at", member);
		return R_OK;
	}
	if (rc == R_OK)
		rc = store_read_object(look->view, &object, &data, &len);
	if (rc != R_OK)
		return rc;
	*json = json_loadb(data, len, 0, &error);
	free(data);
	if (json_is_object(*json))
		return R_OK;
	note("%s is not understood: %s", member, *json ? "no JSON object" : error.text);
	json_decref(*json);
	*json = NULL;
	return R_OK;
}

/* Takes over text that is there and not empty. */
static void copy(json_t *to, const char *key, const json_t *from, const char *from_key)
{
	json_t *text = json_object_get(from, from_key);

	if (json_is_string(text) && json_string_length(text))
		json_object_set(to, key, text);
}

static void add_crio(json_t *container, const json_t *notes)
{
	const char *text = json_string_value(json_object_get(notes, CRIO "Metadata"));
	json_t *metadata = text ? json_loads(text, 0, NULL) : NULL;

	json_object_set_new(container, "engine", json_string("CRI-O"));
	copy(container, "name", metadata, "name");
	copy(container, "created", notes, CRIO "Created");
	copy(container, "address", notes, CRIO "IP.0");
	copy(container, "namespace", notes, "io.kubernetes.pod.namespace");
	copy(container, "pod", notes, "io.kubernetes.pod.name");
	json_decref(metadata);
}

static void add_containerd(json_t *container, const json_t *notes)
{
	json_object_set_new(container, "engine", json_string("containerd"));
	copy(container, "name", notes, CONTAINERD "container-name");
	copy(container, "namespace", notes, CONTAINERD "sandbox-namespace");
	copy(container, "pod", notes, CONTAINERD "sandbox-name");
}

static void add_engine(json_t *container, const json_t *spec)
{
	const json_t *notes = json_object_get(spec, "annotations");
	const char *manager = json_string_value(json_object_get(notes, MANAGER));

	if (manager && strcmp(manager, "libpod") == 0)
		json_object_set_new(container, "engine", json_string("Podman"));
	else if (manager && strcmp(manager, "snap") == 0)
		json_object_set_new(container, "engine", json_string("snap"));
	else if (manager && strcmp(manager, "cri-o") == 0)
		add_crio(container, notes);
	else if (json_is_object(notes))
		add_containerd(container, notes);
}

static void add_interfaces(json_t *list, const char *network, const json_t *interfaces)
{
	const char *name;
	json_t *interface, *subnet;
	size_t i;

	json_object_foreach((json_t *)interfaces, name, interface)
	{
		json_t *one = json_object(), *addresses = json_array();

		json_object_set_new(one, "network", json_string(network));
		json_object_set_new(one, "interface", json_string(name));
		copy(one, "mac", interface, "mac_address");
		json_array_foreach(json_object_get(interface, "subnets"), i, subnet)
		{
			json_t *address = json_object();

			copy(address, "address", subnet, "ipnet");
			copy(address, "gateway", subnet, "gateway");
			json_array_append_new(addresses, address);
		}
		json_object_set_new(one, "addresses", addresses);
		json_array_append_new(list, one);
	}
}

static int add_networks(const struct look *look, json_t *container)
{
	json_t *status, *network, *list;
	const char *name;
	int rc = load(look, EXCHANGE_ARCHIVE_PREFIX "network.status", &status);

	if (rc != R_OK || !status)
		return rc;
	list = json_array();
	json_object_foreach(status, name, network)
	    add_interfaces(list, name, json_object_get(network, "interfaces"));
	json_object_set_new(container, "networks", list);
	json_decref(status);
	return R_OK;
}

static int add_root_size(const struct look *look, json_t *container)
{
	struct object object;
	int rc = store_object(look->view, look->gen.number,
			      EXCHANGE_ARCHIVE_PREFIX "rootfs-diff.tar", &object);

	if (rc == R_OK)
		json_object_set_new(container, "bytes_rootfs_diff",
				    json_integer((json_int_t)object.length_bytes));
	return rc == R_NOT_FOUND ? R_OK : rc;
}

int describe_container(const struct look *look, json_t **out)
{
	json_t *container, *config, *spec = NULL;
	int rc = load(look, EXCHANGE_ARCHIVE_PREFIX "config.dump", &config);

	*out = NULL;
	if (rc == R_OK)
		rc = load(look, EXCHANGE_ARCHIVE_PREFIX "spec.dump", &spec);
	if (rc != R_OK || (!config && !spec)) {
		json_decref(config);
		return rc;
	}
	container = json_object();
	copy(container, "name", config, "name");
	copy(container, "id", config, "id");
	copy(container, "image", config, "rootfsImageName");
	copy(container, "runtime", config, "runtime");
	copy(container, "created", config, "createdTime");
	copy(container, "checkpointed", config, "checkpointedTime");
	add_engine(container, spec);
	rc = add_networks(look, container);
	if (rc == R_OK)
		rc = add_root_size(look, container);
	json_decref(config);
	json_decref(spec);
	if (rc == R_OK)
		*out = container;
	else
		json_decref(container);
	return rc;
}
