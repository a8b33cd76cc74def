"""Which PyTorch a job will import, without importing it: its version file is read.

The interpreter of the site's trainer is asked where its packages lie. A command's interpreter belongs to whoever handed
the job in, and is never executed by the service: only the folders beside it are looked into.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from gpus.smallfile import read_small
from jobs import interpreters
from jobs.trainer import Trainer

Version = tuple[int, int]

_VERSION = re.compile(r"""^__version__\s*=\s*["'](\d+)\.(\d+)""", re.MULTILINE)
_LARGEST = 64 * 1024
_RUNS_PYTHON = re.compile(
    r"python[\d.]*|torchrun|accelerate|deepspeed|llamafactory-cli|lmf", re.ASCII
)
_PLACES = (
    "lib/python3*/site-packages",
    "lib/python3*/dist-packages",
    "local/lib/python3*/dist-packages",
)
_SETTING = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


def of_trainer(trainer: Trainer) -> Version | None:
    """The version (major, minor) that the site's trainer imports; None where that cannot be told."""
    interpreter = interpreters.interpreter_of(trainer)
    package = interpreters.package(interpreter, "torch") if interpreter else None
    return _version_in(package) if package else None


def of_command(command: str, *, path: str, cwd: Path) -> Version | None:
    """The version that a command imports which is one call of a python program; None where that cannot be told.

    A command of several steps may change its interpreter on the way, so nothing is said about it.
    """
    program = program_of(command)
    found = _located(program, path, cwd) if program else None
    if found is None:
        return None
    # A virtual environment's python is a link to another one; its packages lie beside the link.
    for prefix in dict.fromkeys((found.parent.parent, found.resolve().parent.parent)):
        for pattern in _PLACES:
            for packages in sorted(prefix.glob(pattern)):
                if version := _version_in(packages / "torch"):
                    return version
    return None


def program_of(command: str) -> str | None:
    """The python program that a command of one single step calls; None for any other."""
    text = command.replace("\\\n", " ").strip()
    if "\n" in text or "`" in text or "$(" in text:
        return None
    try:
        words = list(shlex.shlex(text, posix=True, punctuation_chars=True))
    except ValueError:
        return None
    if any(word and set(word) <= set("();&|") for word in words):
        return None
    called = next((word for word in _words(text) if not _SETTING.fullmatch(word)), "")
    return called if _RUNS_PYTHON.fullmatch(Path(called).name) else None


def _words(text: str) -> list[str]:
    words = shlex.split(text)
    return words[1:] if words[:1] == ["exec"] else words


def _located(program: str, path: str, cwd: Path) -> Path | None:
    if "/" in program:
        found = cwd / Path(program).expanduser()
        return found if found.exists() else None
    where = shutil.which(program, path=path)
    return Path(where) if where else None


def _version_in(package: Path) -> Version | None:
    try:
        raw = read_small(package / "version.py", _LARGEST, follow_links=True)
    except OSError:
        return None
    match = _VERSION.search(raw.decode(errors="replace"))
    return (int(match[1]), int(match[2])) if match else None
