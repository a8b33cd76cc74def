"""How long jobs that shared their cards would have worked alone: the simulation's model of sharing, run backwards.

A replay with the same neighbours then takes as long as the past did. A job whose SM demand nobody has measured slows
nobody down and is slowed by nobody, except for the small cost of switching: see `jobs/core/simulation/slowdown.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from jobs.core.replay.past import Span
from jobs.core.simulation import slowdown

_END, _BEGIN = 0, 1  # at one instant, whoever ends is gone before others come


def seconds_alone(spans: Sequence[Span]) -> list[float]:
    """Seconds of work in each span, at full speed."""
    events = [(span.began, _BEGIN, at) for at, span in enumerate(spans) if span.ended > span.began]
    events += [(spans[at].ended, _END, at) for _began, _kind, at in events]
    board = _Board(spans)
    for now, kind, at in sorted(events):
        board.change(at, now, comes=kind == _BEGIN)
    return board.done


class _Board:
    """Who works on which card, and how far each span has come."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._on_card: dict[str, dict[int, float]] = defaultdict(dict)  # demands, by span
        self._speed: dict[int, float] = {}
        self._since: dict[int, float] = {}
        self.done = [0.0] * len(spans)

    def change(self, at: int, now: float, *, comes: bool) -> None:
        span = self._spans[at]
        touched = {other for card in span.cards for other in self._on_card[card]} | {at}
        self._work(touched, now)
        for card in span.cards:
            if comes:
                self._on_card[card][at] = span.demand
            else:
                del self._on_card[card][at]
        if not comes:
            touched.discard(at)
            self._speed.pop(at)
        for each in touched:
            self._speed[each] = self._speed_of(self._spans[each])

    def _work(self, touched: Iterable[int], now: float) -> None:
        for each in touched:
            speed = self._speed.get(each, 0.0)
            self.done[each] += (now - self._since.get(each, now)) * speed
            self._since[each] = now

    def _speed_of(self, span: Span) -> float:
        """That of the slowest of its cards."""
        demands = (list(self._on_card[card].values()) for card in span.cards)
        return min(map(slowdown.speed, demands), default=1.0)
