/* The page of a change map. */
#include "cli/change_map.h"

#include "base/result.h"
#include "cli/output.h"

/* Shades of a cell: 0 for none, then in steps that tell a page from a tenth and that from all. */
static unsigned int shade(const struct map_cell *cell)
{
	double share = (double)cell->dirty / (double)cell->pages;

	if (!cell->dirty)
		return 0;
	return share < 0.01 ? 1 : share < 0.1 ? 2 : share < 0.3 ? 3 : share < 0.6 ? 4 : 5;
}

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<style>\n"
    ":root{--bg:#fff;--fg:#1c2430;--dim:#667085;--line:#dfe3ea;--gone:#f2f4f7;--s0:#e6ebf2;"
    "--s1:#fde2b8;--s2:#fbc06a;--s3:#f18f3b;--s4:#d95a22;--s5:#a52714}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#e4e8ee;--dim:#98a2b3;"
    "--line:#2b333f;--gone:#171c24;--s0:#26303d;--s1:#4a3a20;--s2:#7d5620;--s3:#b56b22;"
    "--s4:#e0812f;--s5:#ffb061}}\n"
    "body{margin:2rem auto;padding:0 1.5rem;max-width:80rem;background:var(--bg);color:var(--fg);"
    "font:15px/1.45 system-ui,sans-serif}\n"
    "h1{font-size:1.4rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .6rem}\n"
    "p{margin:.3rem 0;color:var(--dim)}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse}\n"
    "th{font-weight:600;text-align:left}\n"
    ".map{border-spacing:2px;border-collapse:separate}\n"
    ".map thead th{font-size:.8rem;font-weight:400;color:var(--dim);text-align:center}\n"
    ".map tbody th{font-weight:400;white-space:nowrap;padding-right:.8rem;max-width:26rem;"
    "overflow:hidden;text-overflow:ellipsis;position:sticky;left:0;background:var(--bg)}\n"
    ".map td{min-width:1.6rem;height:1.4rem;border-radius:3px;padding:0}\n"
    ".many td{min-width:.7rem}.many thead th{padding:0;font-size:.65rem}\n"
    ".map .task th{padding-top:.7rem;font-weight:600}\n"
    ".dim{color:var(--dim);font-size:.85em}\n"
    ".gone{background:var(--gone)}.s0{background:var(--s0)}.s1{background:var(--s1)}"
    ".s2{background:var(--s2)}.s3{background:var(--s3)}.s4{background:var(--s4)}"
    ".s5{background:var(--s5)}\n"
    ".first{background:none;box-shadow:inset 0 0 0 1px var(--line)}\n"
    ".key span{display:inline-block;margin:0 .9rem .2rem 0;white-space:nowrap}\n"
    ".key i{display:inline-block;width:1rem;height:1rem;border-radius:3px;margin-right:.3rem;"
    "vertical-align:-2px}\n"
    ".facts td,.facts th{padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--line);"
    "vertical-align:top}\n"
    ".facts .n{text-align:right;font-variant-numeric:tabular-nums}.facts .n,.facts .t{"
    "white-space:nowrap}\n"
    "code{font:.9em ui-monospace,monospace}\n"
    "@media (max-width:40rem){body{margin:1rem auto;padding:0 .8rem}.map tbody th{max-width:9rem}"
    ".map tbody code{display:none}.facts td,.facts th{padding-right:.6rem}}\n"
    "</style>\n";

/* Texts of a target are no part of the page: nothing in them is a tag, or steers anything. */
static void text(FILE *out, const char *from)
{
	for (; *from; from++) {
		unsigned char c = (unsigned char)*from;

		if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
			fprintf(out, "&#%u;", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			putc(c, out);
	}
}

static void name_of(FILE *out, const struct map_row *row)
{
	text(out, *row->name ? row->name : "anonymous");
}

static void write_cell(FILE *out, const struct change_map *map, const struct map_row *row, size_t i)
{
	const struct map_cell *cell = &row->cells[i];

	if (!cell->pages) {
		fprintf(out, "<td class=\"gone\" title=\"generation %llu: not mapped\"></td>",
			(unsigned long long)map->generations[i].number);
		return;
	}
	if (i == 0) {
		fprintf(
		    out,
		    "<td class=\"first\" title=\"generation %llu: %llu pages, the first\"></td>",
		    (unsigned long long)map->generations[i].number,
		    (unsigned long long)cell->pages);
		return;
	}
	fprintf(out,
		"<td class=\"s%u\" title=\"generation %llu: %llu of %llu pages changed\"></td>",
		shade(cell), (unsigned long long)map->generations[i].number,
		(unsigned long long)cell->dirty, (unsigned long long)cell->pages);
}

/* From here on cells are narrow, so that a page shows some sixty generations. */
#define MANY 24

static void write_key(FILE *out)
{
	static const struct {
		const char *class, *means;
	} keys[] = {
		{ "first", "the first" }, { "s0", "nothing" },	    { "s1", "less than 1%" },
		{ "s2", "to 10%" },	  { "s3", "to 30%" },	    { "s4", "to 60%" },
		{ "s5", "more" },	  { "gone", "not mapped" },
	};

	fprintf(out, "<h2>Map</h2>\n<p class=\"key\"><span>changed since the generation "
		     "before:</span> ");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		fprintf(out, "<span><i class=\"%s\"></i>%s</span> ", keys[i].class, keys[i].means);
	fprintf(out, "</p>\n");
}

/* Mappings that changed; those that never did would hide them. */
static void write_map(FILE *out, const struct change_map *map)
{
	uint32_t pid = 0;
	size_t still = 0;

	write_key(out);
	fprintf(out, "<div class=\"wide\"><table class=\"map%s\">\n<thead><tr><th></th>",
		map->n_generations > MANY ? " many" : "");
	for (size_t i = 0; i < map->n_generations; i++)
		fprintf(out, "<th scope=\"col\">%llu</th>",
			(unsigned long long)map->generations[i].number);
	fprintf(out, "</tr></thead>\n<tbody>\n");
	for (size_t r = 0; r < map->n_rows; r++) {
		const struct map_row *row = &map->rows[r];

		if (!row->dirty) {
			still++;
			continue;
		}
		if (row->pid != pid) {
			fprintf(out, "<tr class=\"task\"><th scope=\"rowgroup\">%u ", row->pid);
			text(out, row->task);
			fprintf(out, "</th></tr>\n");
			pid = row->pid;
		}
		fprintf(out, "<tr><th scope=\"row\">");
		name_of(out, row);
		fprintf(out, " <code class=\"dim\">%llx %s</code></th>",
			(unsigned long long)row->start, row->rights);
		for (size_t i = 0; i < map->n_generations; i++)
			write_cell(out, map, row, i);
		fprintf(out, "</tr>\n");
	}
	fprintf(out, "</tbody></table></div>\n<p>%zu mapping%s never changed.</p>\n", still,
		still == 1 ? "" : "s");
}

static void write_generations(FILE *out, const struct change_map *map)
{
	char time[WORDS_MAX], bytes[WORDS_MAX];

	fprintf(out,
		"<h2>Generations</h2>\n<div class=\"wide\"><table class=\"facts\">\n<thead><tr>"
		"<th>generation</th><th>time</th><th class=\"n\">tasks</th>"
		"<th class=\"n\">memory</th><th class=\"n\">changed</th></tr></thead>\n");
	for (size_t i = 0; i < map->n_generations; i++) {
		const struct generation *gen = &map->generations[i];
		uint64_t dirty = 0;
		char changed[WORDS_MAX];

		for (size_t r = 0; r < map->n_rows; r++)
			dirty += map->rows[r].cells[i].dirty;
		fprintf(out,
			"<tr><td>%llu</td><td class=\"t\">%s</td><td class=\"n\">%u</td><td "
			"class=\"n\">%s</td>"
			"<td class=\"n\">%s</td></tr>\n",
			(unsigned long long)gen->number, words_time(time, gen->time_ns), gen->tasks,
			words_bytes(bytes, gen->bytes_logical),
			i ? words_bytes(changed, dirty * PAGE_BYTES) : "");
	}
	fprintf(out, "</table></div>\n");
}

static void write_mappings(FILE *out, const struct change_map *map)
{
	char bytes[WORDS_MAX], changed[WORDS_MAX];

	fprintf(out, "<h2>Mappings</h2>\n<div class=\"wide\"><table class=\"facts\">\n<thead><tr>"
		     "<th class=\"n\">process</th><th>mapping</th><th>addresses</th><th>rights</th>"
		     "<th class=\"n\">size</th><th class=\"n\">changed in all</th></tr></thead>\n");
	for (size_t r = 0; r < map->n_rows; r++) {
		const struct map_row *row = &map->rows[r];

		fprintf(out, "<tr><td class=\"n\">%u</td><td>", row->pid);
		name_of(out, row);
		fprintf(out,
			"</td><td class=\"t\"><code>%llx-%llx</code></td><td><code>%s</code></td>"
			"<td class=\"n\">%s</td><td class=\"n\">%s</td></tr>\n",
			(unsigned long long)row->start, (unsigned long long)row->end, row->rights,
			words_bytes(bytes, row->end - row->start),
			row->dirty ? words_bytes(changed, row->dirty * PAGE_BYTES) : "-");
	}
	fprintf(out, "</table></div>\n");
}

int change_map_write(const struct change_map *map, FILE *out)
{
	const struct generation *first = &map->generations[0];

	fputs(head, out);
	fprintf(out, "<title>");
	text(out, first->lineage);
	fprintf(out, ": which memory changed</title>\n</head>\n<body>\n<h1>Which memory of ");
	text(out, first->lineage);
	fprintf(out,
		" changed</h1>\n<p>%zu generations, %llu to %llu. Rows are mappings, columns "
		"generations.</p>\n",
		map->n_generations, (unsigned long long)first->number,
		(unsigned long long)map->generations[map->n_generations - 1].number);
	write_map(out, map);
	write_generations(out, map);
	write_mappings(out, map);
	fprintf(out, "</body>\n</html>\n");
	return fflush(out) == 0 && !ferror(out) ? R_OK : R_FAILED;
}
