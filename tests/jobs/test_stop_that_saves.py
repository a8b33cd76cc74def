"""A stop that lets a training save: who hears the signal, who does not, and that nothing outlives the grace."""

from __future__ import annotations

import json
import uuid

import pytest

from jobs import rundir
from jobs.engines.base import SAVE, STOP
from tests.jobs.launching import LaunchSite, possible_containments
from tests.waiting import wait_until

GRACE_S = 10.0
LOOP = "while :; do sleep 0.02; done"
LOADER = f"(trap 'echo loader >> told; exit 0' TERM; touch loader-$1; {LOOP}) &"
RANK = f"trap 'sleep 0.2; echo rank-$1 >> told; exit 0' TERM; {LOADER} touch rank-$1; {LOOP}"


@pytest.fixture(params=["cgroup", "pidns", "tag"])
def containment(request) -> str:
    if request.param not in possible_containments():
        pytest.skip(f"{request.param} cannot be had on this machine")
    return request.param


@pytest.fixture
def site(tmp_path):
    made = LaunchSite(tmp_path)
    yield made
    made.close()


def ranks_of(site: LaunchSite, ignoring: str = "") -> str:
    """A command that starts two ranks as torchrun does, waits for them, and tells when it is signalled itself."""
    (site.home / "rank.sh").write_text(ignoring + RANK)
    start = "LOCAL_RANK={0} bash rank.sh {0} &"
    return (
        f"trap 'echo launcher >> told' TERM; {start.format(0)} {start.format(1)} wait; wait; wait"
    )


def up(site: LaunchSite, *names: str) -> None:
    wait_until(lambda: all((site.home / name).exists() for name in names), what=f"{names}")


def test_only_the_command_is_asked_to_save_and_its_helpers_after_it(site, containment):
    script = (
        f"set -- 0; {LOADER} trap 'sleep 0.2; echo saved >> told; exit 0' TERM; touch up; {LOOP}"
    )
    ref = site.start(script, containment=containment)
    up(site, "up", "loader-0")
    site.engine.control(ref, SAVE, GRACE_S)
    seen = site.end_of(ref)
    assert site.text("told").split() == ["saved", "loader"]
    assert (seen.exit["code"], seen.exit["stopped_by"]) == (0, "control")


def test_the_ranks_are_asked_to_save_and_neither_their_launcher_nor_their_loaders(
    site, containment
):
    ref = site.start(ranks_of(site), containment=containment)
    up(site, "rank-0", "rank-1", "loader-0", "loader-1")
    site.engine.control(ref, SAVE, GRACE_S)
    seen = site.end_of(ref)
    told = site.text("told").split()
    assert sorted(told[:2]) == ["rank-0", "rank-1"]
    assert set(told[2:]) <= {"loader"}, "only when the command had ended"
    assert (seen.exit["code"], seen.exit["tree_empty"]) == (0, True)


def test_a_rank_that_does_not_end_is_gone_with_all_others_after_the_grace(site, containment):
    mark = f"9{uuid.uuid4().int % 10**8:08d}"
    script = f"LOCAL_RANK=0 bash -c \"trap '' TERM; sleep {mark}; sleep {mark}\" & touch up; wait"
    ref = site.start(script, containment=containment)
    up(site, "up")
    wait_until(lambda: len(site.processes(mark)) >= 1, what="the rank")
    site.engine.control(ref, SAVE, 0.4)
    seen = site.end_of(ref)
    assert site.processes(mark) == frozenset()
    assert seen.exit["stopped_by"] == "control"


def test_the_signal_is_given_once_however_often_it_is_asked_for(site):
    script = "trap 'echo asked >> told' TERM; touch up; until [ -e go ]; do sleep 0.02; done"
    ref = site.start(script, containment="tag")
    up(site, "up")
    for _ in range(5):
        site.engine.control(ref, SAVE, GRACE_S)
        wait_until(lambda: "asked" in site.text("told"), what="the signal")
    (site.home / "go").touch()
    site.end_of(ref)
    assert site.text("told") == "asked\n"


def test_a_plain_stop_afterwards_only_shortens_the_time_that_is_left(site):
    ref = site.start(f"trap 'echo asked >> told' TERM; touch up; {LOOP}", containment="tag")
    up(site, "up")
    site.engine.control(ref, SAVE, 600.0)
    wait_until(lambda: site.text("told"), what="the signal")
    site.engine.control(ref, STOP, 0.2)
    seen = site.end_of(ref)
    assert seen.exit["signal"] == 9
    assert site.text("told") == "asked\n"


def test_a_supervisor_of_an_earlier_release_reads_a_plain_stop(site):
    ref = site.start(f"touch up; {LOOP}")
    up(site, "up")
    site.engine.control(ref, SAVE, GRACE_S)
    record = json.loads((site.engine.directory(ref) / rundir.CONTROL).read_text())
    assert (record["action"], record["grace_s"], record["to"]) == (STOP, GRACE_S, rundir.WORKERS)
    assert site.end_of(ref).exit["signal"] == 15
