"""A dispatcher that is killed at any place of making room leaves nothing half done: its successor goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import rundir
from tests.jobs.makingroom import PLACES

ROOT = Path(__file__).parents[2]


def run(home: Path, verb: str) -> subprocess.CompletedProcess[str]:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COOP_", "LLAMA_COOP_"))
    }
    env |= {
        "DJANGO_SETTINGS_MODULE": "coop_site.settings",
        "COOP_HOME": str(home),
        "COOP_GPUS": "simulated:8xA100-80G",
        "COOP_CONTAINMENT": "tag",
        "COOP_LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "tests.jobs.makingroom", verb]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def end_what_is_left(home: Path) -> None:
    """Nothing, unless a test has failed: a supervisor takes its job along."""
    for attempt in home.glob("jobs/*/attempts/*"):
        seen = rundir.observe(attempt)
        if seen.kind == "alive" and seen.claim is not None:
            os.kill(seen.claim["pid"], signal.SIGKILL)


pytestmark = pytest.mark.storm


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict:
    """What six pairs of jobs came to under a dispatcher that was killed once at each place."""
    home = tmp_path_factory.mktemp("home")
    assert run(home, "seed").returncode == 0
    deaths = 0
    try:
        while (ended := run(home, "dispatch")).returncode == -signal.SIGKILL:
            deaths += 1
            assert deaths <= len(PLACES), (home / "deaths").read_text()
        assert ended.returncode == 0, ended.stderr
        answer = json.loads(run(home, "tell").stdout)
        return answer | {"deaths": (home / "deaths").read_text().splitlines()}
    finally:
        end_what_is_left(home)


def test_it_was_killed_at_every_place(told):
    assert sorted(told["deaths"]) == sorted(PLACES)


@pytest.mark.parametrize("number", range(len(PLACES)), ids=PLACES)
def test_the_one_makes_room_once_and_comes_back_and_the_other_runs_once(told, number):
    victim, urgent = told["jobs"][f"victim-{number}"], told["jobs"][f"urgent-{number}"]
    assert (victim["state"], urgent["state"]) == ("SUCCEEDED", "SUCCEEDED")
    story = [kind for kind in victim["kinds"] if kind != "retry"]
    assert story.count("preempt") == story.count("requeue") == 1
    assert victim["outcomes"].count("preempted") == 1
    assert [lost for lost in victim["lost"] if lost is not None] == [pytest.approx(1, abs=20)]
    assert victim["ledger"] == ["run", "run"], "the same command, once more"
    assert urgent["ledger"] == ["run"], "and never beside each other"


def test_every_booking_was_given_back(told):
    assert told["booked"] == [0] * len(PLACES)
