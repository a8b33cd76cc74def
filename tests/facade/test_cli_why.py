"""What the command line says of why a job waits, and until when."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from llama_factory.cli import PROGRAM, words
from llama_factory.cli.app import app
from llama_factory.cli.submit import plan_lines
from tests.facade.fakeservice import Reply, fake_service

NOW = datetime(2026, 2, 3, 12, 0, tzinfo=UTC)
FAR = "2999-01-01T12:00:00Z"
CARD = {
    "gpu": "gpu0",
    "uuid": "GPU-0",
    "node": "node-a",
    "index": 0,
    "name": "NVIDIA A100-SXM4-80GB",
    "free_bytes": 30 * 2**30,
    "fits_now": False,
    "code": "WAIT_MEMORY",
    "verdict": "too full: 30 GiB left for it, 70 GiB needed",
}
AHEAD = {
    "position": 1,
    "min_memory_bytes": 23 * 2**30,
    "gpus": 1,
    "name": None,
    "owner": None,
    "job": None,
}
TOLD: dict[str, Any] = {
    "job": "abcdefghjkmn",
    "state": "QUEUED",
    "code": "WAIT_MEMORY",
    "class": "wait",
    "sentence": "Needs 70 GiB; the largest free block is 30 GiB (gpu0 on node-a).",
    "remedy": "It starts when that much is free; a smaller min_memory starts sooner.",
    "numbers": {},
    "position": 3,
    "eta": FAR,
    "eta_range": [FAR, FAR],
    "eta_unknown": None,
    "cards": [CARD],
    "cards_more": 0,
    "order": [
        {"step": "guarantee", "sentence": "Its project is guaranteed nothing.", "numbers": {}},
        {"step": "age", "sentence": "It was handed in 5m ago.", "numbers": {}},
    ],
    "ahead": [
        AHEAD,
        AHEAD | {"position": 2, "name": "lora_7#1", "owner": "ana", "job": "x", "gpus": 2},
    ],
    "ahead_more": 4,
    "what_ifs": [{"sentence": "Starts now with min_memory 30G"}],
}


WHERE = {"state": "QUEUED", "project": "default", "owner": "ana", "url": "http://x/jobs/x/"}


def why(told: dict[str, Any], *flags: str) -> str:
    job = {"items": [{"id": told["job"], "task_id": "waits", "run": 1} | WHERE]}
    with fake_service(Reply(body=job), Reply(body=told)) as service:
        arguments = ["why", "waits", "--url", service.url, *flags]
        found = CliRunner(env={"LLAMA_COOP_TOKEN": "t"}).invoke(app, arguments, prog_name=PROGRAM)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_why_tells_reason_place_start_changes_cards_order_and_who_is_ahead():
    assert why(TOLD).splitlines() == [
        TOLD["sentence"],
        TOLD["remedy"],
        f"Position in the queue: 3. Expected start: {words.start(TOLD, words.now())}.",
        "",
        "What would change it",
        "  Starts now with min_memory 30G",
        "",
        "What each card says",
        "  gpu0  node-a  A100-SXM4-80GB  free 30 GiB  too full: 30 GiB left for it, 70 GiB needed",
        "",
        "Why it stands there",
        "  1. Its project is guaranteed nothing.",
        "  2. It was handed in 5m ago.",
        "",
        "Ahead of it",
        "  1. another project, 23 GiB",
        "  2. lora_7#1 (ana), 2x 23 GiB",
        "  and 4 more",
    ]


def test_why_as_json_is_the_interfaces_object():
    assert json.loads(why(TOLD, "--json")) == TOLD


def test_why_of_a_service_that_tells_less_tells_that():
    fewer = {"sentence", "remedy", "position", "cards", "job", "code"}
    told = {name: TOLD[name] for name in fewer}
    lines = why(told).splitlines()
    assert lines[2] == "Position in the queue: 3."
    assert len(lines) == 6


def test_why_of_a_job_that_runs_is_one_sentence():
    told = TOLD | {
        "code": "NOT_WAITING",
        "sentence": "“runs#1” does not wait: it is RUNNING.",
        "remedy": "",
        "position": None,
        "eta": None,
        "eta_range": None,
        "cards": [],
        "order": [],
        "ahead": [],
        "ahead_more": 0,
        "what_ifs": [],
    }
    assert why(told) == "“runs#1” does not wait: it is RUNNING.\n"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            ("12:30", ["12:21", "12:45"]),
            "≈ {12:30}, between {12:21} and {12:45} (in 30m)",
        ),
        (("12:30", ["12:30", "12:30"]), "≈ {12:30} (in 30m)"),
        (("12:00", ["12:00", "12:00"]), "now"),
    ],
)
def test_an_expected_start_is_a_time_of_this_machine_with_its_range(told, said):
    eta, span = told

    def at(clock: str) -> datetime:
        return datetime.fromisoformat(f"2026-02-03T{clock}:00+00:00")

    body = {"eta": at(eta).isoformat(), "eta_range": [at(each).isoformat() for each in span]}
    for clock in {eta, *span}:
        said = said.replace(f"{{{clock}}}", words.clock(at(clock), NOW))
    assert words.start(body, NOW) == said


def test_a_start_that_nobody_can_tell_says_why():
    body = {"eta": None, "eta_range": None, "eta_unknown": "being worked out"}
    assert words.start(body, NOW) == "being worked out"
    assert words.start({"eta": "2026-02-03T13:00:00Z"}, NOW) == ""  # the end of a running job


def test_a_time_of_another_day_has_its_date():
    assert words.clock(datetime(2026, 2, 9, 12, 0, tzinfo=UTC), NOW).startswith("2026-02-09 ")


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"starts_now": True}, ["Fits now on: gpu0"]),
        (
            {"starts_now": True, "estimate": {"sentence": "min_memory 19G: estimated."}},
            ["Memory: min_memory 19G: estimated.", "Fits now on: gpu0"],
        ),
        (
            {"starts_now": False, "position": 2, "eta_unknown": "being worked out"},
            [
                "Fits now on: gpu0",
                "Position in the queue: 2",
                "The reason.",
                "Expected start: being worked out",
            ],
        ),
        (
            {"starts_now": False, "position": None, "why": None},
            ["Fits now on: gpu0", "Position in the queue: far back"],
        ),
    ],
)
def test_a_plan_tells_place_reason_and_expected_start(fields, lines):
    plan = {
        "task_id": "new",
        "project": "default",
        "resources": {"min_memory_bytes": 2**30, "gpus": 1, "gpu_type": None},
        "cards": [CARD | {"fits_now": True}],
        "position": 1,
        "why": {"sentence": "The reason."},
        "eta": None,
        "eta_range": None,
        "warnings": [],
    } | fields
    assert plan_lines(plan)[1:] == lines
