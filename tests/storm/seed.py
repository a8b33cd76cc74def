"""Prepare a site for the storm: a migrated database, two simulated cards, queued jobs that keep a ledger."""

from __future__ import annotations

import random
import sys

SIZES_GIB = (10, 14, 18, 24, 30)
HIDING = 0.3
"""The share of jobs that leave a process behind which left the session and cleaned its environment."""

TASK = """\
task_id: storm-{number:03d}
priority: {priority}
max_attempts: 100
retry_on: [lost, failed]
resources:
  min_memory: {memory}G
command: |
  : storm={storm}
  echo "start $LLAMA_COOP_ATTEMPT" >> {ledger}
  {leftover}
  sleep {seconds:.2f}
  echo "end $LLAMA_COOP_ATTEMPT" >> {ledger}
"""
# A shell with something left to do keeps its arguments, by which the auditor knows whose it is.
HIDDEN = "(env -i setsid bash -c 'sleep 60; :' storm={storm} $LLAMA_COOP_ATTEMPT &)"
PLAIN = "(setsid bash -c 'sleep 60; :' storm={storm} $LLAMA_COOP_ATTEMPT &)"


def tasks(storm: str, count: int, ledger: str, *, hide: bool) -> list[str]:
    """The task files; the same ones for the same storm name."""
    dice = random.Random(storm)
    made = []
    for number in range(count):
        leftover = (
            (HIDDEN if hide else PLAIN).format(storm=storm) if dice.random() < HIDING else ":"
        )
        made.append(
            TASK.format(
                number=number,
                storm=storm,
                ledger=ledger,
                leftover=leftover,
                priority=dice.choice(["low", "medium", "high"]),
                memory=dice.choice(SIZES_GIB),
                seconds=dice.uniform(0.4, 1.6),
            )
        )
    return made


def main(storm: str, count: int, hide: bool) -> None:
    """Run in a process whose COOP_HOME is the storm's."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from jobs.agent import Agent
    from jobs.models import User
    from jobs.projects import default_project, join
    from jobs.submission import submit

    Agent().tick()
    user = User.objects.create(username="storm")
    join(user, default_project(), "member")
    for task in tasks(storm, count, str(settings.COOP_HOME / "ledger"), hide=hide):
        submit(task, user)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "hide")
