from __future__ import annotations

import pytest

from jobs import why
from jobs.core.plan import WaitCode

GIB = 1024**3


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
