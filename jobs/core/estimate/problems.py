"""Why nothing can be said about a training's memory."""

from __future__ import annotations


class CannotEstimate(ValueError):
    """There is no estimate.

    `field` is the setting of the training config that is to blame, `message` what is missing, `hint` what to do.
    """

    def __init__(self, field: str, message: str, hint: str) -> None:
        super().__init__(f"{field}: {message}; {hint}.")
        self.field = field
        self.message = message
        self.hint = hint
