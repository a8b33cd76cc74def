"""The pages say what is there: files, settings, commands, states."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.core.states import JobState
from tests.sources import ROOT, name_of, sources, tracked

PAGES = [path for path in tracked("*.md") if "vendor" not in path.parts]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
PLACE = re.compile(
    r"`((?:llama_factory|coop_site|jobs|gpus|docs|tests|scripts|examples)/[\w./-]*)`"
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_generated_parts_are_current():
    answer = subprocess.run(
        [sys.executable, "scripts/write_docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_every_file_named_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    missing += [place for place in PLACE.findall(text) if not (ROOT / place).exists()]
    assert missing == []


def test_every_variable_of_the_service_is_explained():
    pattern = re.compile(r'"(COOP_[A-Z_]+)"')
    used = {
        name
        for path in sources("coop_site", "jobs", "gpus")
        for name in pattern.findall(path.read_text(encoding="utf-8"))
    }
    explained = set(re.findall(r"`(COOP_[A-Z_]+)`", read("docs/operations.md")))
    assert used - explained == set()


def test_no_variable_is_explained_that_nothing_reads():
    sources_text = "\n".join(path.read_text(encoding="utf-8") for path in sources())
    explained = set(re.findall(r"`(COOP_[A-Z_]+)`", read("docs/operations.md")))
    unread = {
        name
        for name in explained
        if name not in sources_text and name.removesuffix("_FILE") not in sources_text
    }
    assert unread == set()


@pytest.mark.parametrize("state", JobState)
def test_every_state_is_on_the_page_of_the_lifecycle(state: JobState):
    assert f"| {state} |" in read("docs/lifecycle.md")


def test_every_make_target_named_in_a_page_exists():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:`|\n    )make ([a-z-]+)", page.read_text(encoding="utf-8"))
    }
    assert named - targets == set()


def test_the_decisions_are_numbered_without_a_gap_and_listed():
    numbers = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert [int(name[:4]) for name in numbers] == list(range(1, len(numbers) + 1))
    assert all(f"({name})" in read("docs/decisions/README.md") for name in numbers)


def test_the_version_is_written_in_one_place():
    from jobs.core.version import __version__

    pattern = re.compile(rf'["\']{re.escape(__version__)}["\']')
    holders = [
        name_of(path)
        for path in [*sources(), ROOT / "pyproject.toml"]
        if pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert holders == ["jobs/core/version.py"]


def test_no_page_names_a_number_of_a_tracker():
    found = {
        name_of(page): re.findall(r"(?<![\w#])#\d+\b", page.read_text(encoding="utf-8"))
        for page in PAGES
        if page.name != "CHANGELOG.md"
    }
    allowed = {"#1", "#2", "#3"}  # the runs of a task_id
    assert {
        name: set(numbers) - allowed for name, numbers in found.items() if set(numbers) - allowed
    } == {}
