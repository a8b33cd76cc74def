"""What a job of a workload asks of the machines of a simulation: cards on each machine, machines, memory."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jobs.core.gputypes import matches_gpu_type
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.snapshot import DeviceView, NodeView


class Shape(NamedTuple):
    """The part of a job's needs that depends on the machines."""

    gpus: int  # on each machine
    nodes: int
    memory: int  # bytes on each card
    exclusive: bool  # it takes its cards whole, whatever they hold


class _Model(NamedTuple):
    """The machines with cards of one model."""

    name: str
    total: int  # bytes of one card
    machines: dict[str, int]  # machine -> cards of this model


class Shapes:
    """Answers for each job of a workload; equal jobs are worked out once."""

    def __init__(self, cards: Iterable[DeviceView], nodes: Iterable[NodeView]) -> None:
        self._models = _models(cards)
        self._nodes = {node.name: node for node in nodes}
        self._known: dict[tuple[object, ...], Shape | None] = {}

    def of(self, job: WorkloadJob) -> Shape | None:
        """How the job is laid out; None where it could not run even with all machines empty.

        A job with more cards than a machine has gets whole machines, as few as suffice.
        """
        key = (
            *(job.gpus, job.memory, job.gpu_type, job.exclusive),
            *(job.host_cpus, job.host_memory),
        )
        if key not in self._known:
            self._known[key] = self._shape(job)
        return self._known[key]

    def _shape(self, job: WorkloadJob) -> Shape | None:
        if not job.gpus:
            fits = any(self._is_enough(job, node) for node in self._nodes.values())
            return Shape(0, 1, 0, exclusive=False) if fits or not self._limited(job) else None
        suitable = [model for model in self._models if _is_suitable(job, model)]
        # One machine of any model before several of the smallest.
        return next(
            (
                shape
                for several in (False, True)
                for model in suitable
                if (shape := self._on(job, model, several=several))
            ),
            None,
        )

    def _on(self, job: WorkloadJob, model: _Model, *, several: bool) -> Shape | None:
        machines = [
            cards
            for node, cards in model.machines.items()
            if self._is_enough(job, self._nodes.get(node))
        ]
        size = max(machines, default=0)
        whole = job.memory is None or job.exclusive
        memory = model.total if job.memory is None else job.memory
        if not several:
            return Shape(job.gpus, 1, memory, whole) if job.gpus <= size else None
        nodes = math.ceil(job.gpus / size) if size else 0
        enough = 0 < nodes <= sum(cards == size for cards in machines)
        return Shape(size, nodes, memory, whole) if enough else None

    def _is_enough(self, job: WorkloadJob, node: NodeView | None) -> bool:
        return node is None or (job.host_cpus <= node.cpus and job.host_memory <= node.host_memory)

    def _limited(self, job: WorkloadJob) -> bool:
        return bool(self._nodes) and bool(job.host_cpus or job.host_memory)


def _is_suitable(job: WorkloadJob, model: _Model) -> bool:
    return matches_gpu_type(job.gpu_type, model.name, model.total) and (
        job.memory is None or job.memory <= model.total
    )


def _models(cards: Iterable[DeviceView]) -> Sequence[_Model]:
    machines: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for card in cards:
        machines[card.total, card.name][card.node] += 1
    return [_Model(name, total, dict(on)) for (total, name), on in sorted(machines.items())]
