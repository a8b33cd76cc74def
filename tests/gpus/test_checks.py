"""`manage.py check` on the configured cards."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks


@pytest.fixture
def ids(settings):
    def run(**values: str) -> list[str]:
        for name, value in values.items():
            setattr(settings, name, value)
        return [message.id for message in run_checks() if message.id.startswith("gpus.")]

    return run


def test_right_settings_raise_nothing(ids):
    assert ids(COOP_GPUS="simulated:1xA100-80G", COOP_SIM_SCENARIO="") == []


def test_a_text_that_names_no_cards_is_an_error(ids):
    assert ids(COOP_GPUS="2xA100") == ["gpus.E001"]


def test_a_scenario_that_cannot_be_used_is_a_warning(ids, tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text("cards: {0: {lost: perhaps}}")

    assert ids(COOP_SIM_SCENARIO=str(path)) == ["gpus.W001"]

    path.write_text("cards: {0: {lost: true}}")
    assert ids(COOP_SIM_SCENARIO=str(path)) == []


def test_a_scenario_for_real_cards_is_a_warning(ids):
    assert ids(COOP_GPUS="nvml", COOP_SIM_SCENARIO="scenario.yaml") == ["gpus.W002"]
