from __future__ import annotations

from pathlib import Path

import pytest

from jobs import why
from jobs.core.plan import WaitCode

GIB = 1024**3


@pytest.mark.parametrize("code", list(WaitCode))
def test_every_code_is_in_the_manual_with_all_its_words(code: WaitCode) -> None:
    sentences, remedies = why.all_words(code)
    page = (Path(__file__).parents[2] / "docs" / "reasons.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{code}` |")]
    assert sentences
    assert remedies
    assert all(remedy in row for remedy in remedies)


@pytest.mark.parametrize("code", list(WaitCode))
def test_every_code_has_a_sentence_and_a_remedy(code: WaitCode) -> None:
    assert why.sentence(code, {}).endswith(".")
    assert why.remedy(code).endswith(".")
    assert why.who_acts(code) in {why.WAITING, why.YOURS, why.ADMINS}


def test_a_sentence_has_its_numbers_in_readable_units() -> None:
    numbers = {"need": 48 * GIB, "largest": 30 * GIB, "largest_index": 1, "largest_node": "a"}
    said = why.sentence(WaitCode.WAIT_MEMORY, numbers)
    assert said == "Needs 48 GiB; the largest free block is 30 GiB (gpu1 on a)."


def test_a_quota_in_cards_is_not_read_as_memory() -> None:
    said = why.sentence(WaitCode.WAIT_QUOTA, {"what": "cards", "used": 4, "limit": 4})
    assert said == "Its project uses 4 of 4 (cards)."


def test_dependencies_are_named_with_their_states() -> None:
    said = why.sentence(WaitCode.DEPENDENCY, {"task_ids": {"first": "RUNNING", "other": ""}})
    assert said == "Waits for first (RUNNING), other."


@pytest.mark.parametrize(
    ("code", "numbers", "said"),
    [
        (
            WaitCode.WAIT_QUOTA,
            {"what": "cards", "user": "ana", "used": 2, "limit": 2},
            "ana uses 2 of 2 (cards), the most that one person may in its project.",
        ),
        (
            WaitCode.WAIT_QUOTA,
            {"what": "memory", "used": 48 * GIB, "limit": 64 * GIB},
            "Its project uses 48 GiB of 64 GiB (memory).",
        ),
        (
            WaitCode.WAIT_QUOTA,
            {"what": "gpu_hours_month", "used": 99.5, "limit": 100.0},
            "Its project uses 99.5 of 100 (GPU-hours this month).",
        ),
        (
            WaitCode.WAIT_BUSY,
            {"busy": 1.2, "max_busy": 1.3, "sm_share": 0.4},
            (
                "The cards with room compute too much already: the least busy one is at "
                "120\N{NO-BREAK SPACE}% of at most 130\N{NO-BREAK SPACE}%, and this job would add "
                "40\N{NO-BREAK SPACE}%."
            ),
        ),
        (
            WaitCode.WAIT_HOST,
            {"node": "node-a"},
            (
                "The cards with room are on machines that have too few processors or too little main "
                "memory left, such as node-a."
            ),
        ),
        (
            WaitCode.WAIT_RESERVED,
            {"what": "cards", "kept_for": "big", "until": None, "wait": None},
            "The cards with room for it are kept for big.",
        ),
        (
            WaitCode.WAIT_RESERVED,
            {"what": "cards", "kept_for": None, "until": 1.0, "wait": 8040},
            "The cards with room for it are kept for a job of another project, for about 2h14m more.",
        ),
        (
            WaitCode.WAIT_RESERVED,
            {"what": "quota", "kept_for": "big", "until": None, "wait": None},
            "The quota that it would use is kept for big.",
        ),
        (
            WaitCode.WAIT_PREEMPTION,
            {"jobs": 2},
            "Running jobs are being suspended to make room for it (2).",
        ),
        (
            WaitCode.WAIT_PREEMPTION,
            {"jobs": 0},
            "Room has been made for it; the next reading of the cards will show it.",
        ),
        (
            WaitCode.TOO_FEW_CARDS,
            {"gpus": 8, "nodes": 3, "most": 8, "machines": 2, "most_nodes": None},
            "Asks for 8 cards on each of 3 machines; 2 machines here have such cards, and one job may use any number.",
        ),
        (WaitCode.WAIT_TURN, {"ahead": 3}, "3 jobs are ahead of it in the queue."),
        (WaitCode.WAIT_TURN, {"ahead": 1}, "One job is ahead of it in the queue."),
    ],
)
def test_what_is_said(code: WaitCode, numbers: dict[str, object], said: str) -> None:
    assert why.sentence(code, numbers) == said


def test_the_remedy_follows_what_the_quota_is_of() -> None:
    person = {"what": "cards", "user": "ana"}
    assert "of the same person" in why.remedy(WaitCode.WAIT_QUOTA, person)
    assert "of the project" in why.remedy(WaitCode.WAIT_QUOTA, {"what": "cards"})
    assert "next month" in why.remedy(WaitCode.WAIT_QUOTA, person | {"what": "gpu_hours_month"})


def test_a_busy_card_says_so_in_a_few_words() -> None:
    numbers = {"busy": 1.2, "max_busy": 1.3, "sm_share": 0.4}
    assert why.card_phrase(WaitCode.WAIT_BUSY, numbers).startswith("too busy: computes at 120")
