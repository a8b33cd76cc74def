"""People and projects, jobs and their history, datasets, and what the site knows about itself."""

from jobs.models.accounts import ApiToken, SignInLink, User
from jobs.models.datasets import Dataset, DatasetUpload, TrainingConfig
from jobs.models.jobs import Allocation, Attempt, Job, JobEvent, Swap
from jobs.models.notifications import (
    Channel,
    Delivery,
    Notification,
    ReadingPlace,
    SignInFailures,
)
from jobs.models.projects import Invitation, Membership, PriorityRequest, Project, Quota
from jobs.models.replays import Replay
from jobs.models.reports import BookingDay, CardDay, LedgerState, OutOfService, WaitedDay
from jobs.models.site import Announcement, Heartbeat, IdempotentAnswer, Lease, SiteSetting

__all__ = [
    "Allocation",
    "Announcement",
    "ApiToken",
    "Attempt",
    "BookingDay",
    "CardDay",
    "Channel",
    "Dataset",
    "DatasetUpload",
    "Delivery",
    "Heartbeat",
    "IdempotentAnswer",
    "Invitation",
    "Job",
    "JobEvent",
    "Lease",
    "LedgerState",
    "Membership",
    "Notification",
    "OutOfService",
    "PriorityRequest",
    "Project",
    "Quota",
    "ReadingPlace",
    "Replay",
    "SignInFailures",
    "SignInLink",
    "SiteSetting",
    "Swap",
    "TrainingConfig",
    "User",
    "WaitedDay",
]
