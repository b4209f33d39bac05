#ifndef SNAP_CLI_DIFF_HTML_H
#define SNAP_CLI_DIFF_HTML_H

#include "cli/options.h"

struct store_view;

/* Writes the page of --html: of all generations of --name, or of the lineage of the two of --gen
 * those from the one to the other.  An exit code; everything is reported. */
int diff_html(const struct options *options, struct store_view *view);

#endif
