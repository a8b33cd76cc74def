"""A request that is sent twice is done once: the first answer is kept for a day, by the caller's key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs.models import IdempotentAnswer, User
from jobs.refusals import Refused

KEPT_FOR = timedelta(hours=24)
LONGEST_KEY = 255

Answer = tuple[int, dict[str, Any]]
"""An HTTP status and a JSON body."""


@dataclass(frozen=True, kw_only=True)
class KeyedRequest:
    """A request with its key; `fingerprint` tells another request under the same key from a repeat."""

    user: User
    key: str
    fingerprint: str


def keyed(user: User, key: str, *content: bytes) -> KeyedRequest:
    """A request by its key and by all that it says.

    Raises:
        Refused: the key is empty or too long.
    """
    if not 0 < len(key) <= LONGEST_KEY:
        raise Refused(
            code="idempotency_key_invalid",
            title=_("The Idempotency-Key is not valid"),
            detail=_("The Idempotency-Key has %(length)s characters.") % {"length": len(key)},
            hint=_("Give 1 to %(most)s characters, such as a new UUID for each job.")
            % {"most": LONGEST_KEY},
        )
    digest = hashlib.sha256()
    for part in content:
        digest.update(len(part).to_bytes(8) + part)
    return KeyedRequest(user=user, key=key, fingerprint=digest.hexdigest())


def once(request: KeyedRequest, do: Callable[[], Answer]) -> Answer:
    """The kept answer, or that of `do`, which is then kept. A refusal is not kept: it may be right next time.

    Two that come at once: both may `do`, and one of them is undone when the second answer cannot be kept.

    Raises:
        Refused: the key was used for another request.
    """
    _forget_expired(request)
    kept = _kept(request)
    if kept is not None:
        return kept
    try:
        with transaction.atomic():
            status, body = do()
            IdempotentAnswer.objects.create(
                user=request.user,
                key=request.key,
                fingerprint=request.fingerprint,
                status=status,
                body=body,
            )
    except IntegrityError:
        kept = _kept(request)
        if kept is None:
            raise
        return kept
    return status, body


def _kept(request: KeyedRequest) -> Answer | None:
    row = IdempotentAnswer.objects.filter(user=request.user, key=request.key).first()
    if row is None:
        return None
    if row.fingerprint == request.fingerprint:
        return row.status, row.body
    raise Refused(
        code="idempotency_key_reused",
        title=_("This Idempotency-Key was used for another request"),
        detail=_("The key %(key)r came with other content before.") % {"key": request.key},
        hint=_("Use a new key for each new request."),
    )


def _forget_expired(request: KeyedRequest) -> None:
    IdempotentAnswer.objects.filter(
        user=request.user, key=request.key, created_at__lt=timezone.now() - KEPT_FOR
    ).delete()
