#!/bin/bash
# The same with tracking, each take compared with a full read: what a killed take leaves is never
# relied on.
# timeout: 300
TAKE_OPTIONS="--track=wp --verify-tracking" exec "$(dirname "$0")/31-killed-200-times.sh"
