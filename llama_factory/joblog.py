"""A job's log by byte offset: what is there now, and what comes, across attempts."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import requests

from jobs.core.states import TERMINAL, JobState
from llama_factory.transport import Transport

PAUSE_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPart:
    """Some bytes of one attempt's log, and what the service says about the rest."""

    data: bytes
    next_offset: int
    attempt: int  # 0 before the first one
    latest_attempt: int
    complete: bool  # nothing will follow `next_offset` in this attempt
    job_ended: bool

    @classmethod
    def from_answer(cls, answer: requests.Response) -> Self:
        """The part in an answer of `GET .../log`."""
        headers = answer.headers
        return cls(
            data=answer.content,
            next_offset=int(headers.get("X-Next-Offset", 0)),
            attempt=int(headers.get("X-Attempt", 0)),
            latest_attempt=int(headers.get("X-Latest-Attempt", 0)),
            complete=headers.get("X-Log-Complete") == "true",
            job_ended=JobState(headers.get("X-Job-State", JobState.QUEUED)) in TERMINAL,
        )


def read_log(
    transport: Transport, path: str, *, follow: bool, tail: int | None, attempt: int | None
) -> Iterator[str]:
    """The log's text in pieces; with `follow` until the job has ended, over all later attempts."""
    chosen = attempt
    offset: int | None = None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        part = _part(transport, path, offset=offset, tail=tail, attempt=chosen)
        if text := decoder.decode(part.data):
            yield text
        chosen, offset, tail = part.attempt or attempt, part.next_offset, None
        if part.data:
            continue
        if not follow or (part.complete and (part.job_ended or attempt is not None)):
            return
        if part.complete and part.latest_attempt > part.attempt:
            chosen, offset = part.attempt + 1, 0
            yield f"--- attempt {chosen} ---\n"
            continue
        time.sleep(PAUSE_S)


def _part(
    transport: Transport, path: str, *, offset: int | None, tail: int | None, attempt: int | None
) -> LogPart:
    wanted = {"offset": offset, "tail": tail, "attempt": attempt}
    given = {key: value for key, value in wanted.items() if value is not None}
    return LogPart.from_answer(transport.call("GET", path, params=given))
