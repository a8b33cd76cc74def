"""Each reason that the core decides for comes with the numbers that its words need."""

from __future__ import annotations

import pytest

from jobs import why
from jobs.core.decide import decide
from jobs.core.placement import verdicts
from jobs.core.units import GIB, MIB
from tests.builders import a100, job, world
from tests.core.test_decide import WAITS
from tests.core.test_placement import NEVER, VERDICTS


@pytest.mark.parametrize("case", WAITS, ids=lambda case: case.what)
def test_the_sentence_of_a_decision_lacks_no_number(case):
    (wait,) = decide(case.snapshot).waits
    assert "?" not in why.sentence(wait.code, wait.numbers)


@pytest.mark.parametrize(("job", "cards", "code", "numbers"), NEVER)
def test_the_sentence_of_a_refusal_lacks_no_number(job, cards, code, numbers):
    (wait,) = decide(world(cards, [job])).waits
    assert (wait.code, "?" in why.sentence(wait.code, wait.numbers)) == (code, False)


@pytest.mark.parametrize(("job", "card", "code", "numbers"), VERDICTS[1:])
def test_the_phrase_of_a_card_speaks_of_that_card_and_lacks_no_number(job, card, code, numbers):
    (verdict,) = verdicts(job, world([card]))
    phrase = why.card_phrase(verdict.code, verdict.numbers)
    assert "?" not in phrase
    assert not phrase.endswith(".")


def test_sizes_that_differ_by_little_do_not_read_the_same():
    (wait,) = decide(world([a100(booked=62 * GIB + MIB, threshold=1.0)], [job()])).waits
    assert "Needs 16 GiB; the largest free block is 15.999 GiB" in why.sentence(
        wait.code, wait.numbers
    )
