"""`/datasets`: uploading at once and in parts, listing, deleting."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from jobs.api.siteschemas import DatasetOut, DatasetsOut, UploadOut
from jobs.models import Dataset, Project
from jobs.projects import join
from tests.jobs.apicalls import by_token, fits, problem
from tests.rows import a_user

pytestmark = pytest.mark.django_db

PATH = "/api/v1/datasets"
ROWS = b'{"instruction": "add", "input": "1 1", "output": "2"}\n' * 3
BROKEN = b'{"instruction": "add", "output": "2"}\n{"instruction": 7, "output": "2"}\n'


@pytest.fixture
def member():
    return by_token(a_user("member"))


def at_once(caller, content=ROWS, name="my_data", filename="my_data.jsonl", **fields):
    return caller.client.post(
        PATH,
        {"name": name, "file": SimpleUploadedFile(filename, content), **fields},
        headers=caller.headers,
    )


def begin(caller, content=ROWS, **changes):
    wanted = {"name": "my_data", "filename": "my_data.jsonl", "size": len(content)} | changes
    return caller.post(f"{PATH}/uploads", wanted)


def part(caller, upload_id, content, offset):
    return caller.patch(
        f"{PATH}/uploads/{upload_id}",
        content,
        kind="application/octet-stream",
        Upload_Offset=str(offset),
    )


def test_a_dataset_uploaded_at_once_is_checked_and_listed(member):
    response = at_once(member)
    body = fits(DatasetOut, response)
    assert response.status_code == 201
    assert (body["name"], body["version"], body["format"], body["rows"]) == (
        "my_data",
        1,
        "alpaca",
        3,
    )
    assert body["size_bytes"] == len(ROWS)
    listed = fits(DatasetsOut, member.get(f"{PATH}?project=default&name=my_data"))
    assert listed["items"] == [body]
    assert fits(DatasetOut, member.get(f"{PATH}/{body['id']}")) == body


def test_other_content_under_the_name_is_its_next_version(member):
    at_once(member)
    assert at_once(member, ROWS * 2).json()["version"] == 2
    assert at_once(member, ROWS * 2).json()["version"] == 2


def test_a_broken_dataset_is_refused_with_row_and_field(member):
    body = problem(at_once(member, BROKEN), 422, "dataset_invalid")
    assert "row 2" in body["errors"][0]["field"]
    assert "instruction" in body["errors"][0]["field"]
    assert Dataset.objects.count() == 0


def test_an_upload_in_parts_goes_on_where_it_stopped(member):
    upload = fits(UploadOut, begin(member))
    assert upload["received"] == 0
    half = len(ROWS) // 2
    assert part(member, upload["id"], ROWS[:half], 0).json()["received"] == half
    again = problem(part(member, upload["id"], ROWS[:half], 0), 409, "upload_offset")
    assert again["received"] == half
    assert fits(UploadOut, member.get(f"{PATH}/uploads/{upload['id']}"))["received"] == half
    problem(member.post(f"{PATH}/uploads/{upload['id']}/finish"), 409, "upload_incomplete")
    assert part(member, upload["id"], ROWS[half:], half).json()["received"] == len(ROWS)
    done = member.post(f"{PATH}/uploads/{upload['id']}/finish")
    assert (done.status_code, fits(DatasetOut, done)["rows"]) == (201, 3)
    problem(member.get(f"{PATH}/uploads/{upload['id']}"), 404, "upload_missing")


@pytest.mark.parametrize("offset", ["", "-1", "x", "1.5", "１"])
def test_a_part_needs_its_offset(member, offset):
    upload = begin(member).json()
    wanted = offset.encode().decode("latin-1")
    problem(part(member, upload["id"], b"x", wanted), 422, "request_invalid")


def test_an_upload_that_is_given_up_is_gone(member):
    upload = begin(member).json()
    assert member.delete(f"{PATH}/uploads/{upload['id']}").status_code == 204
    problem(member.get(f"{PATH}/uploads/{upload['id']}"), 404, "upload_missing")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"name": "../etc"}, 422, "dataset_name_invalid"),
        ({"filename": "data.exe"}, 415, "dataset_type_unknown"),
        ({"size": 0}, 422, "request_invalid"),
        ({"project": "nowhere"}, 403, "project_not_open_to_you"),
    ],
)
def test_an_upload_is_refused_before_a_byte_is_sent(member, changes, status, code):
    problem(begin(member, **changes), status, code)


def test_a_dataset_is_deleted_by_its_owner(member):
    made = at_once(member).json()
    other = by_token(a_user("other"))
    problem(other.delete(f"{PATH}/{made['id']}"), 403, "dataset_not_yours")
    assert member.delete(f"{PATH}/{made['id']}").status_code == 204
    assert member.get(PATH).json()["items"] == []


def test_the_list_goes_page_by_page(member):
    for name in ("a", "b", "c"):
        at_once(member, name=name)
    first = fits(DatasetsOut, member.get(f"{PATH}?limit=2"))
    assert [each["name"] for each in first["items"]] == ["a", "b"]
    second = member.get(f"{PATH}?limit=2&cursor={first['next_cursor']}").json()
    assert ([each["name"] for each in second["items"]], second["next_cursor"]) == (["c"], None)


def test_a_bound_token_uploads_to_its_project_and_sees_no_other(member):
    user, other = a_user("member"), Project.objects.create(slug="other", name="Other")
    join(user, other)
    hidden = at_once(member, project="default").json()
    bound = by_token(user, project=other)
    assert at_once(bound).json()["project"] == "other"
    problem(bound.get(f"{PATH}/{hidden['id']}"), 404, "not_found")
    problem(begin(bound, project="default"), 403, "project_not_open_to_you")
    elsewhere = begin(member, project="default").json()
    problem(bound.get(f"{PATH}/uploads/{elsewhere['id']}"), 403, "project_not_open_to_you")
