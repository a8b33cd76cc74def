"""An estimate of memory in words, and as the API tells it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from jobs.core.estimate.answer import LEARNED, SPREAD, Estimate
from jobs.core.estimate.memory import PartCode
from jobs.core.units import GIB, format_size
from jobs.refusals import Warned

PARTS: Mapping[PartCode, Promise] = MappingProxyType(
    {
        PartCode.WEIGHTS: gettext_lazy("weights"),
        PartCode.GRADIENTS: gettext_lazy("gradients"),
        PartCode.OPTIMIZER: gettext_lazy("optimizer states"),
        PartCode.REFERENCE: gettext_lazy("reference model"),
        PartCode.ACTIVATIONS: gettext_lazy("activations"),
        PartCode.LOGITS: gettext_lazy("logits"),
        PartCode.LAYER: gettext_lazy("one layer, computed again"),
        PartCode.STEP: gettext_lazy("the optimizer's step"),
        PartCode.CACHE: gettext_lazy("keys and values of what is written"),
        PartCode.GATHERED: gettext_lazy("the gathered layer"),
        PartCode.WORKSPACE: gettext_lazy("CUDA context and workspace"),
    }
)


def sentence(estimate: Estimate, booked: int | None = None) -> str:
    """One line: the size and where it comes from; with `booked`, that this was filled in as `min_memory`."""
    if booked is not None:
        return _("min_memory %(size)s: estimated, %(source)s.") % {
            "size": f"{booked // GIB}G",
            "source": source(estimate),
        }
    return _("Likely %(likely)s on each card (%(low)s to %(high)s): %(source)s.") % {
        "likely": format_size(estimate.likely),
        "low": format_size(estimate.low),
        "high": format_size(estimate.high),
        "source": source(estimate),
    }


def source(estimate: Estimate) -> str:
    """Where the numbers come from: `LoRA of Qwen2.5-7B; formula, ±20 %`."""
    what = _("%(method)s of %(model)s") % {"method": estimate.method, "model": estimate.model}
    told = _learned(estimate) if estimate.source == LEARNED else _formula()
    if estimate.ran_out:
        told = _("%(told)s, and a run of the same kind ran out of memory with %(peak)s") % {
            "told": told,
            "peak": format_size(estimate.ran_out),
        }
    return f"{what}; {told}" if estimate.model else told


def assumptions(estimate: Estimate) -> list[str]:
    """What the formula had to assume, a sentence each."""
    words = {
        "family": _("The model's family is not known here; it is counted like Llama."),
        "deepspeed": _(
            "The name of the DeepSpeed file does not tell its stage; each card is counted with the whole model."
        ),
    }
    return [words[code] for code in estimate.assumptions]


def too_little(estimate: Estimate, given: int) -> tuple[Warned, ...]:
    """The warning for a `min_memory` (bytes) that is below the lower end."""
    if given >= estimate.low:
        return ()
    detail = _("min_memory is %(given)s, but the job may run out of memory. %(sentence)s") % {
        "given": format_size(given),
        "sentence": sentence(estimate),
    }
    return (Warned(code="memory_below_estimate", detail=detail),)


def estimate_json(estimate: Estimate, booked: int | None = None) -> dict[str, Any]:
    """The estimate as the API tells it."""
    return {
        "low_bytes": estimate.low,
        "likely_bytes": estimate.likely,
        "high_bytes": estimate.high,
        "min_memory_bytes": booked if booked is not None else estimate.min_memory,
        "source": estimate.source,
        "runs": estimate.runs,
        "peak_bytes": estimate.peak or None,
        "least_peak_bytes": estimate.least or None,
        "model": estimate.model or None,
        "method": estimate.method or None,
        "parameters": estimate.parameters or None,
        "trained_parameters": estimate.trained or None,
        "parts": [
            {"part": part.code.value, "bytes": part.size, "words": str(PARTS[part.code])}
            for part in estimate.parts
        ],
        "assumptions": assumptions(estimate),
        "sentence": sentence(estimate, booked),
    }


def _formula() -> str:
    return _("formula, ±%(percent)d %%") % {"percent": round(SPREAD * 100)}


def _learned(estimate: Estimate) -> str:
    """`learned from 7 runs of this kind: 11.2-12.0 GiB`."""
    least, most = format_size(estimate.least), format_size(estimate.peak)
    number, _space, unit = least.partition(" ")
    same = ngettext(
        "learned from %(runs)d run of this kind: %(peaks)s",
        "learned from %(runs)d runs of this kind: %(peaks)s",
        estimate.runs,
    )
    other = ngettext(
        "learned from %(runs)d run of this kind with other data: %(peaks)s",
        "learned from %(runs)d runs of this kind with other data: %(peaks)s",
        estimate.runs,
    )
    is_one, is_same_unit = least == most, most.endswith(f" {unit}")
    peaks = most if is_one else f"{number if is_same_unit else least}-{most}"
    return (other if estimate.other_data else same) % {"runs": estimate.runs, "peaks": peaks}
