"""What a site's own `policy.py` imports: the base policy and the words it speaks (docs/policies.md)."""

from __future__ import annotations

from jobs.core.policy import BasePolicy
from jobs.core.snapshot import JobView
from jobs.core.states import JobState, Priority

__all__ = ["BasePolicy", "JobState", "JobView", "Priority"]
