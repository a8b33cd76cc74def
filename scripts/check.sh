#!/bin/sh
# What CI runs. Everything is run even after a failure, so that one run tells all; the tests come last.
set -u
cd "$(dirname "$0")/.."
failed=0
scripts/lint.sh || failed=1
[ $failed = 0 ] || printf '\nThe checks above failed; the tests run nevertheless.\n'
scripts/test.sh || failed=1
[ $failed = 0 ] || echo "make check: FAILED (see above)" >&2
exit $failed
