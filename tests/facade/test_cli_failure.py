"""On the command line, before a real service: what ran out of memory says what to change, as one types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.facade.conftest import Shell, until_state

MESSAGE = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB of which 1.00 GiB is"
    " free. Including non-PyTorch memory, this process has 5.00 GiB memory in use."
)


@pytest.fixture
def failed(member: Shell, tmp_path: Path) -> Shell:
    task = tmp_path / "oom.yaml"
    task.write_text(
        f"task_id: oom\nresources: {{min_memory: 4G}}\ncommand: |\n  echo '{MESSAGE}'\n  exit 1\n"
    )
    assert member.coop("submit", str(task)).returncode == 0
    until_state(member, "oom", "FAILED")
    return member


def test_show_and_why_name_the_change_and_a_clone_takes_it(failed: Shell) -> None:
    shown = failed.coop("show", "oom").stdout
    assert "PyTorch had 5 GiB and asked for 2 GiB more." in shown
    assert "--set resources.min_memory=8G" in shown
    assert "llama-coop clone" in failed.coop("why", "oom").stdout
    raw = json.loads(failed.coop("show", "oom", "--json").stdout)
    (remedy,) = raw["failure"]["remedies"]
    sets = [f"--set={name}={value}" for name, value in remedy["changes"].items()]
    assert failed.coop("clone", "oom", *sets).returncode == 0
    copy = json.loads(failed.coop("show", "oom", "--json").stdout)
    assert (copy["run"], copy["resources"]["min_memory_bytes"]) == (2, 8 * 2**30)


def test_a_job_that_has_ended_is_not_kept(failed: Shell) -> None:
    answer = failed.coop("keep", "oom", "--for", "4h")
    assert answer.returncode == 6
    assert "does not apply" in answer.stderr
