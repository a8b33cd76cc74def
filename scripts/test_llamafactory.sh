#!/bin/bash
# A real fine-tune with a real LLaMA-Factory on the CPU: installs it once (1.6 GB) into .llamafactory, then runs the tests that use it.
set -eu
cd "$(dirname "$0")/.."
export LLAMAFACTORY_DIR=${LLAMAFACTORY_DIR:-$PWD/.llamafactory}
sh tests/llamafactory/setup.sh
COOP_LLAMAFACTORY=$LLAMAFACTORY_DIR/bin/llamafactory-cli .venv/bin/python -m pytest -m llamafactory "$@"
