"""A reader of gettext's catalogues in text form (.po); the standard library reads only the compiled ones."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

_START = re.compile(r'(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) (".*")')


@dataclass
class Entry:
    """One text: `parts` by keyword (msgid, msgstr, ...), and its flags, such as fuzzy."""

    flags: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What makes an entry the same one: context and text."""
        return self.parts.get("msgctxt", ""), self.parts["msgid"]

    @property
    def translations(self) -> list[str]:
        return [text for keyword, text in self.parts.items() if keyword.startswith("msgstr")]


def read(path: Path) -> list[Entry]:
    """The entries of a catalogue, without its header and without those that are out of use."""
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    entries = [_entry(block.split("\n")) for block in blocks if "\n#~ " not in f"\n{block}"]
    return [entry for entry in entries if entry.parts["msgid"]]


def _entry(lines: list[str]) -> Entry:
    entry, keyword = Entry(), ""
    for line in lines:
        if line.startswith("#,"):
            entry.flags += [flag.strip() for flag in line[2:].split(",")]
        elif found := _START.fullmatch(line):
            keyword = found[1]
            entry.parts[keyword] = ast.literal_eval(found[2])
        elif line.startswith('"'):
            entry.parts[keyword] += ast.literal_eval(line)
    return entry
