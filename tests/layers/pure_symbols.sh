#!/usr/bin/env bash
# The pure layers take no clock, no chance, no heap, no file and no log from
# anywhere: none of these symbols may be wanted by their objects.
set -euo pipefail
forbidden='^(clock_gettime|clock_ms|clock_pair_now|clock_wall_us|time|gettimeofday|malloc|calloc|realloc|free|xmalloc|xrealloc|xstrdup|open|openat|fopen|read|write|socket|rng_system|getrandom|rand|random|log_write|getenv|pthread_.*|uv_.*|PQ.*)$'
status=0
for archive in "$@"; do
    found=$(nm -u "$archive" | awk 'NF == 2 {print $2}' | sort -u | grep -E "$forbidden" || true)
    if [ -n "$found" ]; then
        printf '%s uses what a pure layer must not:\n%s\n' "$archive" "$found"
        status=1
    fi
done
exit $status
