"""The sockets: who may join what, and until when. What is sent comes from the hub (`jobs/live.py`)."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from jobs.live import Viewer, Watcher, hub
from jobs.models import Job, User
from jobs.outbox import WINDOW, Outbox, SlowReader

RECHECK_EVERY = 60.0  # seconds between looks whether the user may still be here
SIGNED_OUT, NOT_THERE, TOO_SLOW = 4401, 4404, 4408  # close codes; the page's script knows them

logger = logging.getLogger(__name__)


class LiveConsumer(AsyncWebsocketConsumer):
    """A signed-in reader of the hub. It says nothing itself but how many messages it has taken."""

    async def connect(self) -> None:
        # Accepted first: only then does the close code reach the page, which else would ask again for ever.
        await self.accept()
        self._tasks: list[asyncio.Task[None]] = []
        refusal = await self.refusal()
        if refusal is not None:
            await self.close(refusal)
            return
        self.outbox = Outbox(lambda text: self.send(text_data=text))
        self.seat = self.take_seat()
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._recheck())]

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the library's signature
        if hasattr(self, "seat"):
            hub().leave(self.seat)
        for task in self._tasks:
            task.cancel()

    async def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,  # noqa: ARG002 - the library's signature
    ) -> None:
        try:
            count = int(json.loads(text_data or "")["ack"])
        except (ValueError, KeyError, TypeError):
            await self.close(1003)
            return
        if hasattr(self, "outbox"):
            self.outbox.acknowledge(min(max(count, 0), WINDOW))

    def take_seat(self) -> Outbox | Viewer | Watcher:
        """Join the hub."""
        raise NotImplementedError

    async def refusal(self) -> int | None:
        """The close code for a user who may not (or no longer) be here; None where all is well."""
        user = await get_user(self.scope)
        if not user.is_authenticated or not user.is_active or not await self._session_lives():
            return SIGNED_OUT
        self.user: User = user
        return None

    async def _session_lives(self) -> bool:
        """A session that was ended elsewhere is gone from the store, though this scope still has its copy."""
        session = self.scope["session"]
        return bool(await database_sync_to_async(session.exists)(session.session_key))

    async def _send(self) -> None:
        try:
            await self.outbox.run()
        except SlowReader:
            await self.close(TOO_SLOW)
        except Exception:
            logger.exception("A live socket broke; its page comes back by itself.")
            await self.close(1011)

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_EVERY)
            refusal = await self.refusal()
            if refusal is not None:
                await self.close(refusal)
                return
            if isinstance(self.seat, Viewer):
                self.seat.known.clear()


class FleetConsumer(LiveConsumer):
    """`/ws/fleet`: the readings of all cards, which name nobody."""

    def take_seat(self) -> Outbox:
        hub().join_fleet(self.outbox)
        return self.outbox


class JobsConsumer(LiveConsumer):
    """`/ws/jobs`: which jobs changed, of those that the user may see."""

    def take_seat(self) -> Viewer:
        viewer = Viewer(user=self.user, outbox=self.outbox)
        hub().join_jobs(viewer)
        return viewer


class JobConsumer(LiveConsumer):
    """`/ws/jobs/<id>`: one job's changes, progress, readings, and the growth of its log."""

    async def refusal(self) -> int | None:
        refusal = await super().refusal()
        if refusal is None and not await database_sync_to_async(self._may_see)():
            return NOT_THERE
        return refusal

    def take_seat(self) -> Watcher:
        watcher = Watcher(job_id=self.job_id, outbox=self.outbox)
        hub().join_job(watcher)
        return watcher

    @property
    def job_id(self) -> str:
        """The id in the address."""
        arguments: dict[str, Any] = self.scope["url_route"]["kwargs"]
        return str(arguments["id"])

    def _may_see(self) -> bool:
        return bool(Job.objects.visible_to(self.user).filter(pk=self.job_id).exists())
