#!/bin/bash
# All tests: the pages in a browser, then the data layer on PostgreSQL beside everything else on SQLite, with the kill storm.
# What this machine cannot do is named; with CI set, that is a failure.
set -u -o pipefail
cd "$(dirname "$0")/.."
failed=0
pytest() { .venv/bin/python -m pytest -q "$@"; }

# In a process of their own: Playwright leaves an event loop behind in which no other asynchronous test can run.
printf '\n== tests of the pages in a browser\n'
pytest -m browser || failed=1

# Beside each other: much of their time they wait for processes to start and to end.
told=$(mktemp)
scripts/with_postgres.sh .venv/bin/python -m pytest -q tests/jobs tests/gpus \
    -m "not (browser or storm or llamafactory or gpu or suspend)" >"$told" 2>&1 &
postgres=$!
trap 'kill "$postgres" 2>/dev/null; rm -f "$told"' EXIT

printf '\n== all other tests, on SQLite\n'
pytest -m "not (postgres or browser or llamafactory or gpu or suspend)" || failed=1

wait "$postgres"
status=$?
printf '\n== tests of the data layer on PostgreSQL\n'
cat "$told"
case $status in
    0) ;;
    75) if [ -n "${CI:-}" ]; then failed=1; else echo "Left out on this machine: the data layer on PostgreSQL."; fi ;;
    *) failed=1 ;;
esac
exit $failed
