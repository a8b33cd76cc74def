"""A thousand random lives of a shared card: start, grow, shrink, freeze, resume, leave, be killed; strangers come.

The card follows what its processes really hold. Readings, accounts, starts and bookings are those of production; here
is only the world that they look at, and the truth that they must never contradict.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from gpus.attribution import account_for, charge
from gpus.readings import DeviceReading, Holding, ProcessReading
from jobs.core.constraints import room
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import Rules
from jobs.core.sharding import Change, ShardingRules, Share, Steady, follow, steadied
from jobs.core.snapshot import DeviceView, RunView
from jobs.core.units import GIB
from tests.builders import NOW, job, run

TOTAL, SAFETY, RESERVE = 80 * GIB, 2 * GIB, GIB // 2
RULES = ShardingRules(stable_seconds=60, stable_steps=5)
SEQUENCES, STEPS, TOGETHER = 1_000, 40, 250


@dataclass
class Life:
    """One job: what is true of it, and what is in the books."""

    name: str
    asked: int
    booked: int
    begun: float
    used: int = 0  # the truth
    is_alive: bool = True
    frozen: bool = False
    leaving: bool = False
    peak: int | None = None  # as seen
    steady: Steady | None = None
    step: int = 0

    @property
    def pid(self) -> int:
        return int(self.name[1:]) + 100


@dataclass
class Site:
    """One card, and everything that happens to it."""

    dice: random.Random
    now: float = NOW
    lives: list[Life] = field(default_factory=list)
    stranger: int = 0
    foreign: int = 0
    ghost: int = 0
    measured: int | None = None
    made: int = 0
    seen: set[str] = field(default_factory=set)  # what happened, so that no sequence is idle

    # --- the truth -------------------------------------------------------------------------------

    @property
    def really_used(self) -> int:
        return RESERVE + self.stranger + sum(life.used for life in self.lives)

    def use(self, life: Life, wanted: int) -> None:
        """The card gives no more than it has."""
        others = self.really_used - life.used
        life.used = min(wanted, TOTAL - others)

    def happen(self) -> None:
        self.now += self.dice.choice((1.0, 30.0, 100.0))
        often = self.start, self.grow, self.work
        seldom = self.freeze, self.resume, self.leave, self.kill, self.die, self.strangers
        deed = self.dice.choice((*often, *often, *seldom))
        deed()
        if self.dice.random() < 0.8:
            self.look()
            self.keep_books()
        self.close_the_dead()

    def some(self, **wanted: bool) -> Life | None:
        fitting = [
            life
            for life in self.lives
            if all(getattr(life, name) is value for name, value in wanted.items())
        ]
        return self.dice.choice(fitting) if fitting else None

    def grow(self) -> None:
        life = self.some(is_alive=True, frozen=False)
        if life:
            self.use(life, round(life.asked * self.dice.choice((0.1, 0.25, 0.25, 0.6, 0.95, 1.4))))

    def work(self) -> None:
        for life in self.lives:
            life.step += 0 if life.frozen else 10

    def freeze(self) -> None:
        life = self.some(is_alive=True, frozen=False, leaving=False)
        if life:
            life.frozen = True

    def resume(self) -> None:
        life = self.some(frozen=True)
        if life:
            life.frozen = False

    def leave(self) -> None:
        life = self.some(leaving=False)
        if life:
            life.leaving = True

    def kill(self) -> None:
        """A process is gone at once; nobody has seen that yet."""
        life = self.some(is_alive=True)
        if life:
            life.is_alive, life.used = False, 0

    def die(self) -> None:
        life = self.some(leaving=True, is_alive=True)
        if life:
            life.is_alive, life.used = False, 0

    def strangers(self) -> None:
        free = TOTAL - (self.really_used - self.stranger)
        self.stranger = self.dice.choice((0, 0, min(free, 3 * GIB), min(free, 20 * GIB)))

    # --- what the service does -------------------------------------------------------------------

    def look(self) -> None:
        processes = [
            ProcessReading(pid=life.pid, memory=life.used, busy=0.5)
            for life in self.lives
            if life.is_alive and life.used
        ]
        if self.stranger:
            processes.append(ProcessReading(pid=1, memory=self.stranger, busy=0.0))
        reading = DeviceReading(
            uuid="c",
            index=0,
            name="A100",
            memory_total=TOTAL,
            memory_used=self.really_used,
            memory_reserved=RESERVE,
            processes=tuple(processes),
        )
        holdings = [
            Holding(
                key=life.name,
                holder=life.name,
                uuid="c",
                booked=life.booked,
                pids=frozenset({life.pid} if life.is_alive else ()),
                peak=life.peak,
                since=life.begun,
            )
            for life in self.lives
        ]
        found = account_for(reading, holdings, peaks={}, ghost_before=self.ghost, now=self.now)
        self.foreign, self.ghost = found.foreign or 0, found.ghost or 0
        self.measured = TOTAL - self.really_used
        for part, life in zip(found.parts, self.lives, strict=True):
            life.peak = part.peak
        assert self.view().free <= TOTAL - SAFETY - self.stranger
        assert room(self.view()) <= TOTAL - self.really_used, "more free than there is"

    def keep_books(self) -> None:
        for life in self.lives:
            if life.peak:
                life.steady = steadied(life.steady, life.peak, self.now, life.step)
        verdicts = follow(
            TOTAL - SAFETY - self.foreign,
            [self.share(life) for life in self.lives],
            RULES,
            self.now,
        )
        for verdict, life in zip(verdicts, self.lives, strict=True):
            if verdict.change is Change.SHRINK:
                assert life.used <= (life.peak or 0) < verdict.memory
            life.booked = verdict.memory
            self.seen.add(verdict.change)
        for verdict, life in zip(verdicts, self.lives, strict=True):
            if verdict.short:
                self.relieve(life, verdict.short)

    def relieve(self, life: Life, short: int) -> None:
        scheduler = self.planner()
        for told in scheduler.relieve("c", life.name, short, self.now):
            victim = next(each for each in self.lives if each.name == told.job)
            assert not victim.leaving
            assert not victim.frozen
            victim.leaving = True
            self.seen.add("gives way")

    def start(self) -> None:
        """A job waits; the scheduler says whether it starts."""
        self.made += 1
        name, asked = f"j{self.made}", self.dice.choice((4, 12, 20, 40)) * GIB
        scheduler = self.planner()
        scheduler.queue(job(name, asked))
        plan = scheduler.decide(self.now)
        for start in plan.starts:
            memory = start.placements[0].memory
            self.lives.append(Life(start.job, asked, memory, begun=self.now))
            if self.measured is not None:
                self.measured -= memory  # until the next look
            self.seen.add("start")

    def close_the_dead(self) -> None:
        """Only a proven death gives memory back."""
        for life in [each for each in self.lives if not each.is_alive]:
            assert life.used == 0
            self.lives.remove(life)
            self.seen.add("end")

    # --- the books -------------------------------------------------------------------------------

    def share(self, life: Life) -> Share:
        runs = not (life.frozen or life.leaving)
        return Share(
            key=life.name,
            booked=life.booked,
            charge=charge(life.booked, life.peak),
            peak=life.peak,
            steady=life.steady,
            step=life.step,
            runs_since=life.begun if runs else None,
        )

    def view(self) -> DeviceView:
        return DeviceView(
            uuid="c",
            node="n",
            index=0,
            name="A100",
            total=TOTAL,
            safety=SAFETY,
            foreign=self.foreign,
            booked=sum(charge(life.booked, life.peak) for life in self.lives),
            measured_free=self.measured,
            threshold=0.95,
            holders=len(self.lives),
        )

    def planner(self) -> Planner:
        scheduler = Planner(Rules(min_run=0.0))
        scheduler.put_card(self.view())
        for life in self.lives:
            scheduler.put_run(self.running(life))
        return scheduler

    def running(self, life: Life) -> RunView:
        shown = run(
            life.name,
            charge(life.booked, life.peak),
            ("c",),
            since=life.begun - NOW,
            preemptible=int(life.name[1:]) % 3 > 0,
        )
        return RunView(
            job=shown.job,
            placements=shown.placements,
            started_at=life.begun,
            frozen=life.frozen,
            leaving=life.leaving,
        )

    def check(self) -> None:
        booked = sum(life.booked for life in self.lives)
        assert booked <= TOTAL, "bookings above the card"
        assert self.really_used <= TOTAL


@pytest.mark.parametrize("block", range(SEQUENCES // TOGETHER))
def test_a_shared_card_never_promises_what_it_has_not(block):
    happened: set[str] = set()
    for number in range(block * TOGETHER, (block + 1) * TOGETHER):
        site = Site(random.Random(number))
        for _ in range(STEPS):
            site.happen()
            site.check()
        happened |= site.seen
    assert {"start", "end", "gives way", *Change} <= happened
