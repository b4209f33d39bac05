/* JSON as a tree for people. */
#ifndef SNAP_CLI_TREE_TEXT_H
#define SNAP_CLI_TREE_TEXT_H

#include <jansson.h>

/* Prints what is below a value, each line drawn as a branch behind `indent`.  Objects in an array
 * are headed by what they hold of plain values. */
void tree_text(const char *indent, json_t *value);

/* Prints an object's plain values on one line: "pid 12, name sh". */
void tree_text_line(json_t *object);

/* Prints a text of unknown origin, control characters as "\xNN". */
void tree_text_string(const char *text);

#endif
