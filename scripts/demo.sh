#!/bin/bash
# A service of its own with simulated cards in ./var-demo, filled with invented projects and jobs, left in the foreground.
set -eu
cd "$(dirname "$0")/.."
export COOP_HOME=${COOP_HOME:-$PWD/var-demo}
export COOP_GPUS=${COOP_GPUS:-simulated:2xA100-80G,1xRTX4090-24G}
export COOP_SIM_SCENARIO=${COOP_SIM_SCENARIO:-$PWD/examples/demo/scenario.yaml}
export COOP_WORKDIR=${COOP_WORKDIR:-$PWD/examples/article}
export COOP_PORT=${COOP_PORT:-8910}

.venv/bin/python -m coop_site.serve &
service=$!
trap 'kill -TERM $service 2>/dev/null || true' INT TERM
if .venv/bin/python -m coop_site.serve --wait; then
    .venv/bin/python manage.py coopdemo || echo "demo: it could not be filled (see above); the service goes on." >&2
fi
# The first wait ends with a trapped signal, the second with the service.
wait $service || true
wait $service 2>/dev/null || true
