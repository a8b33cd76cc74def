"""What the API says of an estimate."""

from __future__ import annotations

from ninja import Field, Schema


class PartOut(Schema):
    """One use of memory on one card, by the formula."""

    part: str = Field(description="weights, gradients, optimizer, activations, logits, ...")
    bytes: int
    words: str


class EstimateOut(Schema):
    """The memory that a job will need on each of its cards."""

    low_bytes: int
    likely_bytes: int
    high_bytes: int
    min_memory_bytes: int = Field(description="what is booked where the task names no min_memory")
    source: str = Field(description="formula, or learned: from measured runs of the same kind")
    runs: int = Field(description="runs that it was learned from")
    peak_bytes: int | None = Field(description="the largest of their peaks")
    least_peak_bytes: int | None = Field(description="the smallest of their peaks")
    model: str | None
    method: str | None
    parameters: int | None
    trained_parameters: int | None
    parts: list[PartOut] = Field(description="of the formula, which a learned size may differ from")
    assumptions: list[str]
    sentence: str
