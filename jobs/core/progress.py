"""How far a training is, read from LLaMA-Factory's trainer_log.jsonl as it grows.

The file gets one JSON object for each `logging_steps`. It may be missing, be deleted and begun anew, end in half a
line, and repeat steps after a resume. Its own `remaining_time` is not used: after a resume it divides by steps that
this run has not made, and after a freeze it counts the frozen time.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

TRAINER_LOG = "trainer_log.jsonl"

RATE_WINDOW = 60
"""Observations from which the step rate is taken."""

LONGEST_LINE = 64 * 1024
"""Bytes after which an unfinished line is given up; real lines have a few hundred."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What is known of a training at one moment; None where its log does not say."""

    step: int
    total: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    reward: float | None = None
    accuracy: float | None = None
    lr: float | None = None
    epoch: float | None = None
    throughput: float | None = None  # tokens a second, since the run began
    vram_reserved: int | None = None  # bytes, the most so far
    rate: float | None = None  # steps a second, without the time in which the job was frozen
    eta_s: float | None = None  # seconds of running that are left, when this was seen

    def as_dict(self) -> dict[str, Any]:
        """The known values by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class LossPoint:
    """One point of the loss curve, with what else its line said."""

    step: int
    loss: float | None = None
    eval_loss: float | None = None
    lr: float | None = None
    epoch: float | None = None
    reward: float | None = None
    accuracy: float | None = None
    elapsed_s: float | None = (
        None  # seconds since the run (not the job) began, frozen time included
    )

    def as_dict(self) -> dict[str, Any]:
        """The known values by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class ProgressFollower:
    """Takes a trainer log piece by piece; `offset` says from where the next piece is wanted."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.offset = 0
        self._partial = b""
        self._seen: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)
        self._logged: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)

    def start_over(self) -> None:
        """The file is another one than before, or shorter: read it from its beginning."""
        self.offset = 0
        self._partial = b""
        self._seen.clear()
        self._logged.clear()

    def feed(self, data: bytes, running_s: float) -> bool:
        """Takes the bytes from `offset` on; whether the progress changed.

        Args:
            data: what the file has grown by; may end within a line.
            running_s: a clock in seconds that stands still while the job is frozen.
        """
        self.offset += len(data)
        *whole, rest = (self._partial + data).split(b"\n")
        self._partial = rest if len(rest) <= LONGEST_LINE else b""
        before = self.progress
        for raw in whole:
            line = parse_line(raw)
            if line is not None:
                self._take(line)
        if self.progress is not None and self.progress is not before:
            self._observe(self.progress.step, running_s)
            self.progress = self._with_rate(self.progress)
        return self.progress != before

    def _take(self, line: Mapping[str, Any]) -> None:
        """The newest value of each kind; the last line of a run has no loss, so an older one stays."""
        step = whole_number(line.get("current_steps"))
        if step is None:
            return
        known = self.progress
        if known is not None and step < known.step:
            known = None
            self._logged.clear()
        elapsed = clock_seconds(line.get("elapsed_time"))
        if elapsed is not None:
            if (
                self._logged and elapsed < self._logged[-1][0]
            ):  # a new run goes on from a checkpoint
                self._logged.clear()
            self._logged.append((elapsed, step))
        vram = number(line.get("vram_reserved"))
        found = {
            "total": whole_number(line.get("total_steps")),
            "vram_reserved": int(vram * 2**30)
            if vram and vram > 0
            else None,  # -0.0 without a card
            **{
                name: number(line.get(name))
                for name in ("loss", "eval_loss", "reward", "accuracy", "lr", "epoch", "throughput")
            },
        }
        kept = {name: getattr(known, name) for name in found} if known else {}
        kept |= {name: value for name, value in found.items() if value is not None}
        self.progress = Progress(step=step, **kept)

    def _observe(self, step: int, running_s: float) -> None:
        if self._seen and step < self._seen[-1][1]:
            self._seen.clear()
        if not self._seen or step > self._seen[-1][1]:
            self._seen.append((running_s, step))

    def _with_rate(self, progress: Progress) -> Progress:
        """Our own observations first; the log's clock serves until there are two of them."""
        rate = rate_of(self._seen) or rate_of(self._logged)
        left = None if progress.total is None else max(0, progress.total - progress.step)
        eta = 0.0 if left == 0 else left / rate if rate and left is not None else None
        known = {name: getattr(progress, name) for name in Progress.__dataclass_fields__}
        return Progress(**known | {"rate": rate, "eta_s": eta})


def rate_of(points: Iterable[tuple[float, int]]) -> float | None:
    """Steps a second between the first and the last (seconds, step); None when that says nothing."""
    listed = list(points)
    if len(listed) < 2:
        return None
    seconds, steps = listed[-1][0] - listed[0][0], listed[-1][1] - listed[0][1]
    return steps / seconds if seconds > 0 and steps > 0 else None


def loss_points(
    lines: Iterable[bytes], *, after: int | None = None, limit: int = 1000
) -> list[LossPoint]:
    """The loss curve by step, thinned to at most about `limit` points that keep its shape.

    Where steps repeat (after a resume) the latest line counts. With `after` only later steps are returned.
    """
    by_step: dict[int, LossPoint] = {}
    for raw in lines:
        point = _point(parse_line(raw))
        if point is not None and (after is None or point.step > after):
            by_step[point.step] = _merged(by_step.get(point.step), point)
    ordered = [by_step[step] for step in sorted(by_step)]
    return thinned(ordered, limit)


def thinned(points: list[LossPoint], limit: int) -> list[LossPoint]:
    """At most `limit` points with a loss, chosen so that the curve looks the same; all others stay.

    Largest-triangle-three-buckets: of each bucket the point that spans the largest triangle with the point chosen
    before and the mean of the next bucket.
    """
    drawn = [point for point in points if point.loss is not None]
    if len(drawn) <= max(limit, 3):
        return points
    chosen = {point.step for point in _largest_triangles(drawn, max(limit, 3))}
    return [point for point in points if point.loss is None or point.step in chosen]


def _largest_triangles(points: list[LossPoint], limit: int) -> list[LossPoint]:
    buckets = limit - 2
    edges = [1 + round(index * (len(points) - 2) / buckets) for index in range(buckets + 1)]
    chosen = [points[0]]
    for index in range(buckets):
        bucket = points[edges[index] : edges[index + 1]]
        following = (
            points[edges[index + 1] : edges[index + 2]] if index + 2 <= buckets else points[-1:]
        )
        mean_step = sum(point.step for point in following) / len(following)
        mean_loss = sum(_loss(point) for point in following) / len(following)
        last = chosen[-1]
        areas = [
            abs(
                (last.step - mean_step) * (_loss(point) - _loss(last))
                - (last.step - point.step) * (mean_loss - _loss(last))
            )
            for point in bucket
        ]
        chosen.append(bucket[areas.index(max(areas))])
    return [*chosen, points[-1]]


def _loss(point: LossPoint) -> float:
    return point.loss if point.loss is not None else 0.0


def _point(line: Mapping[str, Any] | None) -> LossPoint | None:
    step = whole_number(line.get("current_steps")) if line is not None else None
    if line is None or step is None:
        return None
    names = ("loss", "eval_loss", "lr", "epoch", "reward", "accuracy")
    values = {name: number(line.get(name)) for name in names}
    if all(values[name] is None for name in ("loss", "eval_loss", "reward", "accuracy")):
        return None
    return LossPoint(step=step, elapsed_s=clock_seconds(line.get("elapsed_time")), **values)


def _merged(older: LossPoint | None, newer: LossPoint) -> LossPoint:
    """An evaluation writes a line of its own for the step that was just trained."""
    return newer if older is None else LossPoint(**older.as_dict() | newer.as_dict())


def parse_line(raw: bytes) -> dict[str, Any] | None:
    """One line of the log; None for half a line, an empty one or anything else that is no object."""
    if len(raw) > LONGEST_LINE:
        return None
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def number(value: Any) -> float | None:
    """A finite number; None for everything else (a diverged run logs NaN)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        as_float = float(value)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def whole_number(value: Any) -> int | None:
    """A whole number that is not negative and fits the database; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        return None
    return value


def clock_seconds(value: Any) -> float | None:
    """Seconds of a "h:mm:ss" or "2 days, h:mm:ss" text."""
    if not isinstance(value, str):
        return None
    days, _, rest = value.rpartition("day")
    try:
        hours, minutes, seconds = (int(part) for part in rest.lstrip("s, ").split(":"))
        return int(days or 0) * 86400.0 + hours * 3600 + minutes * 60 + seconds
    except ValueError:
        return None
