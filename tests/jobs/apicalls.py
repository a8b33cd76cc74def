"""Calling the API as somebody: by token, by session, or as nobody."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client
from ninja import Schema

from jobs.models import Project, User
from jobs.tokens import create_token

ALL_BUT_ADMIN = ("read", "submit", "control")
TASK = """\
task_id: {task_id}
resources:
  min_memory: 1G
command: echo {says}
"""


def a_task(task_id: str = "t-1", says: str = "hello", **lines: str) -> str:
    extra = "".join(f"{name}: {value}\n" for name, value in lines.items())
    return TASK.format(task_id=task_id, says=says) + extra


class Caller:
    """One way of asking: what it sends with each request."""

    def __init__(self, headers: dict[str, str] | None = None, client: Client | None = None) -> None:
        self.client = client or Client(enforce_csrf_checks=True)
        self.headers = headers or {}

    def get(self, path: str, **headers: str):
        return self.client.get(path, headers=self.headers | _named(headers))

    def send(self, method: str, path: str, body: Any = None, *, kind: str = "", **headers: str):
        """A request with a body: a text goes as it is, anything else as JSON."""
        text = body if isinstance(body, str | bytes) else json.dumps({} if body is None else body)
        kind = kind or ("application/yaml" if isinstance(body, str) else "application/json")
        return self.client.generic(
            method.upper(), path, text, kind, headers=self.headers | _named(headers)
        )

    def post(self, path: str, body: Any = None, **more: str):
        return self.send("POST", path, body, **more)

    def patch(self, path: str, body: Any = None, **more: str):
        return self.send("PATCH", path, body, **more)

    def delete(self, path: str):
        return self.send("DELETE", path)


def by_token(
    user: User, *scopes: str, project: Project | None = None, text: str | None = None
) -> Caller:
    """With a new token; by default with every scope that the account can have."""
    wanted = scopes or (*ALL_BUT_ADMIN, "admin") if user.is_superuser else scopes or ALL_BUT_ADMIN
    secret = text or create_token(user, name="test", scopes=wanted, project=project)
    return Caller({"Authorization": f"Bearer {secret}"})


def by_session(user: User) -> Caller:
    """As the site's own pages do: the session's cookie and the CSRF token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.cookies["csrftoken"] = "a" * 32
    return Caller({"X-CSRFToken": "a" * 32}, client)


def nobody() -> Caller:
    return Caller()


def fits(schema: type[Schema], response: Any) -> Any:
    """The answer's JSON, which must have just the fields that the schema documents."""
    data = response.json()
    documented = schema.model_validate(data).model_dump(mode="json", by_alias=True)
    assert _names(documented) == _names(data), f"not as {schema.__name__} says"
    return data


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The refusal in an answer, which must have this status and code and all the members of one."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert all(body[member] for member in ("title", "detail", "hint"))
    assert isinstance(body["errors"], list)
    return body


def _names(value: Any, place: str = "") -> set[str]:
    """Dotted names of all fields; of a list's items together."""
    if isinstance(value, dict):
        inner = [_names(each, f"{place}.{name}") for name, each in value.items()]
        return {f"{place}.{name}" for name in value}.union(*inner)
    if isinstance(value, list):
        return set().union(*(_names(each, place) for each in value))
    return set()


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
