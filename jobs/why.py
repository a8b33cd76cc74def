"""Reasons for people: one sentence with numbers for each code, and what to do about it.

The core says *which* reason and *with what numbers*; the words are here alone, so that page, API, command line and
log say the same. Where a code means several things, `CODE:variant` holds other words for it: see `_variants`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs.core.plan import WaitCode
from jobs.core.units import format_duration, format_need, format_size

_W = WaitCode

STARTS_NOW = "STARTS_NOW"
"""No reason to wait: said of a queued job that the dispatcher has not come to yet."""

WAITING, YOURS, ADMINS = "wait", "act", "admin"
"""Who must do something: nobody, the reader, an admin."""

_SENTENCES: dict[str, Promise] = {
    STARTS_NOW: _("It starts with the next cycle."),
    _W.WAIT_MEMORY: _(
        "Needs %(need)s; the largest free block is %(largest)s (gpu%(largest_index)s on %(largest_node)s)."
    ),
    _W.WAIT_GPU_TYPE: _(
        "Needs %(need)s on a card of type %(gpu_type)s; the largest free block there is %(largest)s."
    ),
    _W.WAIT_TURN: _("%(ahead)s jobs are ahead of it in the queue."),
    f"{_W.WAIT_TURN}:one": _("One job is ahead of it in the queue."),
    _W.WAIT_QUOTA: _("Its project uses %(used)s of %(limit)s (%(what)s)."),
    f"{_W.WAIT_QUOTA}:user": _(
        "%(user)s uses %(used)s of %(limit)s (%(what)s), the most that one person may in its project."
    ),
    _W.WAIT_MAX_WORKERS: _(
        "%(holding)s jobs hold a card, and the site allows %(max_workers)s at once."
    ),
    _W.WAIT_BACKOFF: _("Waits %(wait)s after a failed attempt before the next one."),
    _W.WAIT_CARD_CAP: _(
        "Every card that has room already runs %(max_holders)s jobs, the most the site allows."
    ),
    _W.WAIT_CARDS: _(
        "Needs %(gpus)s cards with %(need)s each on one machine; %(ready)s have room now."
    ),
    _W.WAIT_EXCLUSIVE: _("The cards with room cannot be shared now: %(cards)s."),
    _W.WAIT_BUSY: _(
        "The cards with room compute too much already: the least busy one is at %(busy)s of at most %(max_busy)s, "
        "and this job would add %(sm_share)s."
    ),
    _W.WAIT_HOST: _(
        "The cards with room are on machines that have too few processors or too little main memory left, such as "
        "%(node)s."
    ),
    _W.WAIT_RESERVED: _("The cards with room for it are kept for %(kept_for)s."),
    f"{_W.WAIT_RESERVED}:until": _(
        "The cards with room for it are kept for %(kept_for)s, for about %(wait)s more."
    ),
    f"{_W.WAIT_RESERVED}:quota": _("The quota that it would use is kept for %(kept_for)s."),
    _W.WAIT_PREEMPTION: _("Running jobs are being suspended to make room for it (%(jobs)s)."),
    f"{_W.WAIT_PREEMPTION}:made": _(
        "Room has been made for it; the next reading of the cards will show it."
    ),
    _W.WAIT_READING: _("No card that could take it has a fresh reading: %(cards)s."),
    _W.NEVER_FITS: _(
        "Asks for %(need)s on one card; the largest card here, %(largest_name)s, can give %(largest)s."
    ),
    _W.NO_SUCH_GPU_TYPE: _("Asks for a card of type %(gpu_type)s; this site has: %(available)s."),
    _W.TOO_FEW_CARDS: _(
        "Asks for %(gpus)s cards on each of %(nodes)s machines; a job here can have %(most)s suitable cards "
        "on one machine."
    ),
    f"{_W.TOO_FEW_CARDS}:nodes": _(
        "Asks for %(gpus)s cards on each of %(nodes)s machines; %(machines)s machines here have such cards, and one "
        "job may use %(most_nodes)s."
    ),
    _W.OVER_PROJECT_QUOTA: _(
        "Asks for %(need)s (%(what)s); the quota of its project is %(limit)s."
    ),
    f"{_W.OVER_PROJECT_QUOTA}:user": _(
        "Asks for %(need)s (%(what)s); one person may have %(limit)s in its project (%(user)s)."
    ),
    _W.DATASET_MISSING: _("Its dataset %(name)s is not there."),
    _W.HELD_BY_YOU: _("Held by a person; it starts after it is released."),
    _W.DEPENDENCY: _("Waits for %(task_ids)s."),
    _W.GPU_DRAINED: _(
        "The cards that could take it are out of service: %(cards)s (%(drain_reason)s)."
    ),
    _W.GHOST_MEMORY: _(
        "Needs %(need)s; %(foreign)s of gpu%(index)s on %(node)s are held by processes outside the queue."
    ),
    _W.AGENT_OFFLINE: _("No agent has reported its cards in the last seconds."),
    _W.HELD_BY_ADMIN: _("Held by an admin; it starts after it is released."),
    _W.SCHEDULER_STALLED: _("The dispatcher has not run a cycle in the last seconds."),
}

_CARD_PHRASES: dict[WaitCode, Promise] = {
    _W.WAIT_MEMORY: _("too full: %(largest)s left for it, %(need)s needed"),
    _W.GHOST_MEMORY: _("too full: %(foreign)s are held by processes outside the queue"),
    _W.WAIT_GPU_TYPE: _("not of type %(gpu_type)s"),
    _W.NEVER_FITS: _("too small: holds at most %(largest)s, %(need)s needed"),
    _W.GPU_DRAINED: _("out of service (%(drain_reason)s)"),
    _W.WAIT_READING: _("no fresh reading"),
    _W.WAIT_EXCLUSIVE: _("not to be shared: one job wants it to itself"),
    _W.WAIT_CARD_CAP: _("runs %(max_holders)s jobs already, the most it may"),
    _W.WAIT_BUSY: _(
        "too busy: computes at %(busy)s of at most %(max_busy)s, and the job would add %(sm_share)s"
    ),
}

_REMEDIES: dict[str, Promise] = {
    STARTS_NOW: _("Nothing to do."),
    _W.WAIT_MEMORY: _("It starts when that much is free; a smaller min_memory starts sooner."),
    _W.WAIT_GPU_TYPE: _("It starts when such a card has room; without gpu_type any card would do."),
    _W.WAIT_TURN: _("Nothing to do: it starts in its turn."),
    _W.WAIT_QUOTA: _("It starts when a job of the project ends; a lead can ask for more quota."),
    f"{_W.WAIT_QUOTA}:user": _(
        "It starts when another job of the same person ends; an admin can raise that quota."
    ),
    f"{_W.WAIT_QUOTA}:month": _("It starts when the next month begins, or with more quota."),
    _W.WAIT_MAX_WORKERS: _("It starts when another job ends; an admin can raise max_workers."),
    _W.WAIT_BACKOFF: _("Nothing to do; look at the log of its last attempt meanwhile."),
    _W.WAIT_CARD_CAP: _("It starts when a job there ends; an admin can raise max_jobs_per_card."),
    _W.WAIT_CARDS: _("It starts when enough cards of one machine have room together."),
    _W.WAIT_EXCLUSIVE: _("It starts when the jobs on such a card have ended."),
    _W.WAIT_BUSY: _(
        "It starts when a job on such a card ends; jobs there would slow each other down."
    ),
    _W.WAIT_HOST: _("It starts when a job on such a machine ends."),
    _W.WAIT_RESERVED: _(
        "Nothing to do: it starts after that job, or beside it as soon as there is room for both."
    ),
    _W.WAIT_PREEMPTION: _("Nothing to do: it starts as soon as they have given their cards back."),
    _W.WAIT_READING: _(
        "It starts with the next reading; if this lasts, an admin should look at the agent."
    ),
    _W.NEVER_FITS: _("Lower min_memory, or spread the job over more cards."),
    _W.NO_SUCH_GPU_TYPE: _("Name a type that is there, or leave gpu_type out."),
    _W.TOO_FEW_CARDS: _("Ask for fewer cards (resources.gpus) on one machine."),
    _W.OVER_PROJECT_QUOTA: _("Ask for less, or have the quota of the project raised."),
    _W.DATASET_MISSING: _("Upload it again under the same name."),
    _W.HELD_BY_YOU: _("Resume the job to put it back into the queue."),
    _W.DEPENDENCY: _("It starts after these have succeeded; resume it to start without them."),
    _W.GPU_DRAINED: _("An admin puts a card back into service."),
    _W.GHOST_MEMORY: _("An admin can find whose it is; a smaller min_memory starts without it."),
    _W.AGENT_OFFLINE: _("An admin should look at the agent; running jobs go on."),
    _W.HELD_BY_ADMIN: _("Ask an admin to release it."),
    _W.SCHEDULER_STALLED: _("An admin should look at the dispatcher; running jobs go on."),
}

_FOR_THE_READER = frozenset(
    {
        _W.NEVER_FITS,
        _W.NO_SUCH_GPU_TYPE,
        _W.TOO_FEW_CARDS,
        _W.OVER_PROJECT_QUOTA,
        _W.DATASET_MISSING,
        _W.HELD_BY_YOU,
        _W.DEPENDENCY,
    }
)
_FOR_ADMINS = frozenset(
    {_W.GPU_DRAINED, _W.GHOST_MEMORY, _W.AGENT_OFFLINE, _W.HELD_BY_ADMIN, _W.SCHEDULER_STALLED}
)
_BYTES = frozenset({"need", "largest", "foreign"})
_BYTES_WHEN_MEMORY = frozenset({"used", "limit", "need"})
_SHARES = frozenset({"busy", "max_busy", "sm_share"})
_NOT_TOLD: dict[str, Promise] = {
    "most_nodes": _("any number"),
    "kept_for": _("a job of another project"),
}
_WHATS: dict[object, Promise] = {
    "cards": _("cards"),
    "memory": _("memory"),
    "running": _("running jobs"),
    "gpu_hours_month": _("GPU-hours this month"),
}


def sentence(code: WaitCode | str, numbers: Mapping[str, Any]) -> str:
    """Why a job waits, in one sentence."""
    return str(_worded(_SENTENCES, code, numbers)) % _Readable(numbers)


def card_phrase(code: WaitCode | str, numbers: Mapping[str, Any]) -> str:
    """Why one card does not take a job, in a few words; `sentence` speaks of all cards together."""
    phrase = _CARD_PHRASES.get(WaitCode(code))
    return sentence(code, numbers) if phrase is None else str(phrase) % _Readable(numbers)


def remedy(code: WaitCode | str, numbers: Mapping[str, Any] | None = None) -> str:
    """What would make it start, and who can do that."""
    return str(_worded(_REMEDIES, code, numbers or {}))


def all_words(code: WaitCode) -> tuple[list[str], list[str]]:
    """All sentences and all remedies that a code may have, with the places of their numbers: for the manual."""
    said = [str(words) for name, words in _SENTENCES.items() if name.partition(":")[0] == code]
    done = [str(words) for name, words in _REMEDIES.items() if name.partition(":")[0] == code]
    return said, done


def who_acts(code: WaitCode | str) -> str:
    """Whether to wait, to change the task, or to call an admin."""
    if code in _FOR_THE_READER:
        return YOURS
    return ADMINS if code in _FOR_ADMINS else WAITING


def _worded(
    words: Mapping[str, Promise], code: WaitCode | str, numbers: Mapping[str, Any]
) -> Promise:
    """The words for a code; some have others for some of their numbers."""
    special = (f"{code}:{variant}" for variant in _variants(numbers))
    return next((words[each] for each in special if each in words), words[code])


def _variants(numbers: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers may make a difference by; the first one that has words of its own is used."""
    if numbers.get("what") == "gpu_hours_month":
        yield "month"
    if numbers.get("what") == "quota":
        yield "quota"
    if numbers.get("user"):
        yield "user"
    if numbers.get("wait"):
        yield "until"
    if numbers.get("jobs") == 0:
        yield "made"
    if numbers.get("ahead") == 1:
        yield "one"
    if "machines" in numbers:
        yield "nodes"


class _Readable(dict[str, str]):
    """The numbers of a reason as words; one that is missing reads "?", because a reason must never crash a page."""

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        in_memory = "what" not in numbers or numbers["what"] == "memory"
        super().__init__({name: _word(name, value, in_memory) for name, value in numbers.items()})
        need, largest = numbers.get("need"), numbers.get("largest")
        if isinstance(need, int) and isinstance(
            largest, int
        ):  # never "needs 16 GiB; 16 GiB are free"
            self["need"], self["largest"] = format_need(need, largest)

    def __missing__(self, name: str) -> str:
        return "?"


def _word(name: str, value: object, in_memory: bool) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or str(_("none"))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} ({state})" if state else f"{key}" for key, state in value.items())
    if isinstance(value, (int, float)):
        return _amount(name, value, in_memory)
    if value is None and name in _NOT_TOLD:
        return str(_NOT_TOLD[name])
    if value == "":
        return str(_("no reason given"))
    return str(_WHATS.get(value, value)) if name == "what" else str(value)


def _amount(name: str, value: float, in_memory: bool) -> str:
    if name == "wait":
        return format_duration(value)
    if name in _SHARES:
        return f"{value * 100:.0f}\N{NO-BREAK SPACE}%"
    if isinstance(value, int):
        in_bytes = in_memory and name in _BYTES | _BYTES_WHEN_MEMORY
        return format_size(value) if in_bytes else str(value)
    return f"{value:g}"
