#!/usr/bin/env bash
# Published tables on public traces where COOP_TRACES names them (else skipped by name), then the cost of a cycle.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python

missed=0
for table in fgd muri elasticflow; do
    if [[ -n "${COOP_TRACES:-}" ]]; then
        echo "== $table"
        "$python" -m "benchmarks.$table" --processes "$(nproc)" || missed=1
    else
        echo "== $table: skipped, COOP_TRACES names no traces (benchmarks/README.md)"
    fi
done
echo "== article"
"$python" -m benchmarks.article --part table
echo "== scale"
"$python" -m benchmarks.scale
exit "$missed"
