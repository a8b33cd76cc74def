"""`llama-coop simulate --history`: what is asked of the service, and what is said of its answer."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from llama_factory import site
from llama_factory.cli import PROGRAM
from llama_factory.cli.app import app
from tests.facade.conftest import a_task
from tests.facade.fakeservice import Reply, fake_service

FIGURES = {
    "jobs": 3,
    "started": 3,
    "finished": 3,
    "mean_wait_s": 2520.0,
    "p90_wait_s": 5000.0,
    "max_wait_s": 5000.0,
    "mean_jct_s": 6000.0,
    "preemptions": 0,
    "share": None,
    "due": None,
}
SIDE = {
    "whole": FIGURES,
    "projects": {"vision": FIGURES},
    "makespan_s": 9000.0,
    "lost_gpu_s": 0.0,
    "share_error": None,
    "policy_problem": "",
}
CHANGED = SIDE | {
    "whole": FIGURES | {"mean_wait_s": 660.0, "started": 2, "preemptions": 4},
    "share_error": 0.125,
}
COUNTS = dict.fromkeys(
    ("before", "never_ran", "held", "unknown", "too_many", "unfinished", "unmeasured"), 0
)
ANSWER = {
    "asked_since": "2026-02-01T00:00:00+00:00",
    "since": "2026-02-01T00:00:00+00:00",
    "until": "2026-03-03T00:00:00+00:00",
    "shortened": "",
    "jobs": {**COUNTS, "counted": 3, "unmeasured": 2},
    "cards": {"today": 1, "changed": 2},
    "cards_out_of_service": 1,
    "really": SIDE,
    "today": SIDE,
    "changed": CHANGED,
    "seconds": 1.5,
}
TOLD = {"id": "r1", "state": "done", "answer": ANSWER, "problem": None, "url": "http://page"}
OPEN = TOLD | {"state": "waiting", "answer": None}
IN_TIME = (Reply(status=201, body=OPEN), Reply(body=TOLD))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(site, "LOOK_AGAIN_S", 0.0)

    def call(*arguments: str, replies=IN_TIME):
        with fake_service(*replies) as service:
            words = ["simulate", "--history", "30d", "--url", service.url, *arguments]
            return service, CliRunner().invoke(app, words, prog_name=PROGRAM)

    return call


def test_the_figures_stand_side_by_side_with_the_difference_in_words(run):
    _service, answer = run("--add", "1xA100-80G")
    assert answer.exit_code == 0, answer.output
    lines = {" ".join(line.split()) for line in answer.stdout.splitlines()}
    assert "ALL REALLY AS NOW CHANGED DIFFERENCE" in lines
    assert "mean wait 42m 42m 11m 31m shorter (74 %)" in lines
    assert "longest wait 1h23m 1h23m 1h23m the same" in lines
    assert "preemptions 0 0 4 4 more" in lines
    assert "largest share error - - 12.5 %" in lines
    assert "vision 42m 42m 42m the same" in lines
    assert "With the change, 1 of them would never start" in answer.stderr
    assert "Nobody has measured how much of a card they compute with" in answer.stderr
    assert "Cards that are out of service now, and were left out: 1" in answer.stderr


def test_it_asks_again_until_it_is_answered(run):
    service, answer = run(replies=(*(Reply(body=OPEN) for _ in range(3)), Reply(body=TOLD)))
    assert answer.exit_code == 0
    assert [each.method for each in service.asked] == ["POST", "GET", "GET", "GET"]
    assert service.asked[1].path == "/api/v1/replays/r1"


def test_every_flag_is_part_of_the_question(run):
    service, _answer = run(
        *("--policy", "fifo", "--mode", "smart-queue", "--placement", "fgd", "--min-run", "600"),
        *("--suspend-seconds", "30", "--weight", "vision=3", "--guarantee", "vision=cards:8"),
        *("--guarantee", "vision=memory:160G", "--limit", "nlp=cards:none"),
        *("--limit", "nlp=running:4", "--add", "1xA100-80G", "--add", "2xH200-141G"),
        *("--set", "preemption=false", "--set", "max_workers=8", "--fleet", "1x8xV100-32G"),
    )
    assert json.loads(service.asked[0].body) == {
        "days": 30,
        "settings": {
            "policy": "fifo",
            "mode": "smart-queue",
            "placement": "fragmentation",
            "min_run_minutes": 10,
            "preemption": False,
            "max_workers": 8,
        },
        "projects": {
            "vision": {"weight": 3, "guarantee": {"cards": 8, "memory_bytes": 160 * 1024**3}},
            "nlp": {"limit": {"cards": None, "running": 4}},
        },
        "add": ["1xA100-80G", "2xH200-141G"],
        "fleet": "1x8xV100-32G",
        "suspend_seconds": 30,
    }


def test_nothing_is_asked_that_was_not_typed(run):
    service, _answer = run()
    assert json.loads(service.asked[0].body) == {"days": 30}


def test_json_is_the_answer_of_the_service(run):
    _service, answer = run("--json")
    assert json.loads(answer.stdout) == TOLD


def test_without_a_change_there_is_nothing_to_compare(run):
    told = TOLD | {"answer": ANSWER | {"changed": None}}
    _service, answer = run(replies=(Reply(status=201, body=told),))
    assert "DIFFERENCE" not in answer.stdout
    assert "mean wait" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("jobs.csv",), "WORKLOAD.csv goes with a workload file, not with --history"),
        (("--rows", "x.csv"), "--rows goes with a workload file"),
        (("--seed", "3"), "--seed goes with a workload file"),
        (("--all-preemptible",), "--all-preemptible goes with a workload file"),
        (("--placement", "random"), "--placement random is for workload files only"),
        (("--guarantee", "vision=8"), "Write PROJECT=WHAT:AMOUNT"),
        (("--limit", "vision=cards:many"), "'many' is no number of cards"),
        (("--limit", "vision=memory:160"), "has no unit"),
        (("--set", "preemption"), "Write NAME=VALUE"),
        (("--weight", "vision=0"), "PROJECT=NUMBER"),
        (("--history", "month"), "is not a duration"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_is_asked(run, arguments, said):
    service, answer = run(*arguments)
    assert said in str(answer.exception)
    assert service.asked == []


def test_no_answer_is_a_refusal_with_its_reason(run):
    problem = {"code": "no_jobs", "detail": "No job can be replayed.", "hint": "Choose more days."}
    told = TOLD | {"state": "failed", "answer": None, "problem": problem}
    _service, answer = run(replies=(Reply(status=201, body=told),))
    assert str(answer.exception) == "No job can be replayed.\nChoose more days."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--add", "A100"), "--add goes with --history"),
        (("--url", "http://x"), "--url goes with --history"),
        (("--set", "a=1"), "--set goes with --history"),
        ((), "or --history 30d"),
    ],
)
def test_without_history_its_flags_are_refused(shell, arguments, said):
    answer = shell.coop("simulate", *arguments)
    assert answer.returncode == 2
    assert said in answer.stderr


def test_a_service_replays_its_own_past(desk):
    task = a_task(desk, "replayed", "sleep 0.2")
    assert desk.coop("submit", str(task), "--wait").returncode == 0
    answer = desk.coop("simulate", "--history", "1d", "--add", "1xA100-80G", "--json")
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["answer"]["jobs"]["counted"] >= 1
    assert told["answer"]["cards"] == {"today": 2, "changed": 3}
    table = desk.coop("simulate", "--history", "1d")
    assert "mean wait" in table.stdout, table.stderr
