"""The scenario file of simulated cards: what it says, and that a wrong one does no harm."""

from __future__ import annotations

import os

import pytest

from gpus.scenario import (
    LARGEST_FILE,
    Defects,
    Scenario,
    ScenarioError,
    ScenarioFile,
    parse_scenario,
)

GIB = 2**30
UUID = "GPU-1"


def test_a_card_has_the_defects_of_all_of_its_index_and_of_its_uuid():
    scenario = parse_scenario(f"""
cards:
  all: {{unknown: [power], foreign_memory: 1G}}
  0: {{foreign_memory: 12G, foreign_busy: 0.5}}
  {UUID}: {{ghost_memory: 512M, lost: true}}
""")

    assert scenario.of(0, "GPU-0") == Defects(
        unknown=frozenset({"power"}), foreign_memory=12 * GIB, foreign_busy=0.5
    )
    assert scenario.of(1, UUID) == Defects(
        unknown=frozenset({"power"}), foreign_memory=GIB, ghost_memory=GIB // 2, lost=True
    )


@pytest.mark.parametrize("text", ["", "cards:", "cards: {}", "cards: {0: }"])
def test_an_empty_scenario_has_no_defects(text):
    assert parse_scenario(text).of(0, UUID) == Defects()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cards: [", "is not YAML"),
        ("[]", None),
        ("[1]", "The file is"),
        ("card: {}", "unknown name 'card'"),
        ("cards: 5", "'cards' is 5"),
        ("cards: {0: broken}", "Card '0' is 'broken'"),
        ("cards: {0: {foreign: 1G}}", "unknown name 'foreign'"),
        ("cards: {0: {foreign_memory: 12}}", "'foreign_memory' of card '0' is no size"),
        ("cards: {0: {foreign_busy: 2}}", "must be a number from 0 to 1"),
        ("cards: {0: {foreign_busy: true}}", "must be a number from 0 to 1"),
        ("cards: {0: {lost: 1}}", "must be true or false"),
        ("cards: {0: {unknown: [fan]}}", "must be a list of any of: power"),
        ("cards: {0: {unknown: power}}", "must be a list of any of: power"),
    ],
)
def test_a_wrong_scenario_is_refused_with_a_sentence(text, problem):
    if problem is None:
        assert parse_scenario(text) == Scenario()
        return
    with pytest.raises(ScenarioError, match=r"Correct it|allowed are") as raised:
        parse_scenario(text)
    assert problem in str(raised.value)


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text("cards: {0: {lost: true}}")
    file = ScenarioFile(path)
    file.refresh()
    assert file.scenario.of(0, UUID).lost

    path.write_text("cards: {0: {ghost_memory: 6G}}")
    file.refresh()

    assert file.scenario.of(0, UUID) == Defects(ghost_memory=6 * GIB)
    assert file.problem is None


def test_a_file_that_becomes_wrong_leaves_the_last_good_scenario(tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text("cards: {0: {lost: true}}")
    file = ScenarioFile(path)
    file.refresh()

    path.write_text("cards: {0: {lost: perhaps}}")
    for _ in range(2):
        file.refresh()

        assert file.scenario.of(0, UUID).lost
        assert "the last good one stays" in file.problem
        assert "'lost' of card '0' is 'perhaps'" in file.problem


def test_a_missing_file_means_no_defects_and_is_told(tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text("cards: {0: {lost: true}}")
    file = ScenarioFile(path)
    file.refresh()
    path.unlink()

    file.refresh()

    assert file.scenario == Scenario()
    assert "is missing" in file.problem


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"#" * (LARGEST_FILE + 1)])
def test_a_file_that_is_no_text_or_too_large_is_not_used(tmp_path, data):
    path = tmp_path / "scenario.yaml"
    path.write_bytes(data)
    file = ScenarioFile(path)

    file.refresh()

    assert "is not used" in file.problem


def test_a_pipe_in_place_of_the_file_does_not_block(tmp_path):
    path = tmp_path / "scenario.yaml"
    os.mkfifo(path)
    file = ScenarioFile(path)

    file.refresh()

    assert "not a regular file" in file.problem


def test_without_a_file_there_is_nothing_to_tell():
    file = ScenarioFile(None)
    file.refresh()
    assert (file.scenario, file.problem) == (Scenario(), None)
