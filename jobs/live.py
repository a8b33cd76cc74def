"""The hub of one web process: what it hears on the bus goes to its sockets, serialised once.

One tailer listens for all viewers. It reads no database for readings; for changed jobs it asks once a batch which
viewers may know of them. Missed datagrams are healed by a look at the event rows every two seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async

from jobs import events, queue, watching
from jobs.models import Job, JobEvent, User
from jobs.notify.pump import pump
from jobs.outbox import Outbox

HEAL_EVERY = 2.0  # seconds between looks at the event rows
WATCH_EVERY = 0.5  # seconds between looks at logs and progress of the jobs that somebody watches
TELL_EVERY = 2.0  # seconds between looks at what people are to be told
FORGET_EVERY = 0.4  # seconds between two times that the computed queue is thrown away
BATCH_FOR = 0.03  # seconds in which changes are gathered before viewers are asked about
RING_SECONDS = 600
REPLAY_STEP = 5  # seconds between the points that a newcomer gets
_LOOK_BACK = 200  # event rows: with several writers a lower id may be committed after a higher one
_MIB = 2**20

ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]

logger = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class Viewer:
    """A socket that hears of changed jobs, and what is known about which jobs its user may see."""

    user: User
    outbox: Outbox
    known: dict[str, bool] = field(
        default_factory=dict
    )  # job id -> visible; emptied at each re-check


@dataclass(eq=False, kw_only=True)
class Watcher:
    """A socket that watches one job."""

    job_id: str
    outbox: Outbox
    seen: watching.Glimpse | None = None


@dataclass(kw_only=True)
class Latest:
    """The newest live message that this process heard, for pages rendered between two ticks."""

    readings: Mapping[str, Any] | None = None


LATEST = Latest()
_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop; started by its first caller."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


def listening(application: ASGIApplication) -> ASGIApplication:
    """An application whose process listens from its first request on, so that the first viewer finds some history."""

    async def listened(scope: Any, receive: Any, send: Any) -> None:
        hub().start()
        await application(scope, receive, send)

    return listened


class Hub:
    """The sockets of this process, and the tasks that feed them."""

    def __init__(self) -> None:
        self._fleet: set[Outbox] = set()
        self._viewers: set[Viewer] = set()
        self._watchers: set[Watcher] = set()
        self._rings: dict[str, deque[tuple[int, int | None, int | None]]] = {}
        self._pending: set[str] = set()
        self._last_event = 0
        self._told: set[int] = set()  # event rows that the bus or the look at the rows has brought
        self._flush: asyncio.TimerHandle | None = None
        self._forgotten_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def join_fleet(self, outbox: Outbox) -> None:
        """A socket wants the readings; it gets the last minutes first."""
        self.start()
        self._fleet.add(outbox)
        if self._rings:
            outbox.put("history", self._history())
        if LATEST.readings is not None:
            outbox.put("readings", json.dumps(LATEST.readings))

    def join_jobs(self, viewer: Viewer) -> None:
        """A socket wants to hear of changed jobs."""
        self.start()
        self._viewers.add(viewer)

    def join_job(self, watcher: Watcher) -> None:
        """A socket watches one job."""
        self.start()
        self._watchers.add(watcher)

    def leave(self, seat: Outbox | Viewer | Watcher) -> None:
        """A socket is gone."""
        for seats in (self._fleet, self._viewers, self._watchers):
            seats.discard(seat)

    def hear(self, message: Mapping[str, Any]) -> None:
        """One message of the bus."""
        if message.get("k") == "readings":
            self._on_readings(message)
        elif message.get("k") == "changed":
            self._told.add(message["event"])
            self._on_changed(message["jobs"], message["event"])
        elif message.get("k") == "told":
            self._on_told(message["users"])

    def start(self) -> None:
        """Begin to listen; does nothing where it listens already."""
        if not self._tasks:
            for work in (self._listen, self._heal, self._watch, self._tell):
                self._tasks.add(asyncio.get_running_loop().create_task(_for_ever(work)))

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        with events.bus().listen("web") as listener:

            def drain() -> None:
                for message in listener.receive(0):
                    self.hear(message)

            loop.add_reader(listener.fileno(), drain)
            try:
                await asyncio.Event().wait()
            finally:
                loop.remove_reader(listener.fileno())

    async def _heal(self) -> None:
        """Announce what the bus did not bring: a full socket buffer drops datagrams, by design."""
        floor = await database_sync_to_async(_newest_event)()
        self._last_event = max(self._last_event, floor)
        while True:
            await asyncio.sleep(HEAL_EVERY)
            if not self._viewers and not self._watchers:
                continue
            after = max(floor, self._last_event - _LOOK_BACK)
            for number, job_id in await database_sync_to_async(_events_after)(after):
                if number not in self._told:
                    self._told.add(number)
                    self._on_changed([job_id], number)
            self._told = {number for number in self._told if number > after}

    async def _tell(self) -> None:
        """Have notifications written; those who wait for nothing do not notice."""
        while True:
            await asyncio.sleep(TELL_EVERY)
            await database_sync_to_async(pump)()

    def _on_told(self, users: Collection[int] | None) -> None:
        """These people (None: everybody) have something new to read."""
        for viewer in self._viewers:
            if users is None or viewer.user.pk in users:
                viewer.outbox.put("told", json.dumps({"k": "told"}))

    async def _watch(self) -> None:
        """Logs and progress of watched jobs, looked at for all their watchers at once."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            ids = {watcher.job_id for watcher in self._watchers}
            if not ids:
                continue
            glimpses = await database_sync_to_async(watching.look)(ids)
            for watcher in list(self._watchers):
                if watcher.job_id in glimpses:
                    _show(watcher, glimpses[watcher.job_id])

    def _on_readings(self, message: Mapping[str, Any]) -> None:
        LATEST.readings = message
        self._remember(message)
        text = json.dumps(message, separators=(",", ":"))
        for outbox in self._fleet:
            outbox.put("readings", text)
        for watcher in self._watchers:
            _show_readings(watcher, message)

    def _remember(self, message: Mapping[str, Any]) -> None:
        at = int(message["at"])
        for device in message["devices"]:
            ring = self._rings.setdefault(device["uuid"], deque(maxlen=RING_SECONDS))
            used, busy = device["used"], device["busy"]
            ring.append(
                (
                    at,
                    None if used is None else used // _MIB,
                    None if busy is None else round(busy * 100),
                )
            )

    def _history(self) -> str:
        """At most one point in `REPLAY_STEP` seconds of each card: [time, used MiB, busy per cent]."""
        points = {
            uuid: [point for point in ring if point[0] % REPLAY_STEP == 0]
            for uuid, ring in self._rings.items()
        }
        return json.dumps(
            {"k": "history", "step": REPLAY_STEP, "devices": points}, separators=(",", ":")
        )

    def _on_changed(self, jobs: Iterable[str], event: int) -> None:
        self._forget_queue()
        self._pending.update(jobs)
        self._last_event = max(self._last_event, event)
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(BATCH_FOR, self._flush_later)

    def _forget_queue(self) -> None:
        """Have positions computed afresh, but not for every change: a long queue costs a while to look through."""
        now = asyncio.get_running_loop().time()
        if now - self._forgotten_at >= FORGET_EVERY:
            self._forgotten_at = now
            queue.forget()

    def _flush_later(self) -> None:
        self._flush = None
        task = asyncio.get_running_loop().create_task(self._tell_viewers())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_viewers(self) -> None:
        jobs, self._pending = self._pending, set()
        for watcher in self._watchers:
            if watcher.job_id in jobs:
                watcher.outbox.add_changes([watcher.job_id], self._last_event)
        viewers = list(self._viewers)
        await self._learn_visibility(viewers, jobs)
        for viewer in viewers:
            visible = [job_id for job_id in jobs if viewer.known.get(job_id)]
            # A viewer who may see none of them hears that the queue changed: positions and free memory did.
            viewer.outbox.add_changes(visible, self._last_event)

    async def _learn_visibility(self, viewers: Iterable[Viewer], jobs: set[str]) -> None:
        unknown: dict[User, set[str]] = {}
        for viewer in viewers:
            unknown.setdefault(viewer.user, set()).update(jobs - viewer.known.keys())
        asked = {user: ids for user, ids in unknown.items() if ids}
        if not asked:
            return
        visible = await database_sync_to_async(_visible)(asked)
        for viewer in viewers:
            for job_id in asked.get(viewer.user, ()):
                viewer.known[job_id] = job_id in visible[viewer.user]


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Keep a task of the hub alive: a database that is away for a moment must not silence the pages."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("A task of the live hub failed; starting it again.")
            await asyncio.sleep(1.0)


def _show(watcher: Watcher, glimpse: watching.Glimpse) -> None:
    before, watcher.seen = watcher.seen, glimpse
    if before is None or before.progress != glimpse.progress:
        watcher.outbox.put("progress", json.dumps({"k": "progress", "progress": glimpse.progress}))
    if before is None or (before.attempt, before.log_size) != (glimpse.attempt, glimpse.log_size):
        log = {"k": "log", "attempt": glimpse.attempt, "size": glimpse.log_size}
        watcher.outbox.put("log", json.dumps(log))


def _show_readings(watcher: Watcher, message: Mapping[str, Any]) -> None:
    """The job's own part of a tick: what it uses and has booked on each of its cards."""
    keys = watcher.seen.allocations if watcher.seen else frozenset()
    cards = [
        {"uuid": device["uuid"], "booked": booked, "used": used, "busy": device["busy"]}
        for device in message["devices"]
        for key, booked, used in device["segs"]
        if key in keys
    ]
    if cards:
        text = json.dumps({"k": "readings", "at": message["at"], "cards": cards})
        watcher.outbox.put("readings", text)


def _newest_event() -> int:
    return JobEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _events_after(number: int) -> list[tuple[int, str]]:
    rows = JobEvent.objects.filter(pk__gt=number).order_by("pk").values_list("pk", "job_id")
    return list(rows[: 10 * _LOOK_BACK])


def _visible(asked: Mapping[User, Iterable[str]]) -> dict[User, set[str]]:
    return {
        user: set(Job.objects.visible_to(user).filter(pk__in=ids).values_list("pk", flat=True))
        for user, ids in asked.items()
    }
