#!/bin/bash
# All tests: first those of the data layer once more on PostgreSQL, then everything on SQLite, with the pages in a browser and the
# kill storm. What this machine cannot do is named. With CI set, that is a failure.
set -u -o pipefail
cd "$(dirname "$0")/.."
failed=0
[ -n "${CI:-}" ] && export COOP_TESTS_REQUIRE_ALL=1

printf '\n== tests of the data layer on PostgreSQL\n'
scripts/with_postgres.sh .venv/bin/python -m pytest -q tests/jobs tests/gpus \
    -m "not (browser or storm or llamafactory or gpu)"
case $? in
    0) ;;
    75) if [ -n "${CI:-}" ]; then failed=1; else echo "Left out on this machine: the data layer on PostgreSQL."; fi ;;
    *) failed=1 ;;
esac

printf '\n== all tests on SQLite\n'
.venv/bin/python -m pytest -q -m "not (postgres or llamafactory or gpu)" "$@" || failed=1
exit $failed
