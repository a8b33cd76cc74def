"""The agent: it follows real jobs on simulated cards, survives its database, and is itself a process one can kill."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import DatabaseError
from django.utils import timezone

from gpus.models import Device, Node, Reading
from gpus.readings import NVML
from jobs.agent import Agent, Metronome, cards_of
from jobs.core.states import JobState
from jobs.cycle import Cycle
from jobs.engines.local import LocalEngine
from jobs.models import Allocation, Attempt, Heartbeat, Job
from jobs.refs import ref_of
from tests.gpus.fleets import ShownProbe, a_reading, listed
from tests.rows import GIB, a_job, a_node, a_running_job
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
RESERVE = GIB // 2


# --- the beat -------------------------------------------------------------------------------------


def test_beats_keep_their_distance_however_long_the_work_takes():
    metronome = Metronome(1.0, 100.0)

    assert [metronome.next_beat(now) for now in (100.0, 100.4, 101.9)] == [100.0, 101.0, 102.0]


def test_a_missed_beat_is_left_out():
    metronome = Metronome(1.0, 100.0)
    metronome.next_beat(100.0)

    assert metronome.next_beat(103.5) == 104.0
    assert metronome.next_beat(104.1) == 105.0


# --- one look -------------------------------------------------------------------------------------


class StillEngine:
    """Every attempt consists of process 4242."""

    def pids(self, _ref: object) -> frozenset[int]:
        return frozenset({4242})


class HeardBus:
    def __init__(self) -> None:
        self.sent: list[tuple[str, dict]] = []

    def send(self, role: str, message: dict) -> int:
        self.sent.append((role, message))
        return 1


@pytest.fixture
def probe() -> ShownProbe:
    return ShownProbe()


@pytest.fixture
def agent(db, probe, tmp_path) -> Agent:
    return Agent(
        engine=StillEngine(),
        messages=HeardBus(),
        make_probe=lambda *_: probe,
        node="node-a",
        home=tmp_path,
    )


def test_a_look_stores_readings_and_tells_the_pages(agent, probe):
    agent.tick()

    assert Device.objects.get().read_at is not None
    ((role, message),) = agent._bus.sent
    assert (role, message["k"], message["devices"][0]["uuid"]) == ("web", "readings", "GPU-0")
    assert json.dumps(message)


def test_a_look_shows_that_the_agent_lives(agent, probe):
    probe.show(a_reading(), notice="Mind the gap.")
    agent.tick()

    beat = Heartbeat.objects.get(name="agent:node-a")
    assert beat.pid == os.getpid()
    assert beat.detail == {
        "source": "simulated",
        "notice": "Mind the gap.",
        "cards": 1,
        "silent": 0,
    }
    assert timezone.now() - Node.objects.get().seen_at < timedelta(seconds=30)


def test_the_peak_of_a_booking_only_rises(agent, probe):
    agent.tick()
    a_running_job(device=Device.objects.get(), memory=14 * GIB)
    peaks = []
    for used in (5 * GIB, 12 * GIB, 3 * GIB):
        probe.show(a_reading(used=used, processes=listed(p4242=used)))
        agent.tick()
        peaks.append(Allocation.objects.get().peak)

    assert peaks == [5 * GIB, 12 * GIB, 12 * GIB]


def test_the_live_message_names_a_booking_by_its_key_alone(agent, probe):
    agent.tick()
    job, attempt = a_running_job(device=Device.objects.get(), memory=14 * GIB)
    probe.show(a_reading(used=5 * GIB, processes=listed(p4242=5 * GIB)))
    agent.tick()

    message = agent._bus.sent[-1][1]
    assert message["devices"][0]["segs"] == [[Allocation.objects.get().key, 14 * GIB, 5 * GIB]]
    assert not any(word in json.dumps(message) for word in (job.pk, job.task_id, attempt.token))


def test_a_database_that_is_away_does_not_end_the_agent(agent, monkeypatch, caplog):
    stop = threading.Event()
    ticks = []

    def away() -> None:
        ticks.append(True)
        if len(ticks) == 2:
            stop.set()
        raise DatabaseError("the database is away")

    monkeypatch.setattr("jobs.agent.PERIOD", 0.01)
    monkeypatch.setattr("jobs.agent.close_old_connections", lambda: None)
    monkeypatch.setattr(agent, "tick", away)
    agent.run(stop)

    assert len(ticks) == 2
    assert "the next look tries again" in caplog.text


def test_a_stopped_agent_has_stored_what_was_still_running_and_let_the_probe_go(
    agent, probe, monkeypatch
):
    stop = threading.Event()
    tick = agent.tick

    def one_tick() -> None:
        tick()
        stop.set()

    monkeypatch.setattr("jobs.agent.close_old_connections", lambda: None)
    monkeypatch.setattr(agent, "tick", one_tick)
    agent.run(stop)

    assert Reading.objects.get(seconds=10).samples == 1
    assert probe.closed


@pytest.mark.parametrize(
    ("setting", "source", "cards"),
    [
        ("auto", "", "auto"),
        ("auto", "simulated", "auto"),
        ("auto", NVML, NVML),
        ("simulated:1xT4-16G", NVML, "simulated:1xT4-16G"),
    ],
)
def test_a_node_that_had_real_cards_never_simulates_some_by_itself(
    settings, db, setting, source, cards
):
    settings.COOP_GPUS = setting
    node = a_node()
    node.source = source

    assert cards_of(node) == cards


# --- with real processes --------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, settings) -> Path:
    settings.COOP_HOME = tmp_path
    settings.COOP_GPUS = "simulated:1xA100-80G"
    return tmp_path


def is_over(engine: LocalEngine, attempt: Attempt) -> bool:
    return engine.observe(ref_of(attempt)).kind != "alive"


@pytest.fixture
def engine(home) -> Iterator[LocalEngine]:
    engine = LocalEngine(home)
    yield engine
    for job in Job.objects.active():
        if attempt := job.open_attempt:
            engine.control(ref_of(attempt), "stop", 0.0)
            wait_until(partial(is_over, engine, attempt), what="its end")
    engine.close()


@pytest.fixture
def live_agent(db, engine, home) -> Iterator[Agent]:
    agent = Agent(engine=engine, messages=HeardBus(), node="node-a", home=home)
    yield agent
    agent._probe.close()


def used(agent: Agent) -> int | None:
    agent.tick()
    return Device.objects.get().used if Device.objects.exists() else None


def test_a_simulated_card_follows_a_real_job_from_start_to_end(live_agent, engine, home):
    wait_until(lambda: used(live_agent) == RESERVE, what="the first reading")
    os.mkfifo(home / "say")
    ear = os.open(home / "say", os.O_RDWR)  # open at both ends, so that nobody waits to open it
    script = f'read line < {home}/say; echo "$line" > $LLAMA_COOP_SIM_USAGE; read line < {home}/say'
    job = a_job(memory=10 * GIB, command=script)
    cycle = Cycle(engine)

    def cycled_until(wanted: JobState) -> None:
        def reached() -> bool:
            cycle.run()
            return Job.objects.get(pk=job.pk).state == wanted

        wait_until(reached, what=f"the job to be {wanted}")

    cycled_until(JobState.RUNNING)
    silent = wait_until(
        lambda: (seen := used(live_agent)) != RESERVE and seen, what="memory of the job"
    )
    assert silent == RESERVE + 9 * GIB

    os.write(ear, b'{"memory_bytes": 1073741824, "busy": 0.25}\n')
    wait_until(lambda: used(live_agent) == RESERVE + GIB, what="what the job says")
    device = Device.objects.get()
    assert (device.busy, device.foreign) == (0.25, 0)

    os.write(ear, b"end\n")
    cycled_until(JobState.SUCCEEDED)
    os.close(ear)
    wait_until(lambda: used(live_agent) == RESERVE, what="the memory to be free again")
    assert Device.objects.get().foreign == 0


class AgentProcess:
    """`manage.py agent` with a COOP_HOME and a database of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("COOP_")},
            "COOP_HOME": str(home),
            "COOP_GPUS": "simulated:2xA100-80G",
        }
        self.command = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run(
            [*self.command, "migrate", "--verbosity", "0"], env=self.environment, check=True
        )

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, "agent"],
            env=self.environment | environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: str) -> list[tuple]:
        with closing(sqlite3.connect(self.home / "db.sqlite3", timeout=20)) as database:
            return database.execute(question).fetchall()


@pytest.fixture(scope="module")
def process(tmp_path_factory) -> AgentProcess:
    return AgentProcess(tmp_path_factory.mktemp("agent"))


def test_the_command_samples_until_it_is_told_to_stop(process):
    with process.start() as agent:
        wait_until(
            lambda: (
                process.ask("select count(*) from gpus_device where used is not null") == [(2,)]
            ),
            seconds=30,
            what="readings of both cards",
        )
        agent.send_signal(signal.SIGTERM)
        _, said = agent.communicate(timeout=60)

    assert agent.returncode == 0
    assert "has started" in said
    assert "Running jobs go on" in said
    ((samples,),) = process.ask("select max(samples) from gpus_reading where seconds = 3600")
    assert samples >= 1


def test_an_agent_that_was_killed_is_followed_by_one_that_goes_on(process):
    def beats() -> list[tuple]:
        return process.ask("select pid, at from jobs_heartbeat where name like 'agent:%'")

    with process.start() as first:
        wait_until(lambda: any(pid == first.pid for pid, _ in beats()), 30, "the first agent")
        first.kill()
    with process.start() as second:
        wait_until(lambda: any(pid == second.pid for pid, _ in beats()), 30, "the second agent")
        second.terminate()
        second.communicate(timeout=60)

    assert second.returncode == 0
    assert process.ask("select count(*) from gpus_device") == [(2,)]


def test_a_wrong_setting_ends_the_command_with_a_sentence(process):
    with process.start(COOP_GPUS="2xA100") as agent:
        _, said = agent.communicate(timeout=60)

    assert agent.returncode == 1
    assert "Correct COOP_GPUS." in said


def test_what_a_job_that_gives_its_cards_back_still_uses_is_noted_with_its_time(
    agent, probe, tmp_path
):
    agent.tick()  # the cards are known from the first look on
    card = Device.objects.get(uuid="GPU-0")
    job, _ = a_running_job(device=card)
    probe.show(a_reading(used=9 * GIB, processes=listed(p4242=9 * GIB)))
    agent.tick()
    assert Allocation.objects.get().measured_at is None, "nobody asks"
    Job.objects.filter(pk=job.pk).update(state=JobState.SUSPENDING)
    probe.show(a_reading(used=0, processes=()))
    shown_at = probe.fleet.at
    agent.tick()
    noted = Allocation.objects.get()
    assert (noted.measured, noted.measured_at.timestamp()) == (0, shown_at)
    probe.show(a_reading(used=0, processes=None))
    agent.tick()
    assert Allocation.objects.get().measured_at.timestamp() == shown_at, "it cannot tell"
