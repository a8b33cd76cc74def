"""Which jobs need the same memory: learned peaks are kept by this. Coarser than jobs/core/template.py.

Data, number of steps, names and seeds change how long a training runs, but not what it needs at most; model, method,
quantization, lengths, batch and cards do.
"""

from __future__ import annotations

import hashlib

from jobs.core.estimate.problems import CannotEstimate
from jobs.core.estimate.recipe import recipe_of
from jobs.core.jobspec import JobSpec
from jobs.core.template import template_of

_PLACES = 2  # the last parts of a model's path: where it lies differs from machine to machine


def memory_kind_of(spec: JobSpec) -> str:
    """The kind of this job by its memory: SHA-256, hexadecimal. A command is never read: its template stands for it."""
    config, resources = spec.llamafactory, spec.resources
    if not isinstance(config, dict) or not config.get("model_name_or_path"):
        return template_of(spec)
    try:
        recipe = recipe_of(config, cards=resources.gpus * resources.nodes)
    except CannotEstimate:
        return template_of(spec)
    parts = str(config["model_name_or_path"]).rstrip("/").split("/")[-_PLACES:]
    text = repr((spec.project, "/".join(parts), recipe))
    return hashlib.sha256(text.encode()).hexdigest()
