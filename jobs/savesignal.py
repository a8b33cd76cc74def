"""Whether an installed transformers writes a checkpoint when its process gets SIGTERM, if its config says so.

It does from 5.0.0 on (`enable_jit_checkpoint`); older ones refuse the word, and the run ends before its first step. So
the trainer's own interpreter is asked once where its transformers is, and the file there is looked into at every start.
"""

from __future__ import annotations

import logging
import subprocess
from functools import cache
from pathlib import Path

from jobs.core.llamafactory import SAVES_AT_SIGTERM
from jobs.trainer import Trainer

log = logging.getLogger(__name__)

_PATIENCE_S = 30.0  # a first start from a cold disk; usually some 0.1 s
_QUESTION = """\
import importlib.util
found = importlib.util.find_spec("transformers")
print((found.origin if found else None) or "")
"""


def saves_at_sigterm(trainer: Trainer) -> bool:
    """Whether a training that this trainer runs can be told to save at SIGTERM."""
    interpreter = _interpreter(trainer)
    if interpreter is None:
        return False
    package = _transformers(str(interpreter))
    if package is None:
        return False
    try:
        # Read again every time: the package may have been replaced by another release while the service runs.
        return SAVES_AT_SIGTERM in (package / "training_args.py").read_text(encoding="utf-8")
    except OSError:
        _transformers.cache_clear()
        return False


def _interpreter(trainer: Trainer) -> Path | None:
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


@cache
def _transformers(interpreter: str) -> Path | None:
    """The folder of the transformers that this interpreter would import; None where there is none."""
    try:
        told = subprocess.run(
            [interpreter, "-c", _QUESTION],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("Whether trainings can save at SIGTERM is not known: %s", error)
        return None
    return Path(told).parent if told else None
