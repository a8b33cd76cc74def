"""A real service for the tests of its face, started by `init_coop` itself; and the command line as people run it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.sources import ROOT
from tests.waiting import wait_until

PYTHON = [sys.executable, "-W", "error"]
CLI = [*PYTHON, "-c", "from llama_factory.cli import main; main()"]


@dataclass
class Shell:
    """An account's environment, in which commands run."""

    environ: dict[str, str]
    directory: Path
    extra: dict[str, str] = field(default_factory=dict)

    def coop(self, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess:
        """Run `llama-coop` with these arguments."""
        return self._run([*CLI, *arguments], stdin, environ)

    def python(self, code: str, **environ: str) -> subprocess.CompletedProcess:
        """Run Python code."""
        return self._run([*PYTHON, "-c", code], "", environ)

    def _run(self, command: list[str], stdin: str, environ: dict[str, str]):
        return subprocess.run(
            command,
            env=self.environ | environ,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def a_shell(folder: Path) -> Shell:
    """An account that knows no service: its own folders, none of the tests' variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COOP_", "LLAMA_COOP_", "DJANGO_"))
    }
    environ = kept | {
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
    }
    work = folder / "work"
    work.mkdir()
    return Shell(environ, work)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An account that knows no service."""
    return a_shell(tmp_path)


@pytest.fixture(scope="session")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The account under which a service runs, which its first `init_coop` started."""
    folder = tmp_path_factory.mktemp("owner")
    account = a_shell(folder)
    account.environ |= {
        "COOP_HOME": str(folder / "home"),
        "COOP_GPUS": "simulated:2xA100-80G",
        "COOP_PORT": str(a_free_port()),
        "COOP_AUTH_TOKEN": "myteam123",
        "COOP_HOST": "127.0.0.1",
    }
    try:
        first = account.python("from llama_factory import init_coop; print(init_coop().url)")
        assert first.returncode == 0, first.stderr + _log_of(folder)
        account.extra["url"] = first.stdout.strip()
        yield account
    finally:
        account.python("import sys; from coop_site.serve import main; sys.exit(main(['--stop']))")


@pytest.fixture
def desk(owner: Shell, tmp_path: Path) -> Shell:
    """The owner at a desk of one test's own: same service, an empty directory."""
    return Shell(dict(owner.environ), tmp_path, owner.extra)


@pytest.fixture
def member(owner: Shell, tmp_path: Path) -> Shell:
    """Another account, which uses the service by its address and the shared token."""
    account = a_shell(tmp_path)
    account.environ |= {"LLAMA_COOP_URL": owner.extra["url"], "LLAMA_COOP_TOKEN": "myteam123"}
    account.extra = owner.extra
    return account


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def a_task(shell: Shell, task_id: str, command: str = "echo hello", **lines: str) -> Path:
    """A task file in the shell's directory."""
    extra = "".join(f"{name}: {value}\n" for name, value in lines.items())
    path = shell.directory / f"{task_id}.yaml"
    body = "".join(f"  {line}\n" for line in command.splitlines())
    path.write_text(
        f"task_id: {task_id}\nresources:\n  min_memory: 2G\ncommand: |\n{body}{extra}",
        encoding="utf-8",
    )
    return path


def until_state(shell: Shell, task_id: str, state: str) -> None:
    """Wait until the job is in this state."""
    wait_until(
        lambda: f'"state": "{state}"' in shell.coop("show", task_id, "--json").stdout,
        seconds=60,
        what=f"{task_id} {state}",
    )


def _log_of(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / "state/llama-coop/serve.log").read_text(encoding="utf-8")
    return ""
