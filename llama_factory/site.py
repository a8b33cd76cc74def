"""What one may ask about the service itself: account, settings, cards, datasets, health."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from llama_factory.errors import ServiceFailed, Unreachable
from llama_factory.transport import Transport

API = "/api/v1"
PAGE = 100
LOOK_AGAIN_S = 0.5  # between two looks at what is worked out in the background


class Site:
    """A connection to one service, as one account, with one current project."""

    def __init__(self, url: str, token: str | None = None, project: str | None = None) -> None:
        self.url = url
        self.project = project
        self._transport = Transport(url, token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Coop({self.url!r}, project={self.project!r})"

    def close(self) -> None:
        """Give the connections back; the client is of no use afterwards."""
        self._transport.close()

    def whoami(self) -> dict[str, Any]:
        """The account, its projects with its role in each, and what the token may do."""
        return self._object("/whoami")

    def settings(self) -> dict[str, Any]:
        """The site's settings in force."""
        return self._object("/settings")

    def change_settings(self, **changes: Any) -> dict[str, Any]:
        """Change site settings; needs an admin. Returns those in force afterwards."""
        answer: dict[str, Any] = self._transport.json(
            "PATCH", f"{API}/settings", repeatable=True, json=changes
        )
        return answer

    def gpus(self) -> dict[str, Any]:
        """The cards with their latest readings and what is booked on them."""
        return self._object("/gpus")

    def queue(self) -> dict[str, Any]:
        """The waiting jobs in order; what you may not see stays anonymous."""
        return self._object("/queue")

    def datasets(self, project: str | None = None) -> list[dict[str, Any]]:
        """The datasets that you may use."""
        return list(self._pages("/datasets", {"project": project or self.project}, None))

    def upload_dataset(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        project: str | None = None,
        told: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Upload a .json, .jsonl or .csv file in parts and have it checked; returns the dataset.

        `told` is called with the bytes sent and the size after each part.
        """
        from llama_factory.upload import upload  # noqa: PLC0415 - only who uploads needs it

        wanted = project or self.project
        return upload(self._transport, Path(path), name=name, project=wanted, told=told)

    def report(self, **wanted: Any) -> dict[str, Any]:
        """What cards were used for in the projects that you lead; all of them for an admin.

        `wanted` are the parameters of `GET /api/v1/reports/usage`; the first day is `since`.
        """
        answer: dict[str, Any] = self._transport.json(
            "GET", f"{API}/reports/usage", params=_report_query(wanted)
        )
        return answer

    def report_csv(self, **wanted: Any) -> str:
        """The same figures as CSV."""
        params = {**_report_query(wanted), "format": "csv"}
        answer = self._transport.call("GET", f"{API}/reports/usage", params=params)
        return answer.content.decode("utf-8-sig")

    def replay(self, question: Mapping[str, Any], *, timeout: float = 180.0) -> dict[str, Any]:
        """Ask what would have been under other settings, and wait for the answer; for leads and admins.

        Args:
            question: The body of `POST /api/v1/replays`, such as `{"days": 30, "add": ["1xA100-80G"]}`.
            timeout: Seconds after which it is returned as far as it is.

        Returns:
            The replay; its state is done or failed, or another one where the time was over.
        """
        told: dict[str, Any] = self._transport.json("POST", f"{API}/replays", json=dict(question))
        deadline = time.monotonic() + timeout
        while told["state"] in {"waiting", "running"} and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_S)
            told = self._object(f"/replays/{told['id']}")
        return told

    def is_ready(self) -> bool:
        """Whether the service answers and all of its parts are well."""
        try:
            return self._transport.call("GET", "/readyz", repeatable=False).ok
        except (ServiceFailed, Unreachable):
            return False

    def health(self) -> dict[str, Any]:
        """Each part of the service and whether it is well."""
        return self._object("/health")

    def _object(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._transport.json("GET", API + path)
        return answer

    def _pages(
        self, path: str, wanted: Mapping[str, Any], limit: int | None
    ) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page, up to `limit`."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = {**wanted, "cursor": cursor, "limit": min(left or 100, 100)}
            answer = self._transport.json("GET", API + path, params=given(page))
            items = answer["items"][:left]
            yield from items
            left = None if left is None else left - len(items)
            cursor = answer.get("next_cursor")
            if not cursor:
                return


def _report_query(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`from` is no name in Python."""
    return given({"from" if name == "since" else name: each for name, each in wanted.items()})


def given(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Only what has a value; booleans as the API writes them."""
    return {
        key: "true" if value is True else value
        for key, value in wanted.items()
        if value is not None and value is not False
    }
