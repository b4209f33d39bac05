/* snap image x: what the images tell together, as text in the form of crit or as JSON. */
#include "cli/commands.h"

#include "base/result.h"
#include "cli/exit_codes.h"
#include "cli/image_explore.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

static long long number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

static bool has_parent(const json_t *list, const json_t *process)
{
	const json_t *other;
	size_t i;

	json_array_foreach((json_t *)list, i,
			   other) if (number(other, "pid") == number(process, "ppid")) return true;
	return false;
}

/* As deep as there are processes at most, should they be each other's parents. */
static void print_ps(const json_t *list, const json_t *process, size_t depth)
{
	const json_t *other;
	size_t i;

	printf("%7lld%7lld%7lld   %*s%s\n", number(process, "pid"), number(process, "pgid"),
	       number(process, "sid"), (int)(4 * depth), "", text(process, "comm"));
	if (depth > json_array_size(list))
		return;
	json_array_foreach((json_t *)list, i,
			   other) if (other != process &&
				      number(other, "ppid") == number(process, "pid"))
	    print_ps(list, other, depth + 1);
}

static void print_fds(const json_t *process)
{
	const json_t *fd;
	size_t i;

	printf("%lld\n", number(process, "pid"));
	json_array_foreach(json_object_get(process, "fds"), i, fd)
	    printf("\t%7lld: %s\n", number(fd, "fd"), text(fd, "file"));
	printf("\t%7s: %s\n", "cwd", text(process, "cwd"));
	printf("\t%7s: %s\n", "root", text(process, "root"));
}

static void print_mems(const json_t *process)
{
	const json_t *m;
	size_t i;

	printf("%lld\n\t%-36s    %s\n", number(process, "pid"), "exe", text(process, "exe"));
	json_array_foreach(json_object_get(process, "mappings"), i, m)
	{
		char range[50];

		snprintf(range, sizeof(range), "%s-%s", text(m, "start"), text(m, "end"));
		printf("\t%-36s%s%s%s\n", range, text(m, "prot"), *text(m, "what") ? " " : "",
		       text(m, "what"));
	}
}

static void print_rss(const json_t *process)
{
	const json_t *run, *m;
	size_t i, k;

	printf("%lld\n", number(process, "pid"));
	json_array_foreach(json_object_get(process, "runs"), i, run)
	{
		char pages[60];

		snprintf(pages, sizeof(pages), "\t%s / %-8lld", text(run, "start"),
			 number(run, "pages"));
		printf("%-24s", pages);
		json_array_foreach(json_object_get(run, "mappings"), k, m)
		{
			const char *file = text(m, "file");

			if (json_is_true(json_object_get(m, "again")))
				printf(" ~");
			else
				printf(" %s / %-8lld%s%s", text(m, "start"), number(m, "pages"),
				       *file ? " " : "", file);
			printf("\n\t%23s", "");
		}
		printf("\n");
	}
}

static void print_sk(const json_t *process)
{
	const json_t *sk;
	size_t i;

	printf("%lld\n", number(process, "pid"));
	json_array_foreach(json_object_get(process, "sockets"), i, sk)
	    printf("\t%7lld: %-15s %-12s %s -> %s\n", number(sk, "fd"), text(sk, "kind"),
		   text(sk, "state"), text(sk, "local"), text(sk, "peer"));
}

static void print_processes(const json_t *list)
{
	const json_t *process;
	size_t i;

	printf("%7s%7s%7s   %s\n", "PID", "PGID", "SID", "COMM");
	json_array_foreach((json_t *)list, i, process) if (!has_parent(list, process))
	    print_ps(list, process, 0);
}

static const struct view {
	const char *name, *alias;
	int (*explore)(const struct exploring *e, json_t **list);
	void (*print)(const json_t *process); /* NULL: the list as a whole */
} views[] = {
	{ "ps", "ps", explore_ps, NULL },
	{ "fds", "fd", explore_fds, print_fds },
	{ "mems", "mem", explore_mems, print_mems },
	{ "rss", "rss", explore_rss, print_rss },
	{ "sk", "sk", explore_sk, print_sk },
};

static const struct view *find_view(const char *name)
{
	size_t i = 0;

	/* check_explore() has seen to it that it is one of them. */
	while (strcmp(views[i].name, name) != 0 && strcmp(views[i].alias, name) != 0)
		i++;
	return &views[i];
}

static void print_list(const struct view *view, const json_t *list)
{
	const json_t *process;
	size_t i;

	if (!view->print)
		print_processes(list);
	else
		json_array_foreach((json_t *)list, i, process) view->print(process);
}

int cmd_image_x(const struct options *options)
{
	const struct view *view = find_view(options->operands[options->n_operands - 1]);
	struct image_source source;
	struct exploring e = { .source = &source };
	json_t *list = NULL;
	int result;

	result = image_source_open(options, options->operands[0], &source);
	if (result != R_OK)
		return exit_code_of(result);
	result = read_entries(&source, IMAGE_PSTREE, "pstree", false, &e.processes, &e.n_processes);
	if (result == R_OK)
		result = read_entries(&source, IMAGE_FILES, "files", true, &e.files, &e.n_files);
	if (result == R_OK)
		result = view->explore(&e, &list);
	free_entries(e.processes, e.n_processes);
	free_entries(e.files, e.n_files);
	image_source_close(&source);
	if (result == R_OK && options->json)
		return output_json(list);
	if (result == R_OK)
		print_list(view, list);
	json_decref(list);
	return exit_code_of(result);
}
