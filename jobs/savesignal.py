"""Whether an installed transformers writes a checkpoint when its process gets SIGTERM, if its config says so.

It does from 5.0.0 on (`enable_jit_checkpoint`); older ones refuse the word, and the run ends before its first step. So
the trainer's own interpreter is asked once where its transformers is, and the file there is looked into at every start.
"""

from __future__ import annotations

from jobs import interpreters
from jobs.core.llamafactory import SAVES_AT_SIGTERM
from jobs.trainer import Trainer


def saves_at_sigterm(trainer: Trainer) -> bool:
    """Whether a training that this trainer runs can be told to save at SIGTERM."""
    interpreter = interpreters.interpreter_of(trainer)
    package = interpreters.package(interpreter, "transformers") if interpreter else None
    if package is None:
        return False
    try:
        # Read again every time: the package may have been replaced by another release while the service runs.
        return SAVES_AT_SIGTERM in (package / "training_args.py").read_text(encoding="utf-8")
    except OSError:
        interpreters.forget()
        return False
