/* How long the matches of a regular expression can be. */
#ifndef SNAP_ENGINE_LOOK_REGEX_LENGTH_H
#define SNAP_ENGINE_LOOK_REGEX_LENGTH_H

#include <stddef.h>

/* Longer ones are as good as endless. */
#define REGEX_LONGEST_MAX 1024u

/*
 * How many bytes a match has at most, for expressions of which a match depends on nothing but its
 * own bytes: characters, ".", classes, groups, "|", "?", "{n}", "{n,m}".  0 for all others
 * (anchors, look-arounds, references, options, "*", "+", ...), for those that make no sense, and
 * for more than REGEX_LONGEST_MAX.
 */
size_t regex_longest(const char *pattern);

#endif
