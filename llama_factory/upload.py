"""Uploading a dataset in parts: memory stays small, and a broken connection goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from llama_factory.errors import Invalid, Refused
from llama_factory.transport import Transport

FINISH_TIMEOUT_S = 600.0
"""The check reads every row once; a few gigabytes take minutes."""


def upload(
    transport: Transport,
    path: Path,
    *,
    name: str | None = None,
    project: str | None = None,
    told: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Send a file and have it checked; returns the dataset.

    Args:
        transport: The conversation to use.
        path: A .json, .jsonl or .csv file.
        name: What the dataset will be called; default: the file's name without its extension.
        project: Where it belongs; default: as for a submit.
        told: Called with the bytes sent and the size, after each part.
    """
    size = _size(path)
    wanted = {"name": name or path.stem, "filename": path.name, "size": size, "project": project}
    begun = transport.json("POST", "/api/v1/datasets/uploads", json=wanted)
    address = f"/api/v1/datasets/uploads/{begun['id']}"
    with path.open("rb") as stream:
        sent = begun["received"]
        while sent < size:
            stream.seek(sent)
            sent = _send(transport, address, sent, stream.read(begun["part_bytes"]))
            if told:
                told(sent, size)
    answer: dict[str, Any] = transport.json(
        "POST", f"{address}/finish", read_timeout=FINISH_TIMEOUT_S
    )
    return answer


def _send(transport: Transport, address: str, offset: int, part: bytes) -> int:
    """Send one part; returns how many bytes the service has.

    A part that arrived although its answer was lost is refused when it is sent again; the refusal
    says where to go on.
    """
    headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
    try:
        answer = transport.json("PATCH", address, data=part, headers=headers, repeatable=True)
    except Refused as error:
        if error.code != "upload_offset" or error.extra["received"] <= offset:
            raise
        return int(error.extra["received"])
    return int(answer["received"])


def _size(path: Path) -> int:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Invalid(
            f"The dataset file {path} cannot be read: {error.strerror}.",
            code="file_unreadable",
            hint="Give the path of a .json, .jsonl or .csv file that exists.",
        ) from error
    if size:
        return size
    raise Invalid(
        f"The dataset file {path} is empty.",
        code="dataset_empty",
        hint="Give a .json, .jsonl or .csv file with at least one row.",
    )
