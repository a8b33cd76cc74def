"""People and projects, jobs and their history, datasets, and what the site knows about itself."""

from jobs.models.accounts import ApiToken, SignInLink, User
from jobs.models.datasets import Dataset, DatasetUpload, TrainingConfig
from jobs.models.jobs import Allocation, Attempt, Job, JobEvent
from jobs.models.projects import Membership, Project, Quota
from jobs.models.replays import Replay
from jobs.models.reports import BookingDay, CardDay, LedgerState, OutOfService, WaitedDay
from jobs.models.site import Heartbeat, IdempotentAnswer, Lease, SiteSetting

__all__ = [
    "Allocation",
    "ApiToken",
    "Attempt",
    "BookingDay",
    "CardDay",
    "Dataset",
    "DatasetUpload",
    "Heartbeat",
    "IdempotentAnswer",
    "Job",
    "JobEvent",
    "Lease",
    "LedgerState",
    "Membership",
    "OutOfService",
    "Project",
    "Quota",
    "Replay",
    "SignInLink",
    "SiteSetting",
    "TrainingConfig",
    "User",
    "WaitedDay",
]
