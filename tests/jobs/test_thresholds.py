"""Other thresholds, decided by the scheduler itself: more starts with less headroom, and nothing is changed."""

from __future__ import annotations

import pytest

from jobs import snapshots, thresholds
from jobs.core.states import JobState
from jobs.models import Job
from jobs.thresholds import effect_of, effects
from tests.rows import GIB, a_device, a_job

pytestmark = pytest.mark.django_db


def test_a_higher_threshold_lets_more_in_and_leaves_less_headroom():
    a_device()
    for number in range(5):
        a_job(f"job-{number}", memory=15 * GIB)
    snapshot = snapshots.take().snapshot

    low, high = effect_of(0.8, snapshot), effect_of(1.0, snapshot)

    assert low.starts < high.starts
    assert low.headroom > high.headroom == 0


def test_looking_at_thresholds_starts_nothing():
    a_device()
    job = a_job(memory=15 * GIB)

    found = effects()

    assert all(effect.starts == 1 for effect in found)
    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED


def test_without_cards_nothing_would_start_and_no_headroom_is_claimed():
    assert {(effect.starts, effect.headroom) for effect in effects()} == {(0, None)}


def test_a_queue_that_is_too_long_is_not_looked_at(db, monkeypatch):
    monkeypatch.setattr(thresholds, "MOST_QUEUED", 1)
    a_job("one")
    a_job("two")
    assert effects() == []
