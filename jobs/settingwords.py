"""What each setting does, for the people who set it. The table of settings itself is `jobs/sitesettings.py`."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True, kw_only=True)
class Words:
    """A setting's name for people, and what it does in a sentence or two."""

    label: Text
    effect: Text


WORDS: dict[str, Words] = {
    "mode": Words(
        label=_("Sharing of cards"),
        effect=_(
            "How many jobs share a card, where the card itself has no other mode: one alone, several by what they"
            " booked, or several by what they were measured to use."
        ),
    ),
    "policy": Words(
        label=_("Order of the queue (policy)"),
        effect=_(
            "Who goes first. Empty: by fair share, then priority and age. A policy of yours orders the jobs and never"
            " places them; where it fails, the default order is used."
        ),
    ),
    "placement": Words(
        label=_("Choice of cards"),
        effect=_(
            "Which of the cards that fit a job gets: the one that it fills best, or the one that leaves the most"
            " room for the jobs that come here usually."
        ),
    ),
    "memory_threshold": Words(
        label=_("Memory threshold"),
        effect=_(
            "Nothing more is placed on a card that would then be fuller than this. A job alone on its card may use"
            " more. Lower leaves more room for surprises and starts fewer jobs."
        ),
    ),
    "max_jobs_per_card": Words(
        label=_("Most jobs on a card"),
        effect=_("However small they are. Frozen jobs count, because they keep their memory."),
    ),
    "max_workers": Words(
        label=_("Most jobs at once"),
        effect=_("On all cards together. Frozen jobs count."),
    ),
    "preemption": Words(
        label=_("Preemption"),
        effect=_(
            "Whether running jobs that can save their work are suspended so that a project gets what it is guaranteed,"
            " or a job of higher priority its turn."
        ),
    ),
    "min_run_minutes": Words(
        label=_("Minimum run, minutes"),
        effect=_("No job is suspended for another before it has run so long."),
    ),
    "half_life_hours": Words(
        label=_("Half-life of past use, hours"),
        effect=_(
            "After this time what a project has used counts half when the fair share is worked out. Short forgets"
            " quickly; long evens out over weeks."
        ),
    ),
    "sharding_margin": Words(
        label=_("Margin of a shrunken booking"),
        effect=_(
            "Under dynamic sharding a job is booked with its measured peak times this. Less leaves more room for"
            " others; more spares surprises."
        ),
    ),
    "sharding_stable_minutes": Words(
        label=_("Steady before it shrinks, minutes"),
        effect=_(
            "Under dynamic sharding a booking shrinks only after the job's peak has hardly grown for so long."
        ),
    ),
    "sharding_stable_steps": Words(
        label=_("Steady before it shrinks, steps"),
        effect=_("The same in steps of the training, where it tells them. Both must have passed."),
    ),
    "save_grace_seconds": Words(
        label=_("Time to save, seconds"),
        effect=_(
            "How long a training that gives its cards back may take to write its checkpoint; then it is ended."
        ),
    ),
    "idle_minutes": Words(
        label=_("Idle before a warning, minutes"),
        effect=_(
            "A running job whose cards do nothing for so long, or that hangs, is warned of. Empty: nobody looks."
        ),
    ),
    "idle_action": Words(
        label=_("After the warning"),
        effect=_(
            "Whether an idle job that can give its cards back is paused, or only warned of. One whose log still grows"
            " is never paused."
        ),
    ),
    "idle_grace_minutes": Words(
        label=_("Grace of an idle job, minutes"),
        effect=_("Between the warning and the pause; its owner can keep it running for longer."),
    ),
    "cap": Words(
        label=_("Memory cap"),
        effect=_(
            "What keeps a job within the memory that it booked: nothing, PyTorch's own allocator, or NVIDIA MPS where"
            " it can be had."
        ),
    ),
    "over_memory": Words(
        label=_("More memory than booked"),
        effect=_(
            "What becomes of a job that is measured above its booking for ten seconds: it is warned, gives its card"
            " back if it can, or ends."
        ),
    ),
    "swap_out": Words(
        label=_("Swap suspended jobs out"),
        effect=_(
            "A job that gives its card back may keep its GPU memory in the machine's main memory and go on later"
            " where it stopped, where driver and job allow it."
        ),
    ),
    "private_webhooks": Words(
        label=_("Webhooks to private addresses"),
        effect=_(
            "Whether notifications may be sent to addresses of the own network, and without encryption. Leave it off"
            " unless the receiver is there."
        ),
    ),
    "signup": Words(
        label=_("New accounts"),
        effect=_(
            "Who gets an account by signing in with another service: nobody, people with an e-mail address of the"
            " domains below, or everybody whom that service knows."
        ),
    ),
    "signup_domains": Words(
        label=_("Domains of new accounts"),
        effect=_("The part after the @ of verified e-mail addresses, separated by commas."),
    ),
    "signup_project": Words(
        label=_("Project of new accounts"),
        effect=_("The project that newcomers join. Empty: they wait until somebody adds them."),
    ),
    "open_queue": Words(
        label=_("Open queue"),
        effect=_(
            "Everybody sees name and owner of every waiting job and of every job on a card; never its log or files."
        ),
    ),
    "log_dir": Words(
        label=_("Folder of links to logs"),
        effect=_(
            "Where a link to each job's log is made, named after the job, for people on the machine."
        ),
    ),
}
