"""`simulate --history`: the service's own past under other settings, side by side with today's."""

from __future__ import annotations

import json as plain_json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.core.replay.compare import Line, lines, projects
from jobs.core.units import DAY, UnitError, format_duration, parse_duration, parse_size
from llama_factory.cli.connection import connected
from llama_factory.cli.output import say, show, show_json
from llama_factory.errors import Invalid, Refused

if TYPE_CHECKING:
    from rich.table import Table

NAMES = {
    "mean_wait_s": "mean wait",
    "p90_wait_s": "9 of 10 waited at most",
    "max_wait_s": "longest wait",
    "mean_jct_s": "mean time to the end",
    "makespan_s": "all ended after",
    "started": "jobs started",
    "finished": "jobs ended",
    "preemptions": "preemptions",
    "lost_gpu_s": "lost to preemptions",
    "share_error": "largest share error",
}
LEFT_OUT = {
    "before": "Ran or waited already when the time began; replayed, but not counted",
    "too_many": "Left out, because they are too many or take too long",
    "never_ran": "Left out, because they ended before they had a card",
    "held": "Left out, because somebody held them",
    "unknown": "Left out, because they wait and nobody can tell how long they will run",
    "unfinished": "Taken for done as of now, because nobody can tell when they will end",
    "unmeasured": "Nobody has measured how much of a card they compute with; taken to run as long as they did",
}
_PLACEMENTS = {"default": "best-fit", "fgd": "fragmentation"}
_AMOUNTS = {"cards": "cards", "memory": "memory_bytes", "running": "running"}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The flags of one question, as they were typed; None and empty: as it is now."""

    history: str
    policy: str | None = None
    mode: str | None = None
    placement: str | None = None
    min_run: float | None = None
    suspend_seconds: float | None = None
    fleet: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    guarantee: Sequence[str] = ()
    limit: Sequence[str] = ()
    add: Sequence[str] = ()
    settings: Sequence[str] = ()


def question(wish: Wish) -> dict[str, Any]:
    """What the API is asked.

    Raises:
        Invalid: a flag cannot be read.
    """
    asked: dict[str, Any] = {
        "days": _days(wish.history),
        "settings": _settings(wish),
        "projects": _projects(wish),
        "add": list(wish.add),
        "fleet": wish.fleet,
        "suspend_seconds": wish.suspend_seconds,
    }
    return {name: value for name, value in asked.items() if value not in (None, [], {})}


def replay(wish: Wish, url: str | None, *, json: bool) -> None:
    """Ask, wait for the answer and print it.

    Raises:
        Refused: there is no answer.
    """
    asked = question(wish)
    with connected(url) as coop:
        say(f"Replaying the last {wish.history}; this may take a minute.")
        told = coop.replay(asked)
    if told["state"] != "done":
        problem = told["problem"] or {"detail": "It is not answered yet.", "hint": told["url"]}
        raise Refused(problem["detail"], hint=problem["hint"], code=problem.get("code", ""))
    if json:
        show_json(told)
        return
    answer = told["answer"]
    has_change = answer["changed"] is not None
    own = list(projects(answer))
    parts = [_table("ALL", ((NAMES[line.name], line) for line in lines(answer)), has_change)]
    parts += [_table("MEAN WAIT OF", own, has_change)] if own else []
    show(*parts)
    for words in _remarks(answer):
        say(words)


def _days(history: str) -> float:
    try:
        seconds = parse_duration(history)
    except UnitError as error:
        raise Invalid(f"--history: {error}") from error
    return seconds / DAY


def _settings(wish: Wish) -> dict[str, Any]:
    placement = None if wish.placement is None else _PLACEMENTS.get(wish.placement)
    if wish.placement is not None and placement is None:
        raise Invalid(
            f"--placement {wish.placement} is for workload files only.",
            hint=f"With --history: {', '.join(_PLACEMENTS)}.",
        )
    given: dict[str, Any] = {
        "policy": wish.policy,
        "mode": wish.mode,
        "placement": placement,
        "min_run_minutes": None if wish.min_run is None else wish.min_run / 60,
    }
    found = {name: value for name, value in given.items() if value is not None}
    return found | dict(map(_setting, wish.settings))


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Invalid(
            f"--set {text!r} cannot be read.",
            hint="Write NAME=VALUE, for example --set preemption=false or --set max_workers=8.",
        )
    try:
        return name, plain_json.loads(value)
    except ValueError:
        return name, value


def _projects(wish: Wish) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for slug, weight in wish.weights.items():
        found.setdefault(slug, {})["weight"] = weight
    for side, texts in (("guarantee", wish.guarantee), ("limit", wish.limit)):
        for text in texts:
            slug, name, amount = _amount(side, text)
            found.setdefault(slug, {}).setdefault(side, {})[name] = amount
    return found


def _amount(side: str, text: str) -> tuple[str, str, int | None]:
    """Project, name and amount of `vision=cards:8`, `vision=memory:160G` or `vision=cards:none`."""
    found = re.fullmatch(r"(?P<slug>[^=]+)=(?P<what>[a-z]+):(?P<amount>[A-Za-z0-9.]+)", text)
    if found is None or found["what"] not in _AMOUNTS:
        raise Invalid(
            f"--{side} {text!r} cannot be read.",
            hint="Write PROJECT=WHAT:AMOUNT with cards, memory or running, for example vision=cards:8, "
            "vision=memory:160G or, for none, vision=cards:none.",
        )
    return found["slug"], _AMOUNTS[found["what"]], _number(side, found["what"], found["amount"])


def _number(side: str, what: str, amount: str) -> int | None:
    if amount == "none":
        return None
    try:
        return parse_size(amount) if what == "memory" else int(amount)
    except UnitError as error:
        raise Invalid(f"--{side}: {error}") from error
    except ValueError as error:
        raise Invalid(
            f"--{side}: {amount!r} is no number of {what}.", hint="Give a whole number, or none."
        ) from error


# --- the answer -------------------------------------------------------------------------------------


def _table(title: str, named: Iterator[tuple[str, Line]] | Any, has_change: bool) -> Table:
    from rich.table import Table  # noqa: PLC0415 - start-up cost of rich

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(title, no_wrap=True)
    for column in ("REALLY", "AS NOW", *(("CHANGED",) if has_change else ())):
        table.add_column(column, justify="right", no_wrap=True)
    if has_change:
        table.add_column("DIFFERENCE", no_wrap=True)
    for name, line in named:
        values = [_shown(line, line.really), _shown(line, line.today)]
        values += [_shown(line, line.changed), _difference(line)] if has_change else []
        table.add_row(name, *values)
    return table


def _shown(line: Line, value: float | None) -> str:
    if value is None:
        return "-"
    if line.kind == "seconds":
        return format_duration(value)
    return f"{100 * value:.1f} %" if line.kind == "share" else f"{value:.0f}"


def _difference(line: Line) -> str:
    added = line.difference
    if added is None:
        return ""
    if not added:
        return "the same"
    longer, shorter = ("longer", "shorter") if line.kind == "seconds" else ("more", "less")
    part = "" if line.ratio is None else f" ({100 * abs(line.ratio):.0f} %)"
    return f"{_shown(line, abs(added))} {longer if added > 0 else shorter}{part}"


def _remarks(answer: Mapping[str, Any]) -> Iterator[str]:
    """What must be known beside the figures."""
    counts = answer["jobs"]
    yield f"Jobs that came from {answer['since'][:16]} to {answer['until'][:16]}: {counts['counted']}"
    for name, words in (("today", "With today's settings"), ("changed", "With the change")):
        side = answer[name]
        if side and (stuck := side["whole"]["jobs"] - side["whole"]["started"]):
            yield f"{words}, {stuck} of them would never start, and are in no mean."
        if side and side["policy_problem"]:
            yield f"{words}: {side['policy_problem']}"
    yield from (f"{words}: {counts[name]}" for name, words in LEFT_OUT.items() if counts[name])
    if answer["cards_out_of_service"]:
        yield f"Cards that are out of service now, and were left out: {answer['cards_out_of_service']}"
