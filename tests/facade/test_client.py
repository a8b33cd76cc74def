"""The client against a server that misbehaves on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llama_factory import transport
from llama_factory.client import Coop
from llama_factory.errors import (
    CoopError,
    Invalid,
    JobEndedBadly,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refused,
    ServiceFailed,
    Unreachable,
)
from tests.facade.fakeservice import FakeService, Reply, fake_service

TASK = {"task_id": "a", "resources": {"min_memory": "1G"}, "command": "x"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "RETRY_PAUSES_S", (0.0, 0.0))


@contextmanager
def talking(*replies: Reply) -> Iterator[tuple[FakeService, Coop]]:
    """A client and the server that answers it so."""
    with fake_service(*replies) as service, Coop(service.url) as coop:
        yield service, coop


def a_job(state: str = "QUEUED", **fields: Any) -> dict[str, Any]:
    return {
        "id": "abcdefghjkmn",
        "task_id": "a",
        "run": 1,
        "project": "default",
        "state": state,
        "url": "http://x/jobs/abcdefghjkmn/",
    } | fields


def a_problem(status: int, code: str = "some_code", **fields: Any) -> Reply:
    body = {"title": "T", "detail": "It is so.", "hint": "Do this.", "code": code, "status": status}
    return Reply(status, {**body, "errors": []} | fields, kind="application/problem+json")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "not_signed_in", NotSignedIn),
        (403, "forbidden", NotAllowed),
        (404, "not_found", NotFound),
        (409, "task_id_in_use", Refused),
        (422, "never_fits", Refused),
        (422, "task_invalid", Invalid),
        (422, "dataset_invalid", Invalid),
        (413, "too_large", Invalid),
        (429, "too_many_wrong_tokens", Refused),
        (500, "failed", ServiceFailed),
    ],
)
def test_each_refusal_is_an_exception_of_its_own(status: int, code: str, kind: type) -> None:
    with (
        talking(a_problem(status, code, job="x")) as (_service, coop),
        pytest.raises(kind) as caught,
    ):
        coop.whoami()
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.status, error.extra) == (code, status, {"job": "x"})
    assert str(error) == "It is so.\nDo this."


def test_a_refused_right_is_a_permission_error_and_a_missing_job_a_lookup_error() -> None:
    assert issubclass(NotAllowed, PermissionError)
    assert issubclass(NotFound, LookupError)


def test_the_faults_of_a_task_are_told_one_by_one() -> None:
    errors = [{"line": 3, "field": "priority", "message": "'x' is not known", "hint": "write high"}]
    with (
        talking(a_problem(422, "task_invalid", errors=errors)) as (_service, coop),
        pytest.raises(Invalid) as caught,
    ):
        coop.submit(TASK)
    assert caught.value.problems == ("line 3, priority: 'x' is not known; write high.",)
    assert str(caught.value).splitlines()[0] == "T:"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>a proxy's page</html>", kind="text/html"),
        Reply(502, b"<html>bad gateway</html>", kind="text/html"),
        Reply(404, b"{broken", kind="application/json"),
        Reply(302, b"", {"Location": "https://sign-in.example.org"}),
        Reply(500, [1, 2]),
    ],
)
def test_an_answer_that_is_not_ours_says_so(reply: Reply) -> None:
    with talking(reply) as (_service, coop), pytest.raises(ServiceFailed) as caught:
        coop.whoami()
    assert "not an answer of llama-coop" in str(caught.value)


def test_where_nobody_listens_the_service_is_unreachable() -> None:
    with Coop("http://127.0.0.1:1") as coop, pytest.raises(Unreachable) as caught:
        coop.whoami()
    assert "(Connection refused)" in str(caught.value)
    assert "llama-coop serve" in caught.value.hint


def test_a_name_that_does_not_exist_is_unreachable_in_plain_words() -> None:
    with Coop("http://no-such-host.invalid:8900") as coop, pytest.raises(Unreachable) as caught:
        coop.whoami()
    assert "no-such-host.invalid" in str(caught.value)
    assert "urllib3" not in str(caught.value)


def test_a_question_is_asked_again_after_a_broken_connection_or_a_503() -> None:
    replies = (Reply(hang_up=True), Reply(503, {}), Reply(200, {"username": "ana"}))
    with talking(*replies) as (service, coop):
        assert coop.whoami()["username"] == "ana"
    assert len(service.asked) == 3


def test_a_submit_is_sent_again_under_the_same_key() -> None:
    with talking(Reply(hang_up=True), Reply(201, a_job())) as (service, coop):
        job = coop.submit(TASK)
    assert (job.name, job.created) == ("a", True)
    first, second = service.asked
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


def test_two_submits_have_two_keys() -> None:
    with talking(Reply(201, a_job())) as (service, coop):
        coop.submit(TASK)
        coop.submit(TASK)
    assert len({asked.headers["Idempotency-Key"] for asked in service.asked}) == 2


def test_an_action_is_not_sent_twice() -> None:
    found = Reply(200, {"items": [a_job()], "next_cursor": None})
    with talking(found, Reply(hang_up=True)) as (service, coop), pytest.raises(Unreachable):
        coop.cancel("a")
    assert [asked.method for asked in service.asked] == ["GET", "POST"]


def test_the_token_goes_in_the_header_and_a_netrc_does_not_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password wrong\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with fake_service(Reply(200, {})) as service, Coop(service.url, "lcp_x") as coop:
        coop.whoami()
    assert service.asked[0].headers["Authorization"] == "Bearer lcp_x"


def test_without_a_token_no_header_is_sent() -> None:
    with talking(Reply(200, {})) as (service, coop):
        coop.whoami()
    assert "Authorization" not in service.asked[0].headers


def test_a_list_is_read_page_by_page_up_to_its_limit() -> None:
    first = Reply(200, {"items": [a_job(run=1), a_job(run=2)], "next_cursor": "c"})
    second = Reply(200, {"items": [a_job(run=3), a_job(run=4)], "next_cursor": None})
    with talking(first, second) as (service, coop):
        assert [job.run for job in coop.list()] == [1, 2, 3, 4]
    assert "cursor=c" in service.asked[1].path
    with talking(first) as (service, coop):
        assert [job.run for job in coop.list(limit=1)] == [1]
    assert len(service.asked) == 1


def test_a_list_asks_for_the_current_project_and_active_jobs() -> None:
    with fake_service(Reply(200, {"items": [], "next_cursor": None})) as service:
        Coop(service.url, project="vision").list(mine=True)
        Coop(service.url).list(all=True)
        Coop(service.url).list(state=["queued", "held"])
    queries = [asked.path.partition("?")[2] for asked in service.asked]
    assert set(queries[0].split("&")) == {
        "project=vision",
        "mine=true",
        "state=active",
        "limit=100",
    }
    assert queries[1] == "limit=100"
    assert "state=queued&state=held" in queries[2]


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("a", "task_id=a&limit=2"),
        ("a#3", "task_id=a&run=3&limit=2"),
        ("a#x", "task_id=a%23x&limit=2"),
    ],
)
def test_a_job_is_found_by_its_name_and_run(name: str, query: str) -> None:
    found = Reply(200, {"items": [a_job()], "next_cursor": None})
    with talking(found, Reply(200, a_job())) as (service, coop):
        coop.show(name)
    assert service.asked[0].path == f"/api/v1/jobs?{query}"
    assert service.asked[1].path == "/api/v1/jobs/abcdefghjkmn"


def test_a_name_that_several_projects_have_is_refused_with_their_names() -> None:
    items = [a_job(project="vision"), a_job(project="speech")]
    with (
        talking(Reply(200, {"items": items})) as (_service, coop),
        pytest.raises(NotFound, match="speech, vision"),
    ):
        coop.show("a")


def test_a_name_that_nobody_has_is_tried_as_a_public_id() -> None:
    nothing = Reply(200, {"items": [], "next_cursor": None})
    replies = (nothing, Reply(200, a_job()), Reply(200, a_job()))
    with talking(*replies) as (_service, coop):
        assert coop.show("abcdefghjkmn").id == "abcdefghjkmn"
    with (
        talking(nothing, a_problem(404, "not_found")) as (_service, coop),
        pytest.raises(NotFound, match="no job 'nothing'"),
    ):
        coop.show("nothing")


def test_waiting_asks_for_a_change_until_the_job_has_ended() -> None:
    replies = (
        Reply(200, {"items": [a_job()]}),
        Reply(200, a_job("QUEUED")),
        Reply(200, a_job("RUNNING")),
        Reply(200, a_job("SUCCEEDED")),
    )
    with talking(*replies) as (service, coop):
        assert coop.wait("a").state == "SUCCEEDED"
    assert service.asked[2].path.endswith("?wait=30&state=QUEUED")
    assert service.asked[3].path.endswith("?wait=30&state=RUNNING")


def test_waiting_has_an_end_where_one_is_wanted() -> None:
    replies = (Reply(200, {"items": [a_job()]}), Reply(200, a_job("RUNNING")))
    with (
        talking(*replies) as (_service, coop),
        pytest.raises(TimeoutError, match="a is still RUNNING"),
    ):
        coop.wait("a", timeout=0)


def test_a_failed_job_is_an_error_only_for_who_asks_so() -> None:
    failed = a_job("FAILED", detail="Out of GPU memory.")
    replies = (Reply(200, {"items": [failed]}), Reply(200, failed))
    with talking(*replies) as (_service, coop):
        assert coop.wait("a").state == "FAILED"
    with (
        talking(*replies) as (_service, coop),
        pytest.raises(JobEndedBadly, match="Out of GPU memory"),
    ):
        coop.wait("a", check=True)


# --- logs -----------------------------------------------------------------------------------------


def a_part(data: bytes, offset: int, *, attempt: int = 1, latest: int = 1, **flags: str) -> Reply:
    headers = {
        "X-Next-Offset": str(offset),
        "X-Attempt": str(attempt),
        "X-Latest-Attempt": str(latest),
        "X-Log-Complete": flags.get("complete", "false"),
        "X-Job-State": flags.get("state", "RUNNING"),
    }
    return Reply(200, data, headers, kind="text/plain")


FOUND = Reply(200, {"items": [a_job("RUNNING")]})
END = {"complete": "true", "state": "SUCCEEDED"}


def test_a_log_is_read_to_its_present_end() -> None:
    parts = (a_part(b"one\n", 4), a_part(b"two\n", 8), a_part(b"", 8))
    with talking(FOUND, *parts) as (service, coop):
        assert "".join(coop.logs("a", tail=5)) == "one\ntwo\n"
    assert service.asked[1].path.endswith("/log?tail=5")
    assert service.asked[2].path.endswith("/log?offset=4&attempt=1")


def test_a_letter_that_is_cut_in_two_comes_out_whole() -> None:
    text = "损失 1.28\n".encode()
    parts = (a_part(text[:1], 1), a_part(text[1:], len(text)), a_part(b"", len(text)))
    with talking(FOUND, *parts) as (_service, coop):
        assert "".join(coop.logs("a")) == "损失 1.28\n"


def test_following_goes_on_until_the_job_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_factory.joblog.PAUSE_S", 0)
    parts = (a_part(b"", 0), a_part(b"one\n", 4), a_part(b"", 4), a_part(b"", 4, **END))
    with talking(FOUND, *parts) as (_service, coop):
        assert "".join(coop.logs("a", follow=True)) == "one\n"


def test_following_goes_over_to_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_factory.joblog.PAUSE_S", 0)
    parts = (
        a_part(b"one\n", 4, complete="true"),
        a_part(b"", 4, complete="true", state="QUEUED"),
        a_part(b"", 4, latest=2, complete="true"),
        a_part(b"two\n", 4, attempt=2, latest=2, **END),
        a_part(b"", 4, attempt=2, latest=2, **END),
    )
    with talking(FOUND, *parts) as (service, coop):
        assert "".join(coop.logs("a", follow=True)) == "one\n--- attempt 2 ---\ntwo\n"
    assert service.asked[4].path.endswith("/log?offset=0&attempt=2")


# --- uploads --------------------------------------------------------------------------------------


def begun(received: int = 0) -> Reply:
    return Reply(201, {"id": "u1", "received": received, "part_bytes": 4})


def test_a_dataset_goes_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"123456")
    replies = (
        begun(),
        Reply(200, {"received": 4}),
        Reply(200, {"received": 6}),
        Reply(201, {"name": "rows"}),
    )
    told: list[tuple[int, int]] = []
    with fake_service(*replies) as service, Coop(service.url, project="vision") as coop:
        coop.upload_dataset(path, told=lambda sent, size: told.append((sent, size)))
    assert [asked.body for asked in service.asked[1:3]] == [b"1234", b"56"]
    assert [asked.headers["Upload-Offset"] for asked in service.asked[1:3]] == ["0", "4"]
    assert told == [(4, 6), (6, 6)]
    assert b'"project": "vision"' in service.asked[0].body


def test_a_part_whose_answer_was_lost_is_not_sent_into_the_file_twice(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"123456")
    replies = (
        begun(),
        Reply(hang_up=True),
        a_problem(409, "upload_offset", received=4),
        Reply(200, {"received": 6}),
        Reply(201, {"name": "rows"}),
    )
    with talking(*replies) as (service, coop):
        coop.upload_dataset(path)
    assert [asked.body for asked in service.asked if asked.method == "PATCH"] == [
        b"1234",
        b"1234",
        b"56",
    ]


def test_a_file_that_is_empty_or_not_there_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name, words in (("empty.jsonl", "is empty"), ("none.jsonl", "cannot be read")):
        with Coop("http://127.0.0.1:1") as coop, pytest.raises(Invalid, match=words):
            coop.upload_dataset(tmp_path / name)


def test_every_error_of_the_face_is_a_coop_error() -> None:
    kinds = (Invalid, JobEndedBadly, NotAllowed, NotFound, NotSignedIn, Refused, ServiceFailed)
    assert all(issubclass(kind, CoopError) for kind in (*kinds, Unreachable))
