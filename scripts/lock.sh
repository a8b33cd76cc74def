#!/bin/sh
# Writes the two lock files: every version pinned, every file by hash, for Python 3.11 and newer.
#   requirements.lock      what the service and the command line run with
#   requirements-dev.lock  the same and what checks and tests need
set -eu
cd "$(dirname "$0")/.."
. scripts/python.sh

if ! uv=$(find_uv); then
    echo "lock: needs uv; installing it into .venv"
    .venv/bin/pip install --quiet uv
    uv=.venv/bin/uv
fi

# No index address is written: who installs says where from.
compile() {
    "$uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --extra server --extra monitor --group build "$@"
}

compile --output-file requirements.lock
compile --group dev --constraint requirements.lock --output-file requirements-dev.lock
echo "lock: $(grep -c '==' requirements.lock) packages to run, $(grep -c '==' requirements-dev.lock) to develop"
