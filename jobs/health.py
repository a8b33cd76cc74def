"""Is the service well: for load balancers (`/healthz`, `/readyz`), for Prometheus (`/metrics`), for people.

Strangers learn no more than yes or no. Details are for those who are signed in, and for this machine itself.
"""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from gpus.models import Device
from jobs import heartbeats, sharing, sitesettings, snapshots
from jobs.core.policies import DEFAULT
from jobs.core.units import GIB, format_size
from jobs.models import Job, User
from jobs.policies import alarm

OK, WARNING, ERROR = "ok", "warning", "error"

DISK_WARNING = 10 * GIB
DISK_ERROR = 2 * GIB
_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One part of the service; `needed` ones keep it from being ready when they are in error."""

    name: str
    status: str
    detail: str
    hint: str = ""
    needed: bool = False


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Whether this process answers. Nothing else is looked at, and nothing else is said."""
    return _plain("up\n")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether database, dispatcher and sampler are there: 200, or 503 with what is not."""
    missing = [check for check in needed_checks() if check.status == ERROR]
    if not missing:
        return _plain("ready\n")
    if not may_see_details(request):
        return _plain("not ready\n", 503)
    return _plain("".join(f"{check.name}: {check.detail}\n" for check in missing), 503)


def may_see_details(request: HttpRequest) -> bool:
    """Whether the request comes from this machine itself, or from a person who is signed in.

    Where the service is reached through a proxy, all the world seems to come from this machine: then nobody
    counts as local.
    """
    user = getattr(request, "user", None)
    if isinstance(user, User) and user.is_active:
        return True
    proxied = settings.COOP_PUBLIC_URL or any(name in request.headers for name in _FORWARDED)
    return not proxied and _is_loopback(request.META.get("REMOTE_ADDR", ""))


def checks() -> list[Check]:
    """Everything that `llama-coop doctor` and the pages show."""
    return [*needed_checks(), *_other_checks()]


def needed_checks() -> list[Check]:
    """What must be well for jobs to be accepted and started."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        found = [Check(name="database", status=OK, detail=_("it answers"), needed=True)]
        return [*found, *_lives(), _sampler()]
    except DatabaseError as error:
        detail = _("it does not answer (%(error)s)") % {"error": type(error).__name__}
        return [_failed("database", detail, _("Look at COOP_DATABASE_URL and at the disk."))]


def _lives() -> Iterator[Check]:
    for life in heartbeats.lives():
        needed = life.name != heartbeats.BACKGROUND
        if life.fresh:
            yield Check(name=life.name, status=OK, detail=_("it lives"), needed=needed)
            continue
        seen = life.at.isoformat(timespec="seconds") if life.at else _("never")
        yield Check(
            name=life.name,
            status=ERROR if needed else WARNING,
            detail=_("no sign of life since %(seen)s") % {"seen": seen},
            hint=_("`llama-coop serve` restarts it; its log is in COOP_HOME/logs."),
            needed=needed,
        )


def _sampler() -> Check:
    """Whether any card has a fresh reading: without one nothing is admitted."""
    now = timezone.now()
    newest = Device.objects.exclude(read_at=None).order_by("-read_at").first()
    if newest is None or newest.read_at is None:
        hint = _("Look at the log of the agent; COOP_GPUS=simulated:1xA100-80G runs without cards.")
        return _failed("readings", _("no card has been read yet"), hint)
    age = (now - newest.read_at).total_seconds()
    if now - newest.read_at > snapshots.STALE_AFTER:
        detail = _("the newest reading is %(age).0f s old") % {"age": age}
        return _failed("readings", detail, _("Look at the log of the agent."))
    detail = _("the newest is %(age).0f s old") % {"age": age}
    return Check(name="readings", status=OK, detail=detail, needed=True)


def _other_checks() -> Iterator[Check]:
    for device in Device.objects.select_related("node"):
        if device.fault:
            hint = _("Look at the card with nvidia-smi; drain it to keep jobs away.")
            yield Check(name=str(device), status=WARNING, detail=device.fault, hint=hint)
    yield _cards()
    yield _llamafactory()
    yield _disk()
    yield _stuck()
    yield _policy()
    for each in sharing.abilities():
        can = _("can") if each.can else _("cannot")
        yield Check(name=each.name, status=OK, detail=f"{can}: {each.why}")


def _policy() -> Check:
    """Whether the queue is in the order that the site has chosen."""
    failing = alarm.standing()
    if failing is None:
        chosen = sitesettings.current().policy or DEFAULT
        return Check(name="policy", status=OK, detail=chosen)
    return Check(
        name="policy",
        status=ERROR,
        detail=failing.sentence,
        hint=_("Correct its file, which is then loaded again, or set `policy` to `default`."),
    )


def _cards() -> Check:
    devices = list(Device.objects.select_related("node"))
    simulated = any(device.node.source == "simulated" for device in devices)
    names = ", ".join(sorted({device.name for device in devices})) or _("none")
    detail = _("%(count)d cards: %(names)s") % {"count": len(devices), "names": names}
    if not simulated:
        return Check(name="cards", status=OK if devices else WARNING, detail=detail)
    return Check(
        name="cards",
        status=WARNING,
        detail=_("%(cards)s, simulated") % {"cards": detail},
        hint=_("Jobs run on the CPU. Set COOP_GPUS=nvml on a machine with NVIDIA cards."),
    )


def _llamafactory() -> Check:
    command: str = settings.COOP_LLAMAFACTORY
    found = shutil.which(command) or shutil.which(command, path=settings.COOP_JOB_PATH)
    if found:
        return Check(name="llamafactory", status=OK, detail=found)
    return Check(
        name="llamafactory",
        status=WARNING,
        detail=_("%(command)s is not found") % {"command": command},
        hint=_("Install LLaMA-Factory and set COOP_LLAMAFACTORY to its llamafactory-cli."),
    )


def _disk() -> Check:
    free = shutil.disk_usage(settings.COOP_HOME).free
    detail = _("%(free)s free in %(home)s") % {
        "free": format_size(free),
        "home": settings.COOP_HOME,
    }
    status = ERROR if free < DISK_ERROR else WARNING if free < DISK_WARNING else OK
    return Check(
        name="disk",
        status=status,
        detail=detail,
        hint=_("Delete old checkpoints and datasets, or move COOP_HOME to a larger disk."),
    )


def _stuck() -> Check:
    """Processes that could not be ended keep their memory, and no job gets it."""
    jobs = Job.objects.filter(attempts__ended_at=None, attempts__stuck_since__isnull=False)
    names = ", ".join(sorted(map(str, jobs)))
    if not names:
        return Check(name="processes", status=OK, detail=_("none that cannot be ended"))
    return Check(
        name="processes",
        status=ERROR,
        detail=_("cannot be ended: those of %(names)s") % {"names": names},
        hint=_("They hang in the kernel; the machine may need a restart."),
    )


def _failed(name: str, detail: str, hint: str) -> Check:
    return Check(name=name, status=ERROR, detail=detail, hint=hint, needed=True)


def _plain(text: str, status: int = 200) -> HttpResponse:
    response = HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    return response


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
