"""The name by which engines know an attempt."""

from __future__ import annotations

from jobs.engines.base import AttemptRef
from jobs.models import Attempt


def ref_of(attempt: Attempt) -> AttemptRef:
    """Job and number; together they are the fencing token."""
    return AttemptRef(job_id=attempt.job_id, number=attempt.number)
