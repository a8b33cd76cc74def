"""`/metrics`: what Prometheus reads, written by its text format version 0.0.4. Read when asked, never stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from gpus.models import Device
from jobs import tokens
from jobs.api.auth import grant_of
from jobs.api.problems import not_signed_in, problem_response
from jobs.core.states import ACTIVE, TERMINAL
from jobs.core.version import __version__
from jobs.health import may_see_details
from jobs.models import Allocation, Heartbeat, Job
from jobs.policies import alarm
from jobs.refusals import Refused
from jobs.why import who_acts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric with its samples."""

    name: str
    kind: str  # gauge or counter
    help: str
    samples: tuple[Sample, ...]


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics, for this machine itself and for tokens that may read."""
    try:
        allowed = may_see_details(request) or tokens.READ in grant_of(request).scopes
    except Refused as refused:
        return problem_response(refused)
    if not allowed:
        return problem_response(not_signed_in())
    return HttpResponse(exposition(collect()), content_type=CONTENT_TYPE)


def exposition(found: Iterable[Metric]) -> str:
    """The metrics as text."""
    return "".join(f"{line}\n" for metric in found for line in _lines(metric))


def collect() -> Iterator[Metric]:
    """Every metric; no label names a job or a person, so that their number stays small."""
    yield _gauge("build_info", "The version that runs.", [({"version": __version__}, 1)])
    yield from _jobs()
    yield from _cards()
    yield _heartbeats()
    failing = alarm.standing() is not None
    yield _gauge("policy_failing", "1 while the site's policy does not work.", [({}, failing)])


def _jobs() -> Iterator[Metric]:
    counted = Job.objects.values("state", "project__slug").annotate(number=Count("pk"))
    rows = [(row["state"], row["project__slug"], row["number"]) for row in counted]
    yield _gauge(
        "jobs",
        "Unfinished jobs.",
        [({"state": state, "project": slug}, n) for state, slug, n in rows if state in ACTIVE],
    )
    yield Metric(
        name="llama_coop_jobs_finished_total",
        kind="counter",
        help="Jobs that have ended.",
        samples=tuple(
            ({"project": slug, "outcome": state.lower()}, n)
            for state, slug, n in rows
            if state in TERMINAL
        ),
    )
    yield _pending()


def _pending() -> Metric:
    counted = Job.objects.waiting().exclude(wait_code="").values("wait_code")
    rows = counted.annotate(number=Count("pk")).order_by("wait_code")
    samples = [
        ({"class": who_acts(row["wait_code"]), "reason": row["wait_code"]}, row["number"])
        for row in rows
    ]
    return _gauge("pending_jobs", "Waiting jobs by why they wait and who must act.", samples)


def _cards() -> Iterator[Metric]:
    devices = list(Device.objects.select_related("node"))
    held = dict(
        Allocation.objects.open()
        .values_list("device")
        .annotate(number=Count("pk"))
        .values_list("device", "number")
    )
    for name, text, column in (
        ("gpu_memory_total_bytes", "Memory of the card.", "memory_total"),
        ("gpu_memory_used_bytes", "Memory in use, by whomever.", "used"),
        ("gpu_memory_reserved_bytes", "Memory booked for jobs.", "booked"),
        ("gpu_memory_unaccounted_bytes", "Memory in use that no job here holds.", "foreign"),
        ("gpu_busy_ratio", "Share of the time in which the card worked.", "busy"),
        ("gpu_temperature_celsius", "Temperature of the card.", "temperature"),
        ("gpu_power_watts", "Power that the card draws.", "power"),
        ("gpu_drained", "Whether the card takes no new jobs.", "drained"),
    ):
        yield _gauge(name, text, _of_cards(devices, column))
    yield _gauge(
        "gpu_jobs", "Jobs on the card.", [(_labels(each), held.get(each.pk, 0)) for each in devices]
    )


def _of_cards(devices: Iterable[Device], column: str) -> list[Sample]:
    """One value of each card; a card that cannot tell has no sample."""
    values = ((device, getattr(device, column)) for device in devices)
    return [(_labels(device), float(value)) for device, value in values if value is not None]


def _labels(device: Device) -> dict[str, str]:
    """The labels by which dcgm-exporter names a card, too."""
    return {"gpu": str(device.index), "UUID": device.uuid, "node": device.node.name}


def _heartbeats() -> Metric:
    rows = Heartbeat.objects.exclude(name=alarm.NAME)
    samples = [({"service": row.name}, row.at.timestamp()) for row in rows]
    return _gauge(
        "heartbeat_timestamp_seconds", "When a service last showed that it lives.", samples
    )


def _gauge(name: str, text: str, samples: Iterable[Sample]) -> Metric:
    return Metric(name=f"llama_coop_{name}", kind="gauge", help=text, samples=tuple(samples))


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in metric.samples:
        inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{metric.name}{{{inside}}} {value:.17g}" if inside else f"{metric.name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
