"""Memory of cards that is booked for nobody, in words: what it is, since when, and the command that ends it.

The one place for these sentences; the health page, `/api/v1/health` and `llama-coop doctor` show them.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from gpus.models import Finding
from gpus.readings import SIMULATED
from jobs.core.units import format_size


def told() -> Iterator[tuple[Finding, str, str]]:
    """Every finding of now, with its sentence and what to do."""
    for finding in Finding.objects.select_related("device__node"):
        yield finding, _sentence(finding), _advice(finding)


def _sentence(finding: Finding) -> str:
    return _template(finding) % {
        "memory": _("an unknown amount") if finding.memory is None else format_size(finding.memory),
        "pid": finding.pid,
        "user": finding.user,
        "command": finding.command,
        "holder": finding.holder,
        "since": date_format(timezone.localtime(finding.since), "Y-m-d H:i:s"),
    }


def _is_played(finding: Finding) -> bool:
    """Whether a scenario of simulated cards plays it: the process that it names is a real one, and no culprit."""
    return finding.kind == Finding.Kind.FOREIGN and finding.device.node.source == SIMULATED


def _template(finding: Finding) -> str:
    if _is_played(finding):
        return _("%(memory)s are held outside the queue, since %(since)s")
    match finding.kind:
        case Finding.Kind.STRAY:
            return _(
                "process %(pid)s (%(command)s) of attempt %(holder)s holds %(memory)s on a card that is not"
                " booked for it, since %(since)s"
            )
        case Finding.Kind.ZOMBIE:
            return _(
                "dead process %(pid)s (%(command)s) of %(user)s still holds %(memory)s, since %(since)s"
            )
        case Finding.Kind.FOREIGN:
            return _(
                "process %(pid)s (%(command)s) of %(user)s, outside the queue, holds %(memory)s, since %(since)s"
            )
    if finding.pid:
        return _(
            "process %(pid)s, which this machine does not show, holds %(memory)s, since %(since)s"
        )
    return _("%(memory)s are held without a living process, since %(since)s")


def _advice(finding: Finding) -> str:
    if _is_played(finding):
        return _("The scenario of the simulated cards plays it; there is nothing to end.")
    values = {"pid": finding.pid, "user": finding.user, "index": finding.device.index}
    match finding.kind:
        case Finding.Kind.STRAY:
            return _(
                "Cancel the job, or correct what sets CUDA_VISIBLE_DEVICES in its command; its memory is"
                " never counted as free."
            )
        case Finding.Kind.ZOMBIE:
            return (
                _("Its parent must release it: `ps -o ppid= -p %(pid)s` names the parent.") % values
            )
        case Finding.Kind.FOREIGN:
            return _("Ask %(user)s to end it, or run `sudo kill %(pid)s` on that machine.") % values
    return (
        _(
            "`sudo fuser -v /dev/nvidia%(index)s` names hidden holders, such as those in containers. If"
            " there are none, drain the card, wait until it is empty, and run"
            " `sudo nvidia-smi --gpu-reset -i %(index)s`."
        )
        % values
    )
