"""The python that runs the site's trainer, and where the packages lie that it would import."""

from __future__ import annotations

import logging
import subprocess
from functools import cache
from pathlib import Path

from jobs.trainer import Trainer

log = logging.getLogger(__name__)

_PATIENCE_S = 30.0  # a first start from a cold disk; usually some 0.1 s
_QUESTION = """\
import importlib.util, sys
found = importlib.util.find_spec(sys.argv[1])
print((found.origin if found else None) or "")
"""


def interpreter_of(trainer: Trainer) -> Path | None:
    """The python beside the program, else the one that its first line names."""
    program = Path(trainer.argv[0])
    if program.name.startswith("python"):
        return program
    beside = Path(trainer.folder) / "python"
    if beside.exists():
        return beside
    try:
        with program.open("rb") as file:
            first = file.readline(4096).decode(errors="replace")
    except OSError:
        return None
    words = first.removeprefix("#!").split()
    return Path(words[0]) if first.startswith("#!/") and "python" in words[0] else None


def package(interpreter: Path, name: str) -> Path | None:
    """The folder of the package that this interpreter would import; None where there is none. Asked once."""
    return _package(str(interpreter), name)


def forget() -> None:
    """Ask again next time: a package is not where it was."""
    _package.cache_clear()


@cache
def _package(interpreter: str, name: str) -> Path | None:
    try:
        told = subprocess.run(
            [interpreter, "-c", _QUESTION, name],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("Which %s trainings import is not known: %s", name, error)
        return None
    return Path(told).parent if told else None
