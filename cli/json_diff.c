#include "cli/json_diff.h"

#include <stdbool.h>
#include <string.h>

/* Members that tell the objects of an array apart. */
static const char *const identities[] = { "fd", "tid", "pid", "start" };

static const char *identity_of(json_t *array)
{
	json_t *first = json_array_get(array, 0);

	for (size_t i = 0; json_is_object(first) && i < sizeof(identities) / sizeof(*identities);
	     i++)
		if (json_object_get(first, identities[i]))
			return identities[i];
	return NULL;
}

static json_t *find(json_t *array, const char *key, json_t *value)
{
	json_t *one;
	size_t i;

	json_array_foreach(array, i,
			   one) if (json_equal(json_object_get(one, key), value)) return one;
	return NULL;
}

static json_t *both(json_t *before, json_t *after)
{
	json_t *json = json_object();

	if (before)
		json_object_set(json, "before", before);
	if (after)
		json_object_set(json, "after", after);
	return json;
}

static json_t *diff_objects(json_t *before, json_t *after)
{
	json_t *json = json_object(), *value, *part;
	const char *key;

	json_object_foreach(before, key, value)
	{
		part = json_object_get(after, key) ? json_diff(value, json_object_get(after, key))
						   : both(value, NULL);
		if (part)
			json_object_set_new(json, key, part);
	}
	json_object_foreach(after, key, value) if (!json_object_get(before, key))
	    json_object_set_new(json, key, both(NULL, value));
	return json;
}

static void set_if_any(json_t *json, const char *key, json_t *array)
{
	if (json_array_size(array))
		json_object_set(json, key, array);
	json_decref(array);
}

static json_t *diff_lists(json_t *before, json_t *after, const char *key)
{
	json_t *added = json_array(), *removed = json_array(), *changed = json_array();
	json_t *json = json_object(), *one, *other, *part;
	size_t i;

	json_array_foreach(before, i, one)
	{
		other = find(after, key, json_object_get(one, key));
		if (!other) {
			json_array_append(removed, one);
			continue;
		}
		part = json_diff(one, other);
		if (!part)
			continue;
		json_object_set(part, key, json_object_get(one, key));
		json_array_append_new(changed, part);
	}
	json_array_foreach(after, i, one) if (!find(before, key, json_object_get(one, key)))
	    json_array_append(added, one);
	set_if_any(json, "added", added);
	set_if_any(json, "removed", removed);
	set_if_any(json, "changed", changed);
	return json;
}

json_t *json_diff(json_t *before, json_t *after)
{
	const char *key;

	if (json_equal(before, after))
		return NULL;
	if (json_is_object(before) && json_is_object(after))
		return diff_objects(before, after);
	key = json_is_array(before) && json_is_array(after)
		  ? identity_of(json_array_size(before) ? before : after)
		  : NULL;
	return key ? diff_lists(before, after, key) : both(before, after);
}
