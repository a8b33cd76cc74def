"""The promise under kills: no job lost, no attempt started twice, no process left, no byte promised twice."""

from __future__ import annotations

import os

import pytest

from tests.jobs.launching import possible_containments
from tests.storm import inside
from tests.storm.storm import rage

pytestmark = pytest.mark.storm

KILLS = int(os.environ.get("COOP_STORM_KILLS", "100"))
CONTAINED = possible_containments()[0] != "tag"


def test_a_storm_of_kills_breaks_no_promise(capsys):
    report = rage(jobs=KILLS * 3 // 2, seed=7, kills=KILLS, seconds=180, hide=CONTAINED)
    with capsys.disabled():
        print(f"\n{report.table()}")
        if not CONTAINED:
            print(
                "No cgroup v2 and no PID namespace here: that nothing escapes is not promised, and not tested."
            )
    assert report.broken() == {}
    assert report.integrity == "ok"
    assert report.killed >= KILLS


def test_the_audit_notices_when_nobody_has_to_win_a_claim():
    report = rage(
        jobs=60,
        seed=1,
        kills=300,
        seconds=90,
        mutant=inside.NO_CLAIM,
        victims={"supervisor": 1, "job": 1},
        until=lambda storm, _: storm.started_twice(),
    )
    assert "started twice" in report.broken()


def test_the_audit_notices_when_bytes_are_freed_before_the_tree_has_ended():
    report = rage(
        jobs=60,
        seed=2,
        kills=300,
        seconds=90,
        mutant=inside.FREE_EARLY,
        victims={"supervisor": 1},
        until=lambda _, auditor: auditor.findings.over and auditor.findings.without_open_attempt,
    )
    assert {"bytes over", "orphans", "without an open attempt"} <= report.broken().keys()


def test_the_audit_notices_when_a_job_runs_before_its_attempt_is_committed():
    report = rage(
        jobs=30,
        seed=3,
        kills=300,
        seconds=90,
        mutant=inside.EXEC_EARLY,
        victims={"dispatcher": 1, "supervisor": 1},
        until=lambda _, auditor: auditor.findings.without_open_attempt,
    )
    assert "without an open attempt" in report.broken()
