"""Checks a dataset file before any job waits for a card with it: format, columns, and every single row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.core.datasetformats import (
    FORMATS,
    detect_format,
    kind_of,
    missing_columns,
    roles_of,
    row_problems,
)
from jobs.core.datasetproblems import RowProblem, UnreadableError
from jobs.core.datasetrows import EXTENSIONS, read_rows
from jobs.core.datasetshape import Shape

MOST_PROBLEMS = 20
"""Problems after which the check stops: one mistake is often made in every row."""

MOST_COLUMNS = 256
PREVIEW_ROWS = 5
PREVIEW_TEXT = 300
PREVIEW_ITEMS = 6

# Cells that the CSV reader behind LLaMA-Factory takes for "no value" (pandas' list).
_CSV_EMPTY = frozenset(
    (
        *(
            "",
            "#N/A",
            "#N/A N/A",
            "#NA",
            "-1.#IND",
            "-1.#QNAN",
            "-NaN",
            "-nan",
            "1.#IND",
            "1.#QNAN",
        ),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReport:
    """What a check found. A dataset with a problem is refused: each would stop a run or lose rows silently."""

    format: str | None  # alpaca, sharegpt or openai; None when it could not be told
    rows: int  # rows read, up to the last one looked at
    columns: tuple[str, ...]
    preview: tuple[dict[str, Any], ...]  # the first rows, shortened
    problems: tuple[RowProblem, ...]
    stopped: bool  # there may be more problems: the check ended early

    @property
    def ok(self) -> bool:
        """Whether a job may use it."""
        return not self.problems


def check(
    chunks: Iterable[bytes], extension: str, dataset_format: str | None = None
) -> DatasetReport:
    """Reads a file to its end, or to its twentieth problem, holding one row at a time.

    Args:
        chunks: the file's bytes, in pieces of any size.
        extension: "json", "jsonl" or "csv".
        dataset_format: one of `FORMATS`, or None to go by the first row.
    """
    for name, value, allowed in (
        ("file type", extension, EXTENSIONS),
        ("format", dataset_format, FORMATS),
    ):
        if value is not None and value not in allowed:
            raise ValueError(f"{name} {value!r} is unknown; allowed are {', '.join(allowed)}")
    checked = _Check(extension=extension, format=dataset_format)
    try:
        for number, value in read_rows(chunks, extension):
            checked.take(number, value)
            if len(checked.problems) >= MOST_PROBLEMS or checked.hopeless:
                return checked.report(stopped=True)
    except UnreadableError as error:
        checked.problems.append(error.problem)
        return checked.report(stopped=True)
    checked.finish()
    return checked.report(stopped=False)


@dataclass(kw_only=True)
class _Check:
    """The running state of one check."""

    extension: str
    format: str | None
    rows: int = 0
    columns: dict[str, None] = field(default_factory=dict)  # an ordered set
    roles: dict[str, str] = field(default_factory=dict)
    preview: list[dict[str, Any]] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    hopeless: bool = False  # the columns are wrong, so every row would be
    shape: Shape = field(default_factory=Shape)
    numeric: set[str] = field(default_factory=set)  # CSV columns with nothing but numbers so far

    def take(self, number: int, value: Any) -> None:
        """Checks one row."""
        self.rows = number
        if not isinstance(value, dict) or not value:
            self._add(
                "",
                f"expected an object with the columns as keys, got {kind_of(value) if value != {} else 'an empty one'}",
            )
            return
        row = self._cells(value) if self.extension == "csv" else value
        if not self.columns.keys() >= row.keys():
            self._meet_columns(row)
        if self.hopeless or self.format is None:
            return
        if len(self.preview) < PREVIEW_ROWS:
            self.preview.append({key: shortened(item) for key, item in row.items()})
        before = len(self.problems)
        for place, message in row_problems(self.format, self.roles, row):
            empty = self.extension == "csv" and row.get(place) is None
            self._add(place, _empty_cell(value[place]) if empty else message)
        change = self.shape.change_in(number, row)
        if change is not None and len(self.problems) == before:
            self._add(*change)

    def finish(self) -> None:
        """What can only be said at the end."""
        if self.rows == 0:
            self.problems.append(
                RowProblem(
                    row=None, field="", message="there are no rows; a dataset needs at least one"
                )
            )
        for role in ("prompt", "response", "chosen", "rejected"):
            column = self.roles.get(role)
            if column in self.numeric and self.rows:
                message = "every value is a number, which a CSV file cannot mark as text; use jsonl"
                self.problems.append(RowProblem(row=None, field=column, message=message))

    def report(self, *, stopped: bool) -> DatasetReport:
        return DatasetReport(
            format=self.format,
            rows=self.rows,
            columns=tuple(self.columns),
            preview=tuple(self.preview),
            problems=tuple(self.problems[:MOST_PROBLEMS]),
            stopped=stopped,
        )

    def _add(self, place: str, message: str) -> None:
        self.problems.append(RowProblem(row=self.rows, field=place, message=message))

    def _meet_columns(self, row: Mapping[str, Any]) -> None:
        """Notes new columns; the first row decides the format and which column plays which role."""
        first = not self.columns
        self.columns.update(dict.fromkeys(row))
        if len(self.columns) > MOST_COLUMNS:
            self._give_up("", f"more than {MOST_COLUMNS} columns; are the rows' keys values?")
            return
        if self.format is None:
            self.format = detect_format(row)
        if self.format is None:
            names = ", ".join(self.columns) or "none"
            self._give_up(
                "",
                "the columns fit no format; expected 'instruction' and 'output' (alpaca), 'conversations'"
                f" (sharegpt) or 'messages' (openai), got {names}",
            )
            return
        self._assign_roles(first=first)

    def _assign_roles(self, *, first: bool) -> None:
        roles = roles_of(str(self.format), self.columns)
        for role, column in roles.items():
            earlier = self.roles.get(role, column)
            if earlier != column:
                self._give_up(column, f"earlier rows call this column '{earlier}'; use one name")
        self.roles = roles
        missing = missing_columns(str(self.format), roles, self.columns)
        if first and missing:
            self._give_up("", missing)

    def _give_up(self, place: str, message: str) -> None:
        self.hopeless = True
        self._add(place, message)

    def _cells(self, cells: Mapping[str, str]) -> dict[str, str | None]:
        """A CSV row as LLaMA-Factory will see it."""
        self.numeric = {
            name for name in (self.numeric if self.rows > 1 else cells) if _is_number(cells[name])
        }
        return {name: None if cell in _CSV_EMPTY else cell for name, cell in cells.items()}


def _empty_cell(cell: str) -> str:
    if not cell:
        return "expected text, got an empty cell"
    return f"expected text, got {cell!r}, which LLaMA-Factory reads as an empty cell; use jsonl"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell in _CSV_EMPTY
    return True


def shortened(value: Any, depth: int = 4) -> Any:
    """A value of bounded size for a preview."""
    if isinstance(value, str):
        return value if len(value) <= PREVIEW_TEXT else f"{value[:PREVIEW_TEXT]}…"
    if isinstance(value, list | dict) and not depth:
        return "…"
    if isinstance(value, list):
        return [shortened(item, depth - 1) for item in value[:PREVIEW_ITEMS]]
    if isinstance(value, dict):
        items = list(value.items())[:PREVIEW_ITEMS]
        return {key[:80]: shortened(item, depth - 1) for key, item in items}
    return value
