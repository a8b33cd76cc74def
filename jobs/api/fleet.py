"""`/gpus` and `/queue`: the cards and the waiting jobs, as far as the caller may know them."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router

from gpus.models import Device
from jobs import cardsettings, queue, sitesettings, tokens
from jobs.api.answers import answer, base_url
from jobs.api.auth import Allowed, grant
from jobs.api.problems import NotFound
from jobs.api.siteschemas import DrainIn, GpuOut, GpusOut, QueueOut
from jobs.core.problems import shortened
from jobs.models import Job
from jobs.queue import QueueRow
from jobs.queuestate import POSITIONS
from jobs.serialize import instant, jobs_json
from jobs.sight import sight_within
from jobs.tokens import Grant
from jobs.views.fleet import Segment, Tile, fleet_for

router = Router()


@router.get("/gpus", response=GpusOut, auth=Allowed(tokens.READ))
def list_gpus(request: HttpRequest) -> HttpResponse:
    """All cards with their latest readings and who holds what on them."""
    return answer(request, {"items": _gpus(grant(request))})


@router.get("/gpus/{uuid}", response=GpuOut, auth=Allowed(tokens.READ))
def show_gpu(request: HttpRequest, uuid: str) -> HttpResponse:
    """One card."""
    return _one(request, uuid)


@router.post("/gpus/{uuid}/drain", response=GpuOut, auth=Allowed(tokens.ADMIN))
def drain_gpu(request: HttpRequest, uuid: str, wanted: DrainIn | None = None) -> HttpResponse:
    """Take a card out of service: its jobs end as they would, and no new ones start on it."""
    cardsettings.drain([_device(uuid)], wanted.reason if wanted else "", grant(request).user)
    queue.forget()
    return _one(request, uuid)


@router.post("/gpus/{uuid}/undrain", response=GpuOut, auth=Allowed(tokens.ADMIN))
def undrain_gpu(request: HttpRequest, uuid: str) -> HttpResponse:
    """Put a card back into service."""
    cardsettings.undrain([_device(uuid)], grant(request).user)
    queue.forget()
    return _one(request, uuid)


@router.get("/queue", response=QueueOut, auth=Allowed(tokens.READ))
def show_queue(
    request: HttpRequest, limit: Annotated[int, Query(ge=1, le=POSITIONS)] = POSITIONS
) -> HttpResponse:
    """The first waiting jobs in their order. Of another project's it says the needs only, unless the queue is open."""
    queued = queue.rows(sight_within(grant(request).projects()), limit)
    seen = [row.job for row in queued.rows if row.job is not None]
    known = {item["id"]: item for item in jobs_json(seen, base_url=base_url(request))}
    items = [_row(row, known) for row in queued.rows]
    return answer(request, {"items": items, "more": queued.more})


def _row(row: QueueRow, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    job = known.get(row.job.pk) if row.job else None
    return {
        "position": row.position,
        "min_memory_bytes": row.needs,
        "gpus": row.gpus,
        "name": row.named or None,
        "owner": row.owner or None,
        "eta": job["eta"] if job else None,
        "eta_range": job["eta_range"] if job else None,
        "job": job,
    }


def _one(request: HttpRequest, uuid: str) -> HttpResponse:
    for item in _gpus(grant(request)):
        if item["uuid"] == uuid:
            return answer(request, item)
    raise _no_card(uuid)


def _no_card(uuid: str) -> NotFound:
    return NotFound(_("There is no card %(uuid)s.") % {"uuid": shortened(uuid, 100)})


def _device(uuid: str) -> Device:
    device = Device.objects.filter(uuid=uuid).select_related("node").first()
    if device is None:
        raise _no_card(uuid)
    return device


def _gpus(caller: Grant) -> list[dict[str, Any]]:
    nodes = fleet_for(caller.user).nodes
    is_open = sitesettings.current().queue_is_open
    return [_gpu(tile, caller, is_open) for node in nodes for tile in node.tiles]


def _gpu(tile: Tile, caller: Grant, is_open: bool) -> dict[str, Any]:
    device = tile.device
    return {
        "uuid": device.uuid,
        "node": device.node.name,
        "index": device.index,
        "name": device.name,
        "state": tile.state,
        "memory_total_bytes": device.memory_total,
        "used_bytes": device.used,
        "booked_bytes": device.booked,
        "foreign_bytes": device.foreign,
        "free_bytes": tile.room,
        "busy": device.busy,
        "temperature_celsius": device.temperature,
        "power_watts": device.power,
        "power_limit_watts": device.power_limit,
        "read_at": instant(device.read_at),
        "mode": device.mode or None,
        "drained": device.drained,
        "drain_reason": device.drain_reason or None,
        "fault": device.fault or None,
        "holders": [_holder(segment, caller, is_open) for segment in tile.segments],
    }


def _holder(segment: Segment, caller: Grant, is_open: bool) -> dict[str, Any]:
    return {
        "key": segment.key,
        "booked_bytes": segment.booked,
        "used_bytes": segment.used,
        "job": _holding_job(segment, caller, is_open),
    }


def _holding_job(segment: Segment, caller: Grant, is_open: bool) -> dict[str, str | None] | None:
    """The job behind a booking; by its name alone where the queue is open, else not at all."""
    job = segment.job
    if job is not None and _may_see(caller, job):
        return {"id": job.pk, "name": str(job), "owner": job.owner.username}
    if is_open:
        return {"id": None, "name": segment.label, "owner": segment.owner}
    return None


def _may_see(caller: Grant, job: Job) -> bool:
    """A token that is bound to a project sees no other, even where its account would."""
    return caller.project is None or job.project_id == caller.project.pk
