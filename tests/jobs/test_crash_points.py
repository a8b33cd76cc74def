"""Dying at any named place leaves an attempt that can be decided: it ran at most once, and nothing of it is left."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path

import pytest

from jobs.launch.crashpoints import VARIABLE, crash_point
from tests.jobs.launching import LaunchSite, possible_containments
from tests.waiting import wait_until

JOBS = Path(__file__).parents[2] / "jobs"
LAUNCH_SOURCES = [JOBS / "supervisor.py", JOBS / "launcher.py", *(JOBS / "launch").glob("*.py")]
UNCLAIMED = {"launcher.before_fork", "supervisor.before_lock", "supervisor.before_claim"}
GRACE_S = 0.7
RUNS = {
    "supervisor.after_go": {0, 1},
    "supervisor.tree_empty": {1},
    "supervisor.before_exit": {1},
    "supervisor.after_exit": {1},
}
"""How often the command may have begun before the crash; at all other points it never has."""
POINTS = sorted(
    {
        name
        for source in LAUNCH_SOURCES
        for name in re.findall(r'crash_point\("(.+?)"\)', source.read_text())
    }
)


@pytest.fixture
def site(tmp_path):
    made = LaunchSite(tmp_path)
    yield made
    made.close()


def test_there_are_crash_points_on_every_side_of_a_launch():
    assert {point.partition(".")[0] for point in POINTS} == {"launcher", "supervisor", "child"}
    assert len(POINTS) >= 10


@pytest.mark.parametrize("containment", possible_containments())
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_leaves_at_most_one_run_and_no_process(
    site, monkeypatch, point, containment
):
    monkeypatch.setenv(VARIABLE, point)
    mark = f"9{uuid.uuid4().int % 10**8:08d}"
    script = f"echo run >> ledger; (setsid sleep {mark} &); sleep 0.1"
    ref = site.start(script, containment=containment)
    patience = GRACE_S if point in UNCLAIMED else float("inf")
    deadline = time.monotonic() + patience
    kind = wait_until(lambda: decide(site, ref, deadline), what="the attempt to be decided")
    assert site.processes(mark) == frozenset()
    monkeypatch.delenv(VARIABLE)
    site.engine.close()
    site.engine.start(site.launch_of(script, ref=ref))
    site.run("true")
    runs = site.text("ledger").count("run")
    assert runs in RUNS.get(point, {0})
    assert (kind == "exited") == (point in {"supervisor.after_exit", "child.before_exec"})


def test_a_crash_point_does_nothing_when_it_is_not_named(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    crash_point("here")
    monkeypatch.setenv(VARIABLE, "there,here:0")
    crash_point("here")
    assert True, "this process lives"


def decide(site: LaunchSite, ref, overdue: float) -> str | None:
    """What a reconciler does with what it sees; the kind once the attempt is closed."""
    kind = site.engine.observe(ref).kind
    if kind == "unclaimed":
        return "revoked" if time.monotonic() > overdue and site.engine.revoke(ref) else None
    if kind == "dead":
        return "dead" if site.engine.reap(ref) else None
    return kind if kind in {"exited", "revoked"} else None
