#include "cli/commands.h"

#include "base/result.h"
#include "base/warn.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/secrets.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *method_word(enum key_method method)
{
	return method == KEY_PASSPHRASE ? "passphrase" : method == KEY_IN_FILE ? "file" : "store";
}

static void id_text(const struct key_status *status, char text[2 * KEY_ID_BYTES + 1])
{
	for (size_t i = 0; i < KEY_ID_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", status->id[i]);
}

static int json_status(const struct key_status *status)
{
	char id[2 * KEY_ID_BYTES + 1];
	json_t *object;

	id_text(status, id);
	object =
	    json_pack("{s:b, s:s, s:s, s:I}", "key", true, "method", method_word(status->method),
		      "id", id, "data_keys", (json_int_t)status->data_keys);
	if (object && status->method != KEY_PASSPHRASE) {
		json_object_set_new(object, "file", json_string(status->file));
		json_object_set_new(object, "available", json_boolean(status->available));
	}
	return output_json(object);
}

/* What is to be said of the key file, whose name may be one below the store's folder. */
static void print_file(const struct options *o, const struct key_status *status, const char *id)
{
	char path[2 * KEY_PATH_MAX];
	bool own = *status->file != '/';

	snprintf(path, sizeof(path), "%s%s%s", own ? o->store_dir : "", own ? "/" : "",
		 status->file);
	printf("key %s, in %s: %s\n", id, path,
	       status->available ? "there"
	       : access(path, F_OK) == 0
		   ? "there, but of no use: another key, or others may read it"
		   : "missing");
}

static void print_status(const struct options *o, const struct key_status *status)
{
	char id[2 * KEY_ID_BYTES + 1];

	id_text(status, id);
	if (status->method == KEY_PASSPHRASE)
		printf("key %s, of a passphrase\n", id);
	else
		print_file(o, status, id);
	printf("%zu data key%s\n", status->data_keys, status->data_keys == 1 ? "" : "s");
	if (status->method == KEY_IN_STORE)
		note("the key lies beside what it protects: whoever gets a copy of the whole "
		     "folder can read its secrets");
}

static int show_status(const struct options *options)
{
	struct key_source source = secrets_source(options, false);
	struct key_status status;
	struct store_view *view;
	struct store *store;
	int result = open_to_read(options, &store, &view);

	if (result != R_OK)
		return exit_code_of(result);
	result = store_keys_status(store, &source, &status);
	close_reading(store, view);
	if (result == R_NOT_FOUND && options->json)
		return output_json(json_pack("{s:b}", "key", false));
	if (result == R_NOT_FOUND) {
		printf("no key yet: the first take of secret memory makes one\n");
		return EXIT_DONE;
	}
	if (result != R_OK)
		return exit_code_of(result);
	if (options->json)
		return json_status(&status);
	print_status(options, &status);
	return EXIT_DONE;
}

static enum key_method new_method(const struct options *o)
{
	if (o->new_key_file)
		return KEY_IN_FILE;
	return o->new_passphrase || o->new_passphrase_fd || o->new_passphrase_file ? KEY_PASSPHRASE
										   : KEY_IN_STORE;
}

/* Without a word about the new one it is kept as the old one was. */
static int rotate_in(const struct options *options, struct store *store, struct key_status *status)
{
	struct key_source old = secrets_source(options, false);
	struct key_source new = secrets_source(options, true);
	enum key_method method = new_method(options);
	int result = store_keys_status(store, &old, status);

	if (result == R_NOT_FOUND) {
		warn("%s has no key to change; snap init gives it one", options->store_dir);
		return R_NOT_FOUND;
	}
	if (result != R_OK)
		return result;
	if (method == KEY_IN_STORE && !options->new_in_store) {
		method = status->method;
		if (method == KEY_IN_FILE)
			new.file = status->file;
	}
	result = store_keys_rotate(store, &old, method, &new);
	return result == R_OK ? store_keys_status(store, &new, status) : result;
}

static int rotate(const struct options *options)
{
	struct key_status status;
	struct store *store;
	int result = open_to_write(options, false, &store);

	if (result != R_OK)
		return exit_code_of(result);
	result = rotate_in(options, store, &status);
	store_close(store);
	if (result != R_OK)
		return exit_code_of(result);
	if (options->json)
		return json_status(&status);
	if (!options->quiet)
		print_status(options, &status);
	return EXIT_DONE;
}

int cmd_key(const struct options *options)
{
	return strcmp(options->verb, "rotate") == 0 ? rotate(options) : show_status(options);
}
