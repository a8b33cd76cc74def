"""When a channel is told: at once, after its quiet hours, or with the next digest. Pure."""

from __future__ import annotations

from datetime import datetime, time, timedelta, tzinfo

SETTLE = timedelta(seconds=10)
"""What happens within it is told together."""

DIGEST_AT = time(9, 0)
MONDAY = 0


def due(
    now: datetime,
    rhythm: str,
    quiet: tuple[time, time] | None,
    zone: tzinfo,
    settle: timedelta = SETTLE,
) -> datetime:
    """When something that happens at `now` is sent, as an instant.

    Args:
        now: aware.
        rhythm: now, daily or weekly.
        quiet: the local times between which nothing is sent; the first may be later than the second (over midnight).
        zone: where the reader lives.
        settle: how long to wait for more.
    """
    local = now.astimezone(zone)
    if rhythm == "now":
        return after_quiet(local + settle, quiet)
    at = _at(local, DIGEST_AT)
    if at <= local:
        at = _at(local + timedelta(days=1), DIGEST_AT)
    while rhythm == "weekly" and at.weekday() != MONDAY:
        at = _at(at + timedelta(days=1), DIGEST_AT)
    return after_quiet(at, quiet)


def after_quiet(local: datetime, quiet: tuple[time, time] | None) -> datetime:
    """The same instant, or the end of the quiet hours that it lies in."""
    if quiet is None or not is_quiet(local.timetz().replace(tzinfo=None), quiet):
        return local
    end = _at(local, quiet[1])
    return end if end > local else _at(local + timedelta(days=1), quiet[1])


def is_quiet(at: time, quiet: tuple[time, time]) -> bool:
    """Whether a local time lies in the quiet hours; equal ends mean none."""
    begin, end = quiet
    if begin <= end:
        return begin <= at < end
    return at >= begin or at < end


def _at(local: datetime, at: time) -> datetime:
    return local.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
