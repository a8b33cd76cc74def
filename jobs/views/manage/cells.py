"""Tables that are edited in place: what this reader has changed, told from what stood there when the page was made.

So two people who edit different cells of one table do not undo each other's changes, and what is left alone is not
written anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

BEFORE = "before"
"""The hidden field with what stood in each cell, as JSON: one field, because Django takes 200."""


def before(cells: Mapping[str, str]) -> str:
    """The text of the hidden field."""
    return json.dumps(dict(cells), ensure_ascii=False)


def changed(given: Mapping[str, str]) -> dict[str, str]:
    """The cells that hold something else than before, by name; a form without the hidden field changes nothing."""
    stood = _stood(given.get(BEFORE, ""))
    return {
        name: text.strip()
        for name, text in given.items()
        if name in stood and text.strip() != stood[name]
    }


def _stood(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
