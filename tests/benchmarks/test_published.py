"""Published figures that our event loop and fleet reproduce. Needs the public traces: COOP_TRACES."""

from __future__ import annotations

import os

import pytest

from benchmarks import elasticflow, muri

pytestmark = pytest.mark.skipif(
    "COOP_TRACES" not in os.environ, reason="COOP_TRACES names no folder with the public traces"
)


@pytest.mark.parametrize("policy", muri.POLICIES)
def test_muris_baselines_come_out_as_published(policy):
    found = muri.measure(("trace3_pr", policy))
    theirs = muri.published()
    jct = theirs[policy, "avg_jct_s", "trace3_pr"]
    makespan = theirs[policy, "makespan_s", "trace3_pr"]
    assert found.jct == pytest.approx(jct, rel=muri.JCT_BARS[policy])
    assert found.makespan == pytest.approx(makespan, rel=muri.MAKESPAN_BAR)


def test_real_jobs_wait_as_the_order_says():
    fifo, greedy, easy = (
        elasticflow.measure(("06", policy)).figures for policy in ("fifo", "greedy", "easy")
    )
    assert fifo.finished == greedy.finished == easy.finished == 2396
    assert greedy.mean_jct_s < easy.mean_jct_s < fifo.mean_jct_s
    assert easy.max_wait_s_by_gpus["16+"] < 0.75 * greedy.max_wait_s_by_gpus["16+"]
