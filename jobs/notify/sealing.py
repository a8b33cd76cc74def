"""Addresses and secrets of channels, sealed before they are stored: a copy of the database sends nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

_PURPOSE = b"llama-coop: addresses of channels\0"


class CannotUnseal(Exception):
    """The site's secret key is another one than when this was stored."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a channel leads. Its text never shows what it holds."""

    address: str
    secret: str = ""

    def __repr__(self) -> str:
        return "Target(…)"

    def scrubbed(self, text: str) -> str:
        """`text` without this address and this secret."""
        parts = {self.address, self.secret, *self.address.replace("=", "/").split("/")}
        for part in sorted(parts, key=len, reverse=True):
            if len(part) >= 8:
                text = text.replace(part, "…")
        return text


def seal(target: Target) -> str:
    """What is stored."""
    return _box().encrypt(json.dumps(asdict(target)).encode()).decode()


def unseal(sealed: str) -> Target:
    """What was stored.

    Raises:
        CannotUnseal: it was sealed with another key.
    """
    try:
        return Target(**json.loads(_box().decrypt(sealed.encode())))
    except InvalidToken as error:
        raise CannotUnseal from error


def _box() -> Fernet:
    digest = hashlib.sha256(_PURPOSE + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
