#!/bin/bash
# The same with clones: no clone is left either, dead or alive.
# timeout: 300
TAKE_OPTIONS=--capture=clone exec "$(dirname "$0")/31-killed-200-times.sh"
