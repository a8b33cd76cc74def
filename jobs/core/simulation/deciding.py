"""What a simulation asks of a scheduler. The production `Planner` and the rivals in this folder answer alike."""

from __future__ import annotations

from typing import Protocol

from jobs.core.plan import Plan
from jobs.core.snapshot import DeviceView, JobView, NodeView, ProjectView, RunView


class Decider(Protocol):
    """Keeps its own picture of cards and jobs, told only what changes."""

    def put_card(self, card: DeviceView, /) -> None:
        """A card is there, or has changed."""

    def put_node(self, node: NodeView, /) -> None:
        """A machine has limits beside its cards."""

    def put_project(self, project: ProjectView, now: float, /) -> None:
        """A project is there."""

    def queue(self, job: JobView, /) -> None:
        """A job waits: a new one, one that comes back, or one that has changed."""

    def put_run(self, run: RunView, /) -> None:
        """A running job has changed."""

    def end(self, job_id: str, at: float, /) -> RunView:
        """A running job has gone: it holds nothing any more."""

    def decide(self, now: float, /) -> Plan:
        """What starts and what is preempted now; starts are booked at once."""

    def next_change(self) -> float:
        """When time alone may change a decision; infinity if never."""
