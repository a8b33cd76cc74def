"""Every state, outcome and reason has a word of its own, and every icon that is named is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.core.states import JobState, Outcome, Reason
from jobs.templatetags.icons import ICONS
from jobs.views.words import STATES, outcome_words, reason_words

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("state", JobState)
def test_a_state_has_a_word_and_an_icon(state):
    assert str(STATES[state].word)
    assert STATES[state].icon in ICONS


def test_states_of_one_colour_differ_in_icon_or_word():
    looks = {(look.family, look.icon, str(look.word)) for look in STATES.values()}
    assert len(looks) == len(JobState)


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_has_a_word(outcome):
    assert str(outcome_words(outcome).word) != "running"


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_words(reason):
    assert reason_words(reason)
    assert "_" not in reason_words(reason)


def test_a_reason_of_a_later_version_is_shown_as_it_is():
    assert reason_words("node_on_fire") == "node on fire"


def test_every_icon_that_a_template_names_is_drawn():
    named = set()
    for path in (ROOT / "templates").rglob("*.html"):
        named |= set(re.findall(r'{% icon "(\w+)" %}', path.read_text()))
    assert named <= set(ICONS)
