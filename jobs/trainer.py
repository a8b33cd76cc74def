"""Where LLaMA-Factory is: the site's `COOP_LLAMAFACTORY`, else `llamafactory-cli` on PATH."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from jobs.account import Account, can_use
from jobs.refusals import Refused

COMMAND = "llamafactory-cli"


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How LLaMA-Factory is called."""

    argv: tuple[str, ...]
    folder: str
    """Of its programs; it must be on PATH, because LLaMA-Factory calls `torchrun` from there."""


def find_trainer(account: Account | None = None) -> Trainer:
    """The LLaMA-Factory of this site, for jobs that run as `account`.

    Raises:
        Refused: there is none, or the account may not use it; says what to do.
    """
    configured = settings.COOP_LLAMAFACTORY or COMMAND
    path = _located(configured)
    if path is None:
        raise Refused(
            code="llamafactory_missing",
            title=_("LLaMA-Factory was not found"),
            detail=_("COOP_LLAMAFACTORY is “%(given)s”, and no such program was found.")
            % {"given": configured},
            hint=_(
                "Set COOP_LLAMAFACTORY to the path of llamafactory-cli, of the virtual environment that has it,"
                " or of that environment's python, and start the service again."
            ),
            status=500,
        )
    if not all(can_use(account, each) for each in _needed(path)):
        raise Refused(
            code="llamafactory_unreachable",
            title=_("LLaMA-Factory cannot be used by jobs"),
            detail=_(
                "Jobs run as the account “%(account)s”, which may not read and execute %(path)s."
            )
            % {"account": account.name if account else _("of the service"), "path": path},
            hint=_(
                "Install LLaMA-Factory, and the Python that it was installed with, where every account may"
                " read it, such as /opt and /usr."
            ),
            status=500,
        )
    return _called(path)


def _located(configured: str) -> Path | None:
    """A path is taken as it is; a virtual environment stands for its program; a name is looked up on PATH."""
    if "/" not in configured:
        found = shutil.which(configured, path=settings.COOP_JOB_PATH) or shutil.which(configured)
        return Path(found) if found else None
    path = settings.BASE_DIR / Path(configured).expanduser()
    if path.is_dir():
        path = path / "bin" / COMMAND
    return path if path.is_file() and os.access(path, os.X_OK) else None


def _needed(path: Path) -> list[Path]:
    """The program, and the interpreter of its virtual environment, which may lead into somebody's home."""
    interpreter = path.parent / "python"
    return [path, interpreter] if interpreter.exists() else [path]


def _called(path: Path) -> Trainer:
    if path.name.startswith("python"):
        return Trainer(argv=(str(path), "-m", "llamafactory.cli"), folder=str(path.parent))
    return Trainer(argv=(str(path),), folder=str(path.parent))
