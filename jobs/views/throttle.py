"""Slows down the guessing of passwords: five failures for a name from one address, then a quarter of an hour's rest.

Counted in the database, so that it holds for all web processes together and over a restart.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from jobs.models import SignInFailures

MOST_FAILURES = 5
REST = timedelta(minutes=15)


def is_locked(name: str, address: str) -> bool:
    """Whether no further guess is taken for now."""
    rows = SignInFailures.objects.filter(pk=_key(name, address), until__gt=timezone.now())
    return rows.filter(count__gte=MOST_FAILURES).exists()


@transaction.atomic
def note_failure(name: str, address: str) -> None:
    """Count one wrong guess; what was long ago is forgotten first."""
    key, now = _key(name, address), timezone.now()
    SignInFailures.objects.filter(pk=key, until__lte=now).delete()
    SignInFailures.objects.get_or_create(pk=key, defaults={"until": now + REST})
    SignInFailures.objects.filter(pk=key).update(count=F("count") + 1)


def forget(name: str, address: str) -> None:
    """The right password came."""
    SignInFailures.objects.filter(pk=_key(name, address)).delete()


def _key(name: str, address: str) -> str:
    """Names are hashed: what people type into the name field is at times their password."""
    text = f"{name.lower()}\0{address}"
    return hashlib.sha256(text.encode()).hexdigest()
