"""Load a policy's class from its file and make one of it; and say in which line something went wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn

from jobs.core.policies import SHIPPED
from jobs.core.policy import BasePolicy
from jobs.core.scheduling.rules import Rules
from jobs.policies.source import Source

MODULE = "site_policy"  # the name under which the file is loaded
_LONGEST = 300  # characters of an exception's text that are shown


class PolicyFailed(Exception):
    """A policy that cannot be loaded, or has not answered; the text goes on from "The policy X"."""


def load(source: Source, rules: Rules | None = None) -> BasePolicy:
    """The policy, ready to be asked. Executes the site's own code, here and now.

    Raises:
        PolicyFailed: it cannot be loaded; the text has the exception and its line.
    """
    policy = SHIPPED[source.name]() if source.file is None else _from_file(source.file, source.name)
    if rules is not None:
        policy.rules = rules
    return policy


def described(error: BaseException, file: Path | None) -> str:
    """An exception in one line: its type, its text, and where in the policy's file it came from."""
    text = " ".join(_text_of(error).split())
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    named = type(error).__name__ + (f": {text}" if text else "")
    return named + _line_of(error, file)


def place_in(frame: FrameType | None, file: Path | None) -> str:
    """Where in the policy's file the frame is, such as " (line 7, in schedule)"; empty where it is elsewhere."""
    while frame is not None and frame.f_code.co_filename != str(file):
        frame = frame.f_back
    return f" (line {frame.f_lineno}, in {frame.f_code.co_name})" if frame else ""


def _from_file(file: Path, name: str) -> BasePolicy:
    try:
        found = getattr(_module(file), name, None)
        if not (isinstance(found, type) and issubclass(found, BasePolicy)):
            _refuse(f"{name} in {file} is not a class derived from BasePolicy")
        policy: BasePolicy = found()
    except PolicyFailed:
        raise
    except (Exception, SystemExit) as error:
        raise PolicyFailed(f"cannot be loaded: {described(error, file)}") from error
    return policy


def _module(file: Path) -> ModuleType:
    module = ModuleType(MODULE)
    module.__file__ = str(file)
    sys.modules[MODULE] = module  # dataclasses and pickle look there
    # Behind everything else: a module beside the policy can be imported, and hides none of Python's own.
    sys.path.append(str(file.parent))
    # Not by importlib: it may take compiled code that is a second old.
    exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)  # noqa: S102 - what the site asked for
    return module


def _refuse(reason: str) -> NoReturn:
    raise PolicyFailed(f"cannot be loaded: {reason}")


def _text_of(error: BaseException) -> str:
    try:
        return error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # noqa: BLE001 - the site's own exception
        return ""


def _line_of(error: BaseException, file: Path | None) -> str:
    """The last line of the policy's file that the exception passed through."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f" (line {error.lineno})"
    found = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == str(file):
            found = f" (line {trace.tb_lineno}, in {code.co_name})"
        trace = trace.tb_next
    return found.replace(", in <module>", "")
