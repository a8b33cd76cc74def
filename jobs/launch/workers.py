"""Which processes of a training are told to save: those that compute, and not the helpers around them.

LLaMA-Factory trains in the command's own process, or has `torchrun` start one process a rank. A signal to the whole
tree would also hit data loaders, whose death makes a training fail, and `torchrun`, which kills its ranks after 30 s
of its own. A signal to the command alone would leave the ranks training.
"""

from __future__ import annotations

from jobs.launch import procfs

RANK_VARIABLE = "LOCAL_RANK"
"""In the environment of every rank that torchrun starts, and of what a rank starts itself."""


def training_processes(members: frozenset[int], root: int) -> frozenset[int]:
    """The ranks among `members`; without any, the command itself. `root` is the first process of the tree."""
    table = {pid: seen for pid in members if (seen := procfs.read_process(pid)) is not None}
    in_rank = {pid for pid in table if procfs.has_variable(pid, RANK_VARIABLE)}
    ranks = frozenset(pid for pid in in_rank if table[pid].parent not in in_rank)
    return ranks or _command(table, root)


def _command(table: dict[int, procfs.Process], root: int) -> frozenset[int]:
    """The root, or the oldest process below it where the root only holds a PID namespace together."""
    if root in table:
        return frozenset({root})
    below = [process for process in table.values() if process.parent == root]
    return frozenset(
        {min(below, key=lambda each: (each.start_ticks, each.pid)).pid} if below else ()
    )
