"""The scripts that set a checkout up, without installing anything."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from tests.sources import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the files that set-up reads, and an environment that says it is up to date."""
    (tmp_path / "scripts").mkdir()
    for name in (
        "scripts/setup.sh",
        "scripts/python.sh",
        "pyproject.toml",
        "requirements.lock",
        "requirements-dev.lock",
    ):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "scripts/setup.sh").chmod(0o755)
    (tmp_path / ".venv").mkdir()
    return tmp_path


def stamp(checkout: Path, kind: str, lock: str) -> None:
    content = (checkout / lock).read_bytes() + (checkout / "pyproject.toml").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (checkout / ".venv" / f".installed-{kind}").write_text(digest)


def set_up(checkout: Path, kind: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        [checkout / "scripts/setup.sh", kind],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", ["run", "dev"])
def test_set_up_is_skipped_at_once_where_nothing_changed(checkout, kind):
    stamp(checkout, "dev", "requirements-dev.lock")
    began = time.monotonic()
    done = set_up(checkout, kind)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 3


def test_what_is_installed_to_run_is_not_enough_to_develop(checkout):
    stamp(checkout, "run", "requirements.lock")
    assert set_up(checkout, "run").stdout == ""
    assert (
        "requirements-dev.lock" in set_up(checkout, "dev", path_without_installers(checkout)).stdout
    )


def test_a_changed_lock_file_is_installed_anew(checkout):
    stamp(checkout, "run", "requirements.lock")
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "requirements.lock" in set_up(checkout, "run", path_without_installers(checkout)).stdout


def test_without_a_usable_python_it_says_what_to_install(checkout):
    done = set_up(checkout, "run", path_of_tools(checkout))
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr


def path_of_tools(checkout: Path, *more: str) -> str:
    """A PATH with nothing but what a shell script needs."""
    tools = checkout / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "cat", "sha256sum", "cut", "id", "cksum", "dirname", "rm", *more):
        (tools / name).symlink_to(subprocess.check_output(["which", name], text=True).strip())
    return str(tools)


def path_without_installers(checkout: Path) -> str:
    """The same with a Python that can say its version and install nothing."""
    path = path_of_tools(checkout)
    python = checkout / "tools" / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.11.0 && exit 0\n[ "$1" = -c ]\n')
    python.chmod(0o755)
    return path


def test_the_lock_files_pin_by_hash_and_name_no_registry():
    for name in LOCKS:
        text = (ROOT / name).read_text()
        pins = [line for line in text.splitlines() if line and line[0].isalnum()]
        assert pins
        assert all("==" in pin and pin.endswith("\\") for pin in pins)
        assert "://" not in text
        assert "--index-url" not in text


def test_both_lock_files_pin_the_same_versions():
    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {line.partition(" ")[0] for line in lines if line and line[0].isalnum()}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_the_lock_file_has_everything_that_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = (
        project["project"]["dependencies"] + project["project"]["optional-dependencies"]["server"]
    )
    locked = (ROOT / "requirements.lock").read_text()
    for requirement in asked:
        name = requirement.split("[")[0].split(">")[0].split("<")[0].strip().lower()
        assert f"\n{name}==" in f"\n{locked}", name


def test_every_make_target_is_listed_and_at_most_three_lines():
    makefile = (ROOT / "Makefile").read_text()
    listed = subprocess.check_output(["make", "--no-print-directory"], cwd=ROOT, text=True)
    for block in makefile.split("\n\n")[1:]:
        target = block.partition(":")[0]
        recipe = [line for line in block.splitlines() if line.startswith("\t")]
        assert f"make {target} " in listed
        assert len(recipe) <= 3, target
