#!/bin/sh
# Style, types, layers, and migrations that match the models. All are run; the first failure decides the exit code.
set -u
cd "$(dirname "$0")/.."
failed=0

say() { printf '\n== %s\n' "$1"; }
check() {
    say "$1"; shift
    "$@" || failed=1
}

COOP_HOME=$(mktemp -d); export COOP_HOME
trap 'rm -rf "$COOP_HOME"' EXIT
check "style" .venv/bin/ruff check .
check "format" .venv/bin/ruff format --check .
check "types" .venv/bin/mypy
check "layers" .venv/bin/lint-imports --no-cache
check "migrations" .venv/bin/python manage.py makemigrations --check --dry-run
check "deployment" .venv/bin/python manage.py check
exit $failed
