#include "cli/options.h"

const struct command commands[] = { { 0 } };
