#!/bin/bash
# The same with pre-dumps, each take compared with a full read.  ROUNDS=200 for all of them.
# timeout: 300
ROUNDS=${ROUNDS:-40} TAKE_OPTIONS="--track=wp --verify-tracking --pre-dump" exec "$(dirname "$0")/31-killed-200-times.sh"
