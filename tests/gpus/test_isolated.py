"""The process that asks the cards: real ones, that hang, die, and cannot be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpus.isolated import Backoff, IsolatedProbe, Patience, cards_command
from gpus.probes import probe_from
from gpus.readings import NVML, SIMULATED, FleetReading, Holding
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30
QUICK = Patience(
    call=0.2,
    answer=1.0,
    start=20.0,
    first_retry=0.1,
    longest_retry=0.4,
    first_restart=0.05,
    longest_restart=0.2,
)


@pytest.fixture
def probes() -> Iterator[list[IsolatedProbe]]:
    made: list[IsolatedProbe] = []
    yield made
    for probe in made:
        probe.close()


@pytest.fixture
def scenario(tmp_path) -> Path:
    path = tmp_path / "scenario.yaml"
    path.write_text("cards: {}")
    return path


@pytest.fixture
def simulated(probes, scenario) -> IsolatedProbe:
    command = cards_command("simulated:2xA100-80G", "node-a", scenario)
    return started(IsolatedProbe(command, list, QUICK), probes)


def started(probe: IsolatedProbe, probes: list[IsolatedProbe]) -> IsolatedProbe:
    probes.append(probe)
    return probe


def indices(fleet: FleetReading) -> list[int]:
    return sorted(device.index for device in fleet.devices)


def wait_for(probe: IsolatedProbe, *wanted: int) -> FleetReading:
    """Read until exactly these cards answer."""

    def answer() -> FleetReading | None:
        fleet = probe.read()
        return fleet if fleet.listed and indices(fleet) == list(wanted) else None

    return wait_until(answer, seconds=20, what=f"an answer of the cards {wanted}")


def pid_of(probe: IsolatedProbe) -> int:
    return probe._child.process.pid


def test_all_cards_answer_and_say_that_they_are_simulated(simulated):
    fleet = wait_for(simulated, 0, 1)

    assert (fleet.source, fleet.silent, fleet.notice) == (SIMULATED, (), None)


def test_the_cards_follow_the_holdings(probes):
    held: list[Holding] = []
    probe = started(probe_from("simulated:1xA100-80G", lambda: held, patience=QUICK), probes)
    (card,) = wait_for(probe, 0).devices

    held.append(
        Holding(key="k", holder="h", uuid=card.uuid, booked=10 * GIB, pids=frozenset({os.getpid()}))
    )

    (card,) = wait_for(probe, 0).devices
    assert [process.memory for process in card.processes] == [9 * GIB]


def test_a_card_that_hangs_leaves_the_others_readable(simulated, scenario):
    wait_for(simulated, 0, 1)

    scenario.write_text("cards: {0: {hangs: true}}")
    wait_until(lambda: not simulated.read().devices, what="a read that hangs")
    fleet = wait_for(simulated, 1)

    assert len(fleet.silent) == 1
    assert "does not answer" in fleet.notice


def test_a_card_that_answers_again_comes_back(simulated, scenario):
    scenario.write_text("cards: {0: {hangs: true}}")
    wait_for(simulated, 1)

    scenario.write_text("cards: {}")
    fleet = wait_for(simulated, 0, 1)

    assert wait_until(lambda: simulated.read().notice is None, what="the end of the notice")
    assert fleet.silent == ()


def test_no_read_waits_longer_than_its_patience(simulated, scenario):
    scenario.write_text("cards: {0: {hangs: true}, 1: {hangs: true}}")
    longest = 0.0

    def has_given_up() -> bool:
        nonlocal longest
        begun = time.monotonic()
        fleet = simulated.read()
        longest = max(longest, time.monotonic() - begun)
        return len(fleet.silent) == 2

    wait_until(has_given_up, seconds=20, what="two silent cards")
    assert longest < QUICK.call + 0.5  # the time it takes to start a process on a busy machine


def test_a_card_is_not_asked_again_while_the_process_that_hangs_on_it_lives(
    simulated, scenario, monkeypatch
):
    wait_for(simulated, 0, 1)
    stuck = simulated._child.process
    with monkeypatch.context() as patch:  # a call stuck in the kernel outlives SIGKILL
        patch.setattr("gpus.isolated._Child.kill", lambda child: child.channel.close())
        scenario.write_text("cards: {0: {hangs: true}}")
        wait_for(simulated, 1)
    scenario.write_text("cards: {}")
    for _ in range(3):
        assert indices(wait_for(simulated, 1)) == [1]

    stuck.kill()

    assert indices(wait_for(simulated, 0, 1)) == [0, 1]


def test_no_further_process_is_started_while_two_are_stuck(simulated, scenario, monkeypatch):
    wait_for(simulated, 0, 1)
    stuck = []

    def outlive(child) -> None:
        stuck.append(child.process)
        child.channel.close()

    with monkeypatch.context() as patch:
        patch.setattr("gpus.isolated._Child.kill", outlive)
        scenario.write_text("cards: {all: {hangs: true}}")
        wait_until(lambda: simulated.read() and len(stuck) == 2, what="two stuck processes")
        assert simulated._child is None
        assert simulated.read().devices == ()
        assert simulated._child is None

    scenario.write_text("cards: {}")
    for process in stuck:
        process.kill()

    assert indices(wait_for(simulated, 0, 1)) == [0, 1]


def test_a_killed_process_is_replaced(simulated):
    wait_for(simulated, 0, 1)
    first = pid_of(simulated)

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not simulated.read().devices, what="the loss of the process")
    wait_for(simulated, 0, 1)

    assert pid_of(simulated) != first


def test_a_process_that_was_stopped_counts_as_a_driver_that_hangs(simulated):
    wait_for(simulated, 0, 1)
    os.kill(pid_of(simulated), signal.SIGSTOP)

    notice = wait_until(lambda: simulated.read().notice, what="a notice")

    assert "does not answer" in notice or "has ended" in notice
    assert indices(wait_for(simulated, 0, 1)) == [0, 1]


def test_a_process_that_ends_at_once_is_started_again_later(probes):
    probe = started(IsolatedProbe(["true"], list, QUICK), probes)

    fleet = wait_until(lambda: (seen := probe.read()).notice and seen, what="a notice")

    assert (fleet.devices, fleet.silent, fleet.listed) == ((), (), False)
    assert "has ended" in fleet.notice


def test_a_driver_that_never_starts_is_told(probes):
    patience = Patience(call=0.1, start=0.2, first_restart=0.05)
    probe = started(IsolatedProbe(["sleep", "60"], list, patience), probes)

    notice = wait_until(lambda: probe.read().notice, what="a notice")

    assert "driver does not answer" in notice


def test_a_machine_without_a_driver_says_what_to_do(probes):
    probe = started(probe_from("nvml", list, patience=QUICK), probes)

    fleet = wait_until(lambda: (seen := probe.read()).notice and seen, what="a notice")

    assert (fleet.source, fleet.listed) == (NVML, False)
    assert "COOP_GPUS=simulated" in fleet.notice


def test_automatic_cards_are_simulated_where_there_is_no_driver(probes):
    probe = started(probe_from("auto", list, patience=QUICK), probes)

    assert wait_for(probe, 0, 1).source == SIMULATED


def test_the_process_ends_with_the_agent(tmp_path):
    script = textwrap.dedent("""
        from gpus.probes import probe_from
        probe = probe_from("simulated:1xA100-80G", list)
        while not probe.read().devices:
            pass
        print(probe._child.process.pid, flush=True)
        input()
    """)
    agent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    with agent:
        child = int(agent.stdout.readline())
        agent.kill()

    wait_until(lambda: not Path(f"/proc/{child}").exists(), what="the end of the process")


def nvml_command(hangs: Path) -> list[str]:
    """The real binding over a fake library, whose first card hangs as long as a file exists."""
    script = textwrap.dedent(f"""
        import threading, pathlib
        import pynvml
        from gpus import cards
        from tests.gpus.fakenvml import FakeLibrary, a_card

        def hang():
            if pathlib.Path({str(hangs)!r}).exists():
                threading.Event().wait()

        pynvml.nvmlLib = FakeLibrary(a_card(0, hang=hang), a_card(1))
        cards.main(["nvml", "node-a"])
    """)
    return [sys.executable, "-c", script]


def test_a_driver_call_that_hangs_leaves_the_other_card_readable(probes, tmp_path):
    hangs = tmp_path / "hangs"
    probe = started(IsolatedProbe(nvml_command(hangs), list, QUICK), probes)
    assert wait_for(probe, 0, 1).source == NVML

    hangs.touch()
    fleet = wait_for(probe, 1)
    assert fleet.silent == ("GPU-0",)

    hangs.unlink()
    assert indices(wait_for(probe, 0, 1)) == [0, 1]


def test_the_wait_doubles_up_to_a_limit_and_is_forgotten_after_a_success():
    backoff = Backoff(10.0, 35.0)
    waits = []
    for _ in range(4):
        backoff.fail(100.0)
        waits.append(backoff.until - 100.0)

    backoff.succeed()

    assert waits == [10.0, 20.0, 35.0, 35.0]
    assert backoff.until == 0.0
