"""A message as the senders get it, and what a sender says when it could not send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class SendFailed(Exception):
    """It did not arrive; the text is one sentence for the channel's owner and names no secret."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """What one message says: for people as title and text, for programs as items."""

    title: str  # one line
    text: str  # lines, the link last
    kind: str  # of all items, or "digest"
    items: tuple[Mapping[str, Any], ...] = ()
    id: str = ""  # the same when it is sent again

    @property
    def whole(self) -> str:
        """Title and text, for services without a title."""
        return f"{self.title}\n{self.text}" if self.text else self.title
