"""What the command line says of a job that gave way."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from llama_factory.cli import PROGRAM
from llama_factory.cli.app import app
from tests.facade.fakeservice import Reply, fake_service

GAVE_WAY = "Preempted for urgent#1 (higher priority); 12m of work will be repeated."
ABOUT = "Preempted for urgent#1 (higher priority); about 12m of work will be repeated."


def a_job(state: str, attempts: int) -> dict[str, Any]:
    return {
        "id": "abcdefghjkmn",
        "task_id": "victim",
        "run": 1,
        "project": "default",
        "owner": "ana",
        "priority": "low",
        "state": state,
        "resources": {"min_memory_bytes": 2**30, "gpus": 1, "gpu_type": None},
        "allocations": [],
        "submitted_at": "2026-02-03T11:00:00Z",
        "attempts": attempts,
        "url": "http://x/jobs/abcdefghjkmn/",
    }


def an_event(kind: str, old: str, new: str, detail: str | None = None) -> dict[str, Any]:
    preemption = {
        "beneficiary": "nmkjhgfedcba",
        "rule": "priority",
        "lost_gpu_seconds": 720.0,
        "expected": kind == "preempt",
    }
    return {
        "id": 1,
        "at": "2026-02-03T12:00:00.000Z",
        "kind": kind,
        "old_state": old,
        "new_state": new,
        "attempt": 1,
        "actor": None,
        "reason": "preempted" if detail else None,
        "detail": detail,
        "preemption": preemption if detail else None,
    }


STORY = [
    an_event("run", "STARTING", "RUNNING"),
    an_event("preempt", "RUNNING", "SUSPENDING", ABOUT),
    an_event("requeue", "SUSPENDING", "QUEUED", GAVE_WAY),
]


def said(verb: str, *bodies: Any) -> tuple[str, int]:
    """What a verb prints about `victim` when the service answers so, and how many requests it took."""
    found = Reply(body={"items": [{"id": "abcdefghjkmn", "project": "default"}]})
    with fake_service(found, *(Reply(body=body) for body in bodies)) as service:
        answer = CliRunner().invoke(app, [verb, "victim", "--url", service.url], prog_name=PROGRAM)
        assert answer.exit_code == 0, answer.output
        return answer.stdout, len(service.asked)


LISTED = {"items": [{"id": "abcdefghjkmn", "project": "default"}]}


@pytest.mark.parametrize(
    ("state", "attempts", "events", "expected"),
    [
        ("QUEUED", 1, STORY, [GAVE_WAY]),
        ("SUSPENDING", 1, STORY[:2], [ABOUT]),
        ("RUNNING", 2, STORY, [GAVE_WAY]),
        ("SUSPENDING", 2, [*STORY, STORY[1]], [GAVE_WAY, ABOUT]),
    ],
)
def test_show_tells_of_every_time_that_a_job_gave_way(state, attempts, events, expected):
    told = {"items": events, "next_cursor": None}
    text, _ = said("show", a_job(state, attempts), LISTED, told)
    lines = [line for line in text.splitlines() if line.startswith("gave way")]
    assert lines == [f"gave way     {sentence}" for sentence in expected]


@pytest.mark.parametrize(("state", "attempts"), [("QUEUED", 0), ("RUNNING", 1), ("SUCCEEDED", 1)])
def test_show_asks_only_where_a_job_can_have_given_way(state, attempts):
    text, requests = said("show", a_job(state, attempts))
    assert "gave way" not in text
    assert requests == 2


def test_events_tell_when_what_and_why():
    text, _ = said("events", {"items": STORY, "next_cursor": None})
    assert text.splitlines()[2] == (
        f"2026-02-03T12:00:00.000Z  requeue   QUEUED     attempt 1, {GAVE_WAY}"
    )
