"""A workload: jobs with when they come, how long they run and what they need, read from the rows of a CSV file.

The first row names the columns; `submit_s` and `duration_s` must be there, the others may be left out:

    job_id       any text, each once; left out: the number of the row
    submit_s     when it is handed in, seconds from any zero
    duration_s   how long it works, seconds alone on its cards
    gpus         cards together; more than a machine has: whole machines. Left out: 1
    min_memory   on each card, such as 16G; left out: the whole card
    gpu_type     as in a task file; left out: any
    project      left out: default
    user         left out: default
    priority     low, medium or high; left out: medium
    sm_share     how much of a card it computes with when alone there, 0 to 1; left out: not known
    preemptible  yes or no; left out: no
    cpus         cores on each machine; left out: 0
    host_memory  main memory on each machine, such as 32G; left out: 0
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobs.core.problems import Problem, shortened
from jobs.core.states import Priority
from jobs.core.units import UnitError, parse_size

REQUIRED = ("submit_s", "duration_s")
OPTIONAL = (
    "job_id",
    "gpus",
    "min_memory",
    "gpu_type",
    "project",
    "user",
    "priority",
    "sm_share",
    "preemptible",
    "cpus",
    "host_memory",
)

_WHOLE = re.compile(r"[0-9]{1,9}")

MOST_GPUS = 65_536
MOST_SECONDS = 1e12
MOST_PROBLEMS = 20  # that one error tells


class WorkloadError(ValueError):
    """A file that is no workload, with the problems that were found in it, the first twenty of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - MOST_PROBLEMS
        lines = [str(problem) for problem in self.problems[:MOST_PROBLEMS]]
        lines += [f"... and {more} more problems."] if more > 0 else []
        super().__init__("\n".join(lines))


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadJob:
    """One job as the world knows it; a scheduler is told less. Times are seconds."""

    id: str
    submit: float
    duration: float  # of work, alone on its cards
    gpus: int = 1  # on all machines together
    memory: int | None = None  # bytes on each card; None: the whole card
    gpu_type: str | None = None
    project: str = "default"
    user: str = "default"
    priority: Priority = Priority.MEDIUM
    sm_share: float | None = None  # 0..1; None: not known
    preemptible: bool = False
    start_overhead: float = 0.0  # holds its cards so long, without work, each time it starts
    host_cpus: int = 0  # thousandths of a core, on each machine
    host_memory: int = 0  # bytes, on each machine
    comes: float | None = None  # when the scheduler first hears of it; None: when it is handed in
    exclusive: bool = False  # shares no card, however little memory it asks for
    est_time: float = (
        math.inf
    )  # how long it works, as the scheduler is told; infinite: it is told nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """The jobs in the order in which they are handed in, and the columns that nothing was done with."""

    jobs: tuple[WorkloadJob, ...]
    ignored: tuple[str, ...] = ()


def read_workload(lines: Iterable[str], *, overhead_column: str = "") -> Workload:
    """The workload in the lines of a CSV file; `overhead_column` holds each job's start-up overhead in seconds.

    Raises:
        WorkloadError: no header, a column that is missing, a value that cannot be read, or no job.
    """
    rows = csv.DictReader(lines, strict=True)
    try:
        header = [name.strip() for name in rows.fieldnames or ()]
        _check_header(header, overhead_column)
        rows.fieldnames = header
        jobs = _read_rows(rows, overhead_column)
    except csv.Error as error:
        raise WorkloadError([_unreadable(rows.reader.line_num, str(error))]) from error
    known = {*REQUIRED, *OPTIONAL, overhead_column}
    return Workload(
        jobs=tuple(
            sorted(jobs, key=lambda job: job.submit)
        ),  # stable: equal times keep their order
        ignored=tuple(name for name in header if name not in known),
    )


def _read_rows(rows: csv.DictReader[str], overhead_column: str) -> list[WorkloadJob]:
    jobs: list[WorkloadJob] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        fields = _Fields(row, rows.line_num)
        job = _job(fields, number, overhead_column)
        if job.id in seen:
            fields.blame("job_id", f"{shortened(job.id)} is line {seen[job.id]}, too", _UNIQUE)
        seen.setdefault(job.id, rows.line_num)
        problems += fields.problems
        jobs.append(job)
    if problems:
        raise WorkloadError(problems)
    if not jobs:
        raise WorkloadError([_whole_file("there is no job in it", "write one line for each job")])
    return jobs


def _job(fields: _Fields, number: int, overhead_column: str) -> WorkloadJob:
    share = fields.text("sm_share")
    return WorkloadJob(
        id=fields.text("job_id") or str(number),
        submit=fields.number("submit_s", most=MOST_SECONDS),
        duration=fields.number("duration_s", most=MOST_SECONDS),
        gpus=fields.whole_number("gpus", default=1, most=MOST_GPUS),
        memory=fields.size("min_memory") if fields.text("min_memory") else None,
        gpu_type=fields.text("gpu_type") or None,
        project=fields.text("project") or "default",
        user=fields.text("user") or "default",
        priority=fields.priority(),
        sm_share=fields.number("sm_share", most=1.0) if share else None,
        preemptible=fields.yes_or_no("preemptible"),
        start_overhead=fields.number(overhead_column, most=MOST_SECONDS) if overhead_column else 0,
        host_cpus=round(1000 * fields.number("cpus", most=1e6, default=0.0)),
        host_memory=fields.size("host_memory") if fields.text("host_memory") else 0,
    )


class _Fields:
    """The cells of one row, read by name; what cannot be read becomes a problem and a harmless value."""

    def __init__(self, row: Mapping[str | None, str | list[str] | None], line: int) -> None:
        self._row = row
        self._line = line
        self.problems: list[Problem] = []
        if None in row:
            self.blame("", "there are more cells than columns", "quote cells that hold a comma")

    def blame(self, column: str, message: str, hint: str) -> None:
        """Note what is wrong in one cell."""
        self.problems.append(Problem(line=self._line, field=column, message=message, hint=hint))

    def text(self, column: str) -> str:
        """The cell without spaces around it; empty where it, or its column, is missing."""
        cell = self._row.get(column)
        return cell.strip() if isinstance(cell, str) else ""

    def number(self, column: str, *, most: float, default: float | None = None) -> float:
        """A number from zero to `most`."""
        text = self.text(column)
        if not text and default is not None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= most:
            given = shortened(text) if text else "an empty cell"
            self.blame(column, f"{given} is no such number", f"allowed is 0 to {most:g}")
            return 0.0
        return value

    def whole_number(self, column: str, *, default: int, most: int) -> int:
        """A whole number from zero to `most`."""
        text = self.text(column)
        if not text:
            return default
        if not _WHOLE.fullmatch(text) or int(text) > most:
            hint = f"allowed are whole numbers from 0 to {most}"
            self.blame(column, f"{shortened(text)} is no such number", hint)
            return default
        return int(text)

    def size(self, column: str) -> int:
        """Bytes of a size such as 16G."""
        try:
            return parse_size(self.text(column))
        except UnitError as error:
            self.blame(column, error.message, error.hint)
            return 0

    def priority(self) -> Priority:
        """One of the three priorities."""
        text = self.text("priority").upper()
        if text and text not in Priority.__members__:
            hint = "allowed are low, medium and high"
            self.blame("priority", f"{shortened(text.lower())} is no priority", hint)
            return Priority.MEDIUM
        return Priority[text] if text else Priority.MEDIUM

    def yes_or_no(self, column: str) -> bool:
        """Whether the cell says yes."""
        text = self.text(column).lower()
        if text not in {"", "yes", "no"}:
            self.blame(column, f"{shortened(text)} is neither", "allowed are yes and no")
        return text == "yes"


_UNIQUE = "each job needs an id of its own: change one, or leave the column out"


def _check_header(header: list[str], overhead_column: str) -> None:
    wanted = (*REQUIRED, *([overhead_column] if overhead_column else []))
    missing = [name for name in wanted if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    found = shortened(", ".join(header), 200) if header else "nothing"
    problems = [_no_column(name, found) for name in missing]
    problems += [_twice(name) for name in twice]
    if problems:
        raise WorkloadError(problems)


def _no_column(name: str, found: str) -> Problem:
    hint = "the first line names the columns, and this one is needed"
    return Problem(line=1, field=name, message=f"there is no such column in {found}", hint=hint)


def _twice(name: str) -> Problem:
    hint = "each column may be there once: take one out"
    return Problem(line=1, field=name, message="the column is there twice", hint=hint)


def _unreadable(line: int, reason: str) -> Problem:
    hint = "save it as comma-separated text with a quote around each cell that holds a comma"
    return Problem(line=line, field="", message=f"this is not CSV ({reason})", hint=hint)


def _whole_file(message: str, hint: str) -> Problem:
    return Problem(line=None, field="", message=message, hint=hint)
