"""The account that jobs run as: another one than the service's where the service is root (isolation level L1).

At L1 a job reads neither the database nor the secrets nor the records of attempts. At L0 it runs as the service itself:
"people who can submit can read each other's files".
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings

from jobs.refusals import Refused

DEFAULT_ACCOUNTS = ("llama-job", "nobody")
"""Looked for in this order when the service is root and COOP_JOB_USER says nothing."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A Unix account, as the kernel needs it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def job_account() -> Account | None:
    """The account that a job's processes change to; None where they stay the service's own (L0).

    Raises:
        Refused: COOP_JOB_USER names an account that does not exist, or that cannot be used.
    """
    if os.geteuid() != 0:
        return None
    return _chosen(settings.COOP_JOB_USER, settings.COOP_HOME)


def isolation_level() -> str:
    """L1 where jobs run as an account of their own, else "L0"."""
    try:
        return "L1" if job_account() else "L0"
    except Refused:
        return "L1"  # no job runs at all until the setting is corrected


def can_use(account: Account | None, path: Path) -> bool:
    """Whether the account may pass through all folders on the way to `path`, and read and execute it."""
    if account is None:
        return os.access(path, os.R_OK | os.X_OK)
    try:
        resolved = path.resolve(strict=True)
        passed = {*path.absolute().parents, *resolved.parents}
        return all(_allows(account, each, 0o1) for each in passed) and _allows(
            account, resolved, 0o5
        )
    except OSError:
        return False


@cache
def _chosen(configured: str, coop_home: Path) -> Account | None:
    """A default account that cannot reach COOP_HOME (a checkout in /root, say) is not taken: L0, and no refusal."""
    if configured:
        return _configured(configured, coop_home)
    for name in DEFAULT_ACCOUNTS:
        account = _account(name, coop_home)
        if account is not None and _can_enter(account, coop_home):
            return account
    return None


def _configured(name: str, coop_home: Path) -> Account:
    account = _account(name, coop_home)
    if account is None:
        raise Refused(
            code="job_account_missing",
            title="The account for jobs does not exist",
            detail=f"COOP_JOB_USER names the account {name!r}, which this machine does not have.",
            hint="Make it (adduser --system), or name one that exists, and start the service again.",
            status=500,
        )
    if not _can_enter(account, coop_home):
        raise Refused(
            code="job_account_shut_out",
            title="The account for jobs cannot reach its files",
            detail=f"The account {name!r} may not pass through the folders on the way to {coop_home}.",
            hint="Allow it (chmod o+x), or move COOP_HOME to where it may go, such as /var/lib.",
            status=500,
        )
    return account


def _account(name: str, coop_home: Path) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    account = Account(
        name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, groups=groups, home=entry.pw_dir
    )
    home = _home_of(account, coop_home)
    return Account(
        name=account.name, uid=account.uid, gid=account.gid, groups=groups, home=str(home)
    )


def _home_of(account: Account, coop_home: Path) -> Path:
    """Its own home where it has one; `nobody` has none, so caches of models go to a folder of COOP_HOME."""
    home = Path(account.home)
    if home.is_dir() and home.stat().st_uid == account.uid:
        return home
    return coop_home / "accounts" / account.name


def make_home(account: Account) -> None:
    """Make the account's home where it lies in COOP_HOME. Safe to repeat."""
    home = Path(account.home)
    if not home.is_relative_to(settings.COOP_HOME) or home.exists():
        return
    home.parent.mkdir(mode=0o711, exist_ok=True)
    home.parent.chmod(0o711)
    home.mkdir(mode=0o700, exist_ok=True)
    os.chown(home, account.uid, account.gid)


def _can_enter(account: Account, folder: Path) -> bool:
    """Whether the account may pass through to `folder`, which may not exist yet."""
    existing = [each for each in (folder, *folder.parents) if each.exists()]
    return all(_allows(account, each, 0o1) for each in existing)


def _allows(account: Account, path: Path, wanted: int) -> bool:
    """By the mode bits; access lists that allow more are not looked at."""
    status = path.stat()
    if account.uid == status.st_uid:
        granted = status.st_mode >> 6
    elif status.st_gid in {account.gid, *account.groups}:
        granted = status.st_mode >> 3
    else:
        granted = status.st_mode
    if path.is_dir():
        wanted = 0o1
    return granted & wanted == wanted
