"""What a start makes ready before the services run: the database, static files, the first admin, ways in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connections

from jobs.models import ApiToken, User
from jobs.projects import default_project
from jobs.signin import link_for
from jobs.tasks import ask_for_a_heartbeat, ensure_schedules
from jobs.tokens import SCOPES, create_token

ADMIN = "admin"
LOCAL_TOKEN = "local service"  # noqa: S105 - a name, not a secret


def prepare() -> None:
    """Bring COOP_HOME up to this version. Safe to repeat; does nothing where nothing changed."""
    settings.COOP_HOME.mkdir(mode=0o711, parents=True, exist_ok=True)
    _create_database_file()
    call_command("migrate", interactive=False, verbosity=0)
    _collect_static_files()
    ensure_schedules()
    ask_for_a_heartbeat()
    default_project()
    admin()
    connections.close_all()


def admin() -> User:
    """The starting account's own admin. It has no password until it sets one; a sign-in link lets it in."""
    user, created = User.objects.get_or_create(
        username=ADMIN, defaults={"is_staff": True, "is_superuser": True}
    )
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def sign_in_link() -> str:
    """A new one-time address that signs the admin in."""
    link = link_for(admin())
    connections.close_all()
    return link


def new_local_token() -> str:
    """A token for clients of this account on this machine; those made before end."""
    forget_local_tokens()
    token = create_token(admin(), name=LOCAL_TOKEN, scopes=SCOPES)
    connections.close_all()
    return token


def forget_local_tokens() -> None:
    """End the local token; also one that a killed run left."""
    ApiToken.objects.filter(name=LOCAL_TOKEN, user__username=ADMIN).delete()
    connections.close_all()


def _create_database_file() -> None:
    """SQLite would create it readable for everybody; its side files copy these rights."""
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        path = Path(settings.DATABASES["default"]["NAME"])
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY, 0o600))


def _collect_static_files() -> None:
    """Copy, hash and compress them; skipped while their names, sizes and times are those of the last time."""
    seen = settings.STATIC_ROOT / ".collected"
    fingerprint = _fingerprint_of_static_files()
    if seen.is_file() and seen.read_text(encoding="ascii") == fingerprint:
        return
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    seen.parent.mkdir(parents=True, exist_ok=True)
    seen.write_text(fingerprint, encoding="ascii")


def _fingerprint_of_static_files() -> str:
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
