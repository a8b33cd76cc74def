"""The MPS cap: a daemon a card, a limit by UUID, and nobody is believed to be limited who is not seen to be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from shutil import rmtree

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import lifecycle, mps, sitesettings, swapability
from jobs.models import Allocation, Attempt
from jobs.preparation import prepare
from tests.rows import GIB, a_device, a_job, a_running_job, a_started_job

pytestmark = pytest.mark.django_db

CONTROL = """\
#!/bin/bash
# Stands for nvidia-cuda-mps-control: one daemon a pipe directory.
pipe=$CUDA_MPS_PIPE_DIRECTORY
if [ "$1" = -d ]; then
    [ -e {folder}/broken ] || echo "$CUDA_VISIBLE_DEVICES" > $pipe/daemon
    echo start >> {folder}/told; exit 0
fi
read -r question
[ -e $pipe/daemon ] || {{ echo "Cannot find MPS control daemon process" >&2; exit 1; }}
case $question in
    get_server_list) [ -e {folder}/clients ] && echo 5000 ;;
    "get_client_list 5000") cat {folder}/clients ;;
    quit) rm $pipe/daemon; echo quit >> {folder}/told ;;
esac
exit 0
"""


class Processes:
    """Every attempt consists of process 4242."""

    def pids(self, _ref: object) -> frozenset[int]:
        return frozenset({4242})


@pytest.fixture
def driver(settings, monkeypatch) -> Iterator[Path]:
    """A machine with the control program on PATH, where the account for jobs reaches everything."""
    folder = Path(tempfile.mkdtemp(prefix="coop-mps-"))
    folder.chmod(0o777)
    settings.COOP_HOME = folder / "home"
    settings.COOP_HOME.mkdir(mode=0o711)
    (folder / "told").touch()
    (folder / "told").chmod(0o666)
    program = folder / "bin" / mps.CONTROL
    program.parent.mkdir()
    program.write_text(CONTROL.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    sitesettings.change({"cap": "mps"}, None)
    yield folder
    rmtree(folder)


@pytest.fixture
def card(driver) -> Device:
    device = a_device()
    device.node.source = "nvml"
    device.node.save()
    return device


def told(driver: Path) -> list[str]:
    return (driver / "told").read_text().split()


def launched(card: Device, name: str = "job-1", **spec: object) -> tuple[dict[str, str], Attempt]:
    _, attempt = a_started_job(name, device=card, memory=16 * GIB, **spec)
    env = dict(prepare(attempt).env)
    return env, Attempt.objects.get(pk=attempt.pk)


def used(card: Device, *, seconds: float = 60.0) -> Attempt:
    """A running attempt that is to be limited, and whose memory was measured."""
    _, attempt = a_running_job(device=card)
    begun = timezone.now() - timedelta(seconds=seconds)
    Attempt.objects.filter(pk=attempt.pk).update(cap=mps.TRIED, started_at=begun)
    Allocation.objects.update(peak=GIB)
    assert mps._serve(card)
    return attempt


def cap_of(attempt: Attempt) -> str:
    return Attempt.objects.get(pk=attempt.pk).cap


def test_a_job_finds_the_daemon_of_its_card_and_its_limit_by_uuid(driver, card):
    env, attempt = launched(card)
    pipe = Path(env["CUDA_MPS_PIPE_DIRECTORY"])
    assert (pipe / "daemon").read_text().strip() == card.uuid, "which serves this card only"
    assert env["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == f"{card.uuid}=16384M"
    assert attempt.cap == "mps?", "not believed before it is seen"


def test_one_daemon_serves_all_jobs_of_a_card(driver, card):
    first, _ = launched(card)
    second, _ = launched(card, "job-2")
    assert first["CUDA_MPS_PIPE_DIRECTORY"] == second["CUDA_MPS_PIPE_DIRECTORY"]
    assert told(driver) == ["start"]


@pytest.mark.parametrize("why", ["broken daemon", "no program", "simulated"])
def test_where_it_cannot_be_had_nothing_is_promised(driver, card, why):
    if why == "broken daemon":
        (driver / "broken").touch()
    elif why == "no program":
        (driver / "bin" / mps.CONTROL).unlink()
    else:
        card.node.source = "simulated"
        card.node.save()
    env, attempt = launched(card)
    assert not any(name.startswith("CUDA_MPS") for name in env)
    assert attempt.cap == ""


def test_a_job_on_two_cards_finds_no_daemon_because_it_could_find_only_one(driver, card):
    other = a_device(1)
    resources = {"min_memory": GIB, "gpus": 2, "nodes": 1, "exclusive": False}
    job = a_job(memory=GIB, resources=resources)
    attempt = lifecycle.start(job, card.node, [(card, GIB), (other, GIB)])
    assert not any(name.startswith("CUDA_MPS") for name in prepare(attempt).env)


def test_who_is_a_client_of_the_daemon_is_limited(driver, card):
    attempt = used(card)
    (driver / "clients").write_text("77\n4242\n")
    mps.look(Processes())
    assert cap_of(attempt) == "mps"


def test_who_uses_the_card_and_is_nobodys_client_is_said_to_be_unlimited(driver, card):
    attempt = used(card)
    (driver / "clients").write_text("77\n")
    mps.look(Processes())
    assert cap_of(attempt) == ""
    assert "beside MPS" in attempt.events.get(kind="over_memory").detail


@pytest.mark.parametrize("why", ["young", "no memory yet"])
def test_a_job_that_still_loads_has_time(driver, card, why):
    attempt = used(card, seconds=3.0 if why == "young" else 60.0)
    if why == "no memory yet":
        Allocation.objects.update(peak=None)
    mps.look(Processes())
    assert cap_of(attempt) == "mps?"


def test_daemons_end_when_the_site_wants_another_cap_and_nobody_uses_them(driver, card):
    attempt = used(card)
    (driver / "clients").write_text("4242\n")
    sitesettings.change({"cap": "soft"}, None)
    mps.look(Processes())
    assert told(driver) == ["start"], "a job is limited by it"
    Attempt.objects.filter(pk=attempt.pk).update(cap="")
    mps.look(Processes())
    assert told(driver) == ["start", "quit"]
    assert not (driver / "home" / "mps" / card.uuid).exists()


def test_a_client_of_the_daemon_is_not_swapped_out(driver, card):
    attempt = used(card)
    attempt.refresh_from_db()
    sitesettings.change({"swap_out": True}, None)
    attempt.node.driver = "580"
    assert "MPS" in " ".join(swapability._refusals(attempt.job, attempt))
