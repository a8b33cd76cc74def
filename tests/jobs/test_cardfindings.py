"""Findings from the agent's look to the doctor's words and the health page: there while seen, gone when not."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from django.utils.html import escape

from gpus.models import Device, Finding, Node
from gpus.readings import NVML
from jobs import cardfindings, health
from jobs.agent import Agent
from tests.gpus.fleets import GIB, START, ShownProbe, a_reading, listed
from tests.rows import a_running_job, a_user

US = os.getpid()


class StillEngine:
    """Every attempt consists of this process."""

    def pids(self, _ref: object) -> frozenset[int]:
        return frozenset({US})


class DeafBus:
    def send(self, _role: str, _message: dict) -> int:
        return 0


@pytest.fixture
def probe() -> ShownProbe:
    return ShownProbe()


@pytest.fixture
def agent(db, probe, tmp_path) -> Agent:
    return Agent(
        engine=StillEngine(),
        messages=DeafBus(),
        make_probe=lambda *_: probe,
        node="node-a",
        home=tmp_path,
    )


def with_us(used: int, index: int = 0):
    return a_reading(index, used=used, processes=listed(**{f"p{US}": used}))


def test_a_finding_keeps_the_time_of_its_first_look_and_ends_with_the_last(agent, probe):
    probe.show(with_us(2 * GIB))
    agent.tick()
    probe.show(with_us(5 * GIB))
    agent.tick()

    finding = Finding.objects.get()
    assert (finding.kind, finding.pid, finding.memory) == ("foreign", US, 5 * GIB)
    assert finding.since == datetime.fromtimestamp(START, UTC)

    probe.show(a_reading())
    agent.tick()
    assert not Finding.objects.exists()


def test_an_agent_that_is_started_anew_keeps_since_when(agent, probe, tmp_path):
    probe.show(a_reading(used=4 * GIB))
    agent.tick()
    first = Finding.objects.get()
    successor = Agent(
        engine=StillEngine(),
        messages=DeafBus(),
        make_probe=lambda *_: probe,
        node="node-a",
        home=tmp_path,
    )

    successor.tick()

    assert (Finding.objects.get().pk, Finding.objects.get().since) == (first.pk, first.since)


def test_a_card_that_does_not_tell_keeps_what_was_found(agent, probe):
    probe.show(a_reading(used=4 * GIB))
    agent.tick()
    probe.show(a_reading(used=None, processes=None))
    agent.tick()

    assert Finding.objects.get().kind == "ghost"


def test_a_job_on_another_card_is_a_stray_whose_memory_is_not_free(agent, probe):
    probe.show(a_reading(0), a_reading(1))
    agent.tick()
    a_running_job(device=Device.objects.get(index=0), memory=14 * GIB)
    probe.show(a_reading(0), with_us(6 * GIB, 1))
    agent.tick()

    finding = Finding.objects.get()
    assert (finding.kind, finding.device.index) == ("stray", 1)
    assert finding.device.foreign == 6 * GIB


def test_the_doctor_and_the_page_say_the_same_sentence_and_command(agent, probe, client, settings):
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    probe.show(a_reading(used=4 * GIB, processes=listed(p999999999=3 * GIB)))
    agent.tick()
    client.force_login(a_user())

    page = client.get("/health/").content.decode()

    told = [(sentence, advice) for _finding, sentence, advice in cardfindings.told()]
    assert len(told) == 2
    assert told == [
        (check.detail, check.hint) for check in health.checks() if check.name == "node-a gpu0"
    ]
    for sentence, advice in told:
        assert escape(sentence) in page
        assert escape(advice) in page


def test_a_foreign_process_comes_with_the_command_that_ends_it(agent, probe):
    probe.show(with_us(2 * GIB))
    agent.tick()
    Node.objects.update(source=NVML)

    ((_finding, sentence, advice),) = cardfindings.told()

    assert f"process {US} " in sentence
    assert f"`sudo kill {US}`" in advice


def test_what_a_scenario_plays_blames_no_real_process(agent, probe):
    probe.show(a_reading(used=9 * GIB, processes=listed(p1=9 * GIB)))
    agent.tick()
    [(_finding, sentence, advice)] = cardfindings.told()
    assert "process" not in sentence
    assert "kill" not in advice
