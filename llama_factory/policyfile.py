"""A policy from a file of the person who types the command, for trying it out."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from jobs.core.policy import BasePolicy
from llama_factory.errors import Invalid

_HOW = "Write path/to/policy.py:ClassName, the name of a class derived from llama_factory.coop.BasePolicy."


def load_policy(given: str) -> BasePolicy:
    """The policy that `path:Class` names. The file's code is run.

    Raises:
        Invalid: no such file or class, a class that is no policy, or a file that cannot be run.
    """
    file_name, _, class_name = given.rpartition(":")
    path = Path(file_name)
    if not path.is_file():
        raise Invalid(f"There is no file {file_name!r} with a policy.", hint=_HOW)
    found = getattr(_run(path), class_name, None)
    if not (isinstance(found, type) and issubclass(found, BasePolicy)):
        raise Invalid(f"{class_name!r} in {file_name} is not a policy.", hint=_HOW)
    return found()


def _run(path: Path) -> object:
    spec = importlib.util.spec_from_file_location("policy_to_try", path)
    if spec is None or spec.loader is None:
        raise Invalid(f"{path} is not Python: its name must end in .py.", hint=_HOW)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Invalid(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return module
