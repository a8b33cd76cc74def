"""What the storm changes inside the processes under test: notes of crashes, starts made twice, and three mutants.

Nothing of it is in the production code. A mutant is a promise broken on purpose, to see that the audit notices.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path

MUTANT, NOTES = "STORM_MUTANT", "STORM_NOTES"

NO_CLAIM = "no exclusive claim"
FREE_EARLY = "bytes freed without ending the tree"
EXEC_EARLY = "executed before the intent was committed"
MUTANTS = (NO_CLAIM, FREE_EARLY, EXEC_EARLY)

LAUNCHER = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from tests.storm import inside; inside.change_launcher(); "
    "from jobs.launcher import main; main()"
)
STARTED_TWICE = 0.3
"""The share of launches that are repeated, at once and once more after the attempt may have ended."""


def change_launcher() -> None:
    """In the launcher, from which every supervisor is forked."""
    _note_crashes()
    if os.environ.get(MUTANT) == NO_CLAIM:
        _do_without_claim()
    if os.environ.get(MUTANT) == FREE_EARLY:
        _end_without_emptying()


def change_dispatcher() -> None:
    """In the dispatcher, after Django's set-up."""
    from jobs.core import ending, reconcile
    from jobs.engines import local

    _note_crashes()
    local._LAUNCHER = LAUNCHER
    # Waiting is not what is tested here.
    reconcile.CLAIM_GRACE = 1.5
    ending.FIRST_BACKOFF, ending.LONGEST_BACKOFF = 0.1, 0.2
    _start_some_twice(local.LocalEngine)
    mutant = os.environ.get(MUTANT)
    if mutant == NO_CLAIM:
        _do_without_claim()
    if mutant == FREE_EARLY:
        local.LocalEngine.reap = lambda _engine, _ref: True
    if mutant == EXEC_EARLY:
        _execute_before_the_commit()


def run_service(name: str) -> None:
    """`python -m tests.storm.inside dispatcher|agent`: the real service, changed as above, gone with the storm."""
    import django
    from django.core.management import call_command

    from jobs.launch import kernel

    kernel.set_parent_death_signal(signal.SIGKILL)
    django.setup()
    if name == "dispatcher":
        change_dispatcher()
    call_command(name)


def _note_crashes() -> None:
    from jobs.launch import crashpoints

    die = crashpoints._die

    def note_and_die(name: str) -> None:
        with Path(os.environ[NOTES]).open("a") as notes:
            notes.write(f"{name}\n")
        die(name)

    crashpoints._die = note_and_die


def _start_some_twice(engine_class) -> None:
    start, dice = engine_class.start, random.Random(os.getpid())

    def start_often(engine, attempt) -> None:
        start(engine, attempt)
        if dice.random() < STARTED_TWICE:
            start(engine, attempt)
            late = threading.Timer(dice.uniform(0.1, 1.5), start, (engine, attempt))
            late.daemon = True
            late.start()

    engine_class.start = start_often


def _do_without_claim() -> None:
    from jobs import rundir

    claim = rundir.claim

    def claim_anyway(directory, by: str) -> bool:
        if not claim(directory, by):
            rundir.write_durably(
                directory, rundir.CLAIM, rundir.read_record(directory, rundir.CLAIM) | {"by": by}
            )
        return True

    rundir.claim = claim_anyway


def _end_without_emptying() -> None:
    from jobs.launch.command import Command

    Command.gone = lambda command: command.ended is not None


def _execute_before_the_commit() -> None:
    import time

    from jobs import lifecycle, preparation
    from jobs.engines import local_engine

    book = lifecycle.start

    def book_and_execute(*booking):
        attempt = book(*booking)
        if attempt is not None:
            local_engine().start(preparation.prepare(attempt))
            time.sleep(0.1)
        return attempt

    lifecycle.start = book_and_execute


if __name__ == "__main__":
    run_service(sys.argv[1])
