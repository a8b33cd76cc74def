"""Writes the generated parts of the pages in docs/ from the sources; with --check, says which are stale."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from django.conf import settings  # noqa: E402 - path set above

settings.configure(USE_I18N=False)  # the pages have the texts as they stand in the sources

from jobs import why  # noqa: E402
from jobs.core.estimate import measured  # noqa: E402
from jobs.core.estimate.answer import estimate_of  # noqa: E402
from jobs.core.estimate.families import FAMILIES, architecture_of  # noqa: E402
from jobs.core.estimate.known import known_config, known_names  # noqa: E402
from jobs.core.estimate.published import PUBLISHED  # noqa: E402
from jobs.core.plan import WaitCode  # noqa: E402
from jobs.core.states import TERMINAL, TRANSITIONS, JobState, Outcome, Reason  # noqa: E402

BEGIN, END = "<!-- generated: make docs -->", "<!-- end of the generated part -->"
_PLACE = re.compile(r"%\((\w+)\)s")
_COMMENT = re.compile(r'^    (?P<name>[A-Z_]+) = "[^"]*"(?:  # (?P<meaning>.*))?$', re.MULTILINE)


def main() -> int:
    """Write the pages, or with --check compare them; 1 where one is stale."""
    stale = []
    for name, part in GENERATED.items():
        page = (ROOT / name).read_text(encoding="utf-8")
        current = with_generated_part(page, part())
        if page != current:
            stale.append(name)
        if "--check" not in sys.argv:
            (ROOT / name).write_text(current, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"Stale: {', '.join(stale)}. Run `make docs` and commit.", file=sys.stderr)
        return 1
    return 0


def with_generated_part(page: str, part: Iterator[str]) -> str:
    """The page with everything between the two marks written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = "\n".join(part).strip("\n")
    return f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}"


def lifecycle() -> Iterator[str]:
    """The diagram and the tables of jobs/core/states.py."""
    yield from ("```mermaid", "stateDiagram-v2", "    [*] --> QUEUED", "    [*] --> HELD")
    for old in JobState:
        yield from (f"    {old} --> {new}" for new in JobState if new in TRANSITIONS[old])
    yield from (f"    {state} --> [*]" for state in JobState if state in TERMINAL)
    yield from ("```", "", "| state | meaning | may become |", "|---|---|---|")
    yield from (f"| {s} | {_meaning(s)} | {_following(s)} |" for s in JobState)
    outcomes = ", ".join(f"`{outcome.value}`" for outcome in Outcome)
    yield from ("", f"How an attempt ended: {outcomes}.", "", "| reason | meaning |", "|---|---|")
    yield from (f"| `{reason.value}` | {_meaning(reason)} |" for reason in Reason)


_CLASSES = {
    why.WAITING: "Waiting helps (`wait`)",
    why.YOURS: "You can act (`act`)",
    why.ADMINS: "An admin can act (`admin`)",
}


def reasons() -> Iterator[str]:
    """The codes of jobs/why.py with their words, by who must do something."""
    for who, title in _CLASSES.items():
        yield from (f"### {title}", "", "| code | sentence | what to do |", "|---|---|---|")
        for code in WaitCode:
            if why.who_acts(code) == who:
                sentences, remedies = why.all_words(code)
                yield f"| `{code}` | {_cell(sentences)} | {_cell(remedies)} |"
        yield ""


def _cell(texts: Iterable[str]) -> str:
    return "<br>".join(_PLACE.sub(r"*\1*", text) for text in texts)


def files() -> Iterator[str]:
    """Every module with the first sentence of its docstring."""
    for folder in _folders():
        yield from (f"### `{folder}/`", "", "| file | what it is |", "|---|---|")
        for path in sorted((ROOT / folder).glob("*.py")):
            if sentence := _first_sentence(path):
                yield f"| [`{path.name}`](../{path.relative_to(ROOT).as_posix()}) | {sentence} |"
        yield ""


def _folders() -> Iterator[str]:
    """Every folder of our packages that has a module to show, from the top layer down."""
    for package in ("llama_factory", "coop_site", "jobs", "gpus"):
        for init in sorted((ROOT / package).rglob("__init__.py")):
            if any(map(_first_sentence, init.parent.glob("*.py"))):
                yield init.parent.relative_to(ROOT).as_posix()


def _first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    if "migrations" in path.parts:
        return ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return paragraph.replace("|", "\\|")


def _following(state: JobState) -> str:
    return (
        ", ".join(new for new in JobState if new in TRANSITIONS[state]) or "nothing: it has ended"
    )


def _meaning(member: Enum) -> str:
    """The comment behind the member, which is where its meaning is written once."""
    source = (ROOT / "jobs" / "core" / "states.py").read_text(encoding="utf-8")
    of_class = source.partition(f"class {type(member).__name__}")[2]
    for found in _COMMENT.finditer(of_class):
        if found["name"] == member.name and found["meaning"]:
            return found["meaning"]
    return member.name.lower().replace("_", " ").replace("gpu", "GPU")


def estimates() -> Iterator[str]:
    """How far jobs/core/estimate/ is off what others have measured, stated or published."""
    yield from _measured_rows()
    yield from _stated_rows()
    yield from ("### Parameters", "", "| model | counted | published | off |", "|---|---|---|---|")
    for name, published in PUBLISHED.items():
        counted = architecture_of(known_config(name) or {}).parameters
        yield f"| {name} | {counted:,} | {published:,} | {counted / published - 1:+.4%} |"
    yield from ("", f"Families: {', '.join(f'`{name}`' for name in FAMILIES)}.")
    yield from ("", f"Names that are enough: {', '.join(known_names())}.")


def _measured_rows() -> Iterator[str]:
    columns = measured.LENGTHS
    yield from (
        "### Measured by Qwen's makers",
        "",
        "GB as estimated / as measured, and how far off.",
        "",
    )
    yield f"| run | {' | '.join(f'{length} tokens' for length in columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for row in measured.QWEN:
        cells = [_compared(_gigabytes(row, n), row.gigabytes.get(n)) for n in columns]
        cards = f", {row.cards} cards" if row.cards > 1 else ""
        yield f"| {row.model} {row.method}{cards} | {' | '.join(cells)} |"
    yield ""


def _stated_rows() -> Iterator[str]:
    yield from (
        "### Stated by LLaMA-Factory's README",
        "",
        "GB as estimated / as stated there.",
        "",
    )
    yield f"| method | {' | '.join(measured.STATED_MODELS)} |"
    yield "|---|---|---|---|"
    for row in measured.LLAMA_FACTORY:
        pairs = zip(measured.STATED_MODELS, row.gigabytes, strict=True)
        cells = [_compared(_estimated(row.settings, name, 2048, 1), gb) for name, gb in pairs]
        yield f"| {row.method} | {' | '.join(cells)} |"
    yield ""


def _gigabytes(row: measured.Measured, length: int) -> float:
    return _estimated(row.settings, row.model, length, row.cards)


def _estimated(settings: Mapping[str, Any], model: str, length: int, cards: int) -> float:
    """Likely GB on all cards together, with one row of this length on each."""
    config = {"model_name_or_path": model, "per_device_train_batch_size": 1, "cutoff_len": length}
    return estimate_of({**settings, **config}, cards=cards).likely * cards / measured.GB


def _compared(ours: float, theirs: float | None) -> str:
    return f"{ours:.1f} / {theirs:g}, {ours / theirs - 1:+.0%}" if theirs else "-"


GENERATED: dict[str, Callable[[], Iterator[str]]] = {
    "docs/estimates.md": estimates,
    "docs/lifecycle.md": lifecycle,
    "docs/map.md": files,
    "docs/reasons.md": reasons,
}

if __name__ == "__main__":
    sys.exit(main())
