"""Exit codes, and how an error becomes one."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import NoReturn

from llama_factory.errors import (
    CoopError,
    Invalid,
    JobEndedBadly,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refused,
    Unreachable,
)


class ExitCode(IntEnum):
    """What the command's exit code says."""

    OK = 0
    ERROR = 1
    USAGE = 2
    JOB_FAILED = 3
    NOT_SIGNED_IN = 4
    NOT_FOUND = 5
    REFUSED = 6
    UNREACHABLE = 7
    INTERRUPTED = 130


MEANING = {
    ExitCode.OK: "done",
    ExitCode.ERROR: "an error that none of the others names",
    ExitCode.USAGE: "wrong usage, or a task file that is not valid",
    ExitCode.JOB_FAILED: "the job ended unsuccessfully (only with --wait)",
    ExitCode.NOT_SIGNED_IN: "not signed in: no token, or one that is not accepted",
    ExitCode.NOT_FOUND: "no such job, or not visible to you",
    ExitCode.REFUSED: "refused: not permitted, a conflict, over quota, or can never fit",
    ExitCode.UNREACHABLE: "no service answers",
    ExitCode.INTERRUPTED: "interrupted from the keyboard",
}

_CODES: tuple[tuple[type[CoopError], ExitCode], ...] = (
    (Invalid, ExitCode.USAGE),
    (JobEndedBadly, ExitCode.JOB_FAILED),
    (NotSignedIn, ExitCode.NOT_SIGNED_IN),
    (NotFound, ExitCode.NOT_FOUND),
    (NotAllowed, ExitCode.REFUSED),
    (Refused, ExitCode.REFUSED),
    (Unreachable, ExitCode.UNREACHABLE),
)


def code_of(error: CoopError) -> ExitCode:
    """The exit code for an error."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.ERROR


def run(app: Callable[[], object]) -> NoReturn:
    """Run the command line and end the process."""
    try:
        app()
    except CoopError as error:
        tell(error)
        sys.exit(code_of(error))
    except TimeoutError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(ExitCode.ERROR)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: no message, and none at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    sys.exit(ExitCode.OK)


def tell(error: CoopError) -> None:
    """Print an error to stderr, with its trace where LLAMA_COOP_DEBUG asks for it."""
    if os.environ.get("LLAMA_COOP_DEBUG"):
        traceback.print_exception(error)
        return
    sys.stderr.write(f"Error: {error}\n")
