"""Datasets: uploaded in parts, refused with row and field, shown as what they are."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from jobs import datasets
from jobs.models import Dataset, DatasetUpload
from jobs.views.conversation import conversation
from tests.pages.conftest import signed_in
from tests.rows import a_job, a_user

ROWS = "".join(
    json.dumps({"instruction": f"q{n}", "input": "", "output": f"a{n}"}) + "\n" for n in range(30)
).encode()


def begin(client, data=ROWS, name="qa", filename="qa.jsonl"):
    return client.post(
        reverse("upload-begin"), {"name": name, "filename": filename, "size": len(data)}
    )


def put(client, begun, offset, part):
    return client.put(
        f"{begun['parts']}?offset={offset}", part, content_type="application/octet-stream"
    )


def upload(client, data=ROWS, **names):
    begun = begin(client, data, **names).json()
    assert put(client, begun, 0, data).status_code == 200
    return client.post(begun["finish"])


def test_a_file_in_parts_becomes_a_dataset(client):
    begun = begin(client).json()
    half = len(ROWS) // 2
    assert put(client, begun, 0, ROWS[:half]).json()["received"] == half
    assert put(client, begun, half, ROWS[half:]).json()["received"] == len(ROWS)
    answer = client.post(begun["finish"])
    assert answer.status_code == 201
    assert answer.json()["rows"] == 30
    assert Dataset.objects.get().format == "alpaca"


def test_a_part_at_the_wrong_place_says_where_to_go_on(client):
    begun = begin(client).json()
    put(client, begun, 0, ROWS[:10])
    answer = put(client, begun, 0, ROWS[:10])
    assert answer.status_code == 409
    assert answer.json()["received"] == 10
    assert client.get(begun["parts"]).json() == {"received": 10, "size": len(ROWS)}


def test_a_wrong_row_is_refused_with_its_number_and_field(client):
    data = ROWS + b'{"instruction": "no output"}\n'
    answer = upload(client, data)
    assert answer.status_code == 422
    problem = answer.json()["errors"][0]
    assert "row 31" in problem["field"]
    assert "output" in problem["field"] + problem["message"]
    assert not Dataset.objects.exists()
    assert not DatasetUpload.objects.exists()


@pytest.mark.parametrize("filename", ["rows.exe", "rows", "../../x.sh"])
def test_another_kind_of_file_is_refused_before_a_byte_is_sent(client, filename):
    assert begin(client, filename=filename).status_code == 415


@pytest.mark.parametrize("size", ["", "-1", "many", "9" * 30])
def test_a_nonsense_size_is_refused(client, size):
    answer = client.post(reverse("upload-begin"), {"name": "x", "filename": "x.json", "size": size})
    assert answer.status_code == 422


def test_somebody_elses_upload_does_not_exist(client, db):
    begun = begin(client).json()
    other = signed_in(a_user("other"))
    assert other.get(begun["parts"]).status_code == 404
    assert put(other, begun, 0, ROWS).status_code == 404
    assert other.delete(begun["parts"]).status_code == 404


def test_giving_up_leaves_nothing(client):
    begun = begin(client).json()
    assert client.delete(begun["parts"]).status_code == 204
    assert not DatasetUpload.objects.exists()


def test_a_browser_without_scripts_uploads_in_one_form(client, tmp_path):
    path = tmp_path / "qa.jsonl"
    path.write_bytes(ROWS)
    with path.open("rb") as file:
        response = client.post(reverse("dataset-list"), {"file": file, "name": "", "format": ""})
    assert response.url == reverse("dataset", args=[Dataset.objects.get().pk])


def test_a_dataset_shows_its_rows_as_a_conversation_and_who_uses_it(client, member):
    upload(client)
    dataset = Dataset.objects.get()
    job = a_job("trains-on-it", owner=member)
    job.datasets.add(dataset)
    text = client.get(reverse("dataset", args=[dataset.pk])).content.decode()
    assert "q0" in text
    assert "turn-assistant" in text
    assert "trains-on-it" in text


def test_a_dataset_that_is_a_script_stays_text(client):
    rows = json.dumps([{"instruction": "<script>alert(1)</script>", "output": "{{7*7}}"}]).encode()
    upload(client, rows, name="evil", filename="evil.json")
    text = client.get(reverse("dataset", args=[Dataset.objects.get().pk])).content.decode()
    assert "<script>alert" not in text
    assert "{{7*7}}" in text


def test_a_deleted_dataset_leaves_the_list(client):
    upload(client)
    dataset = Dataset.objects.get()
    client.post(reverse("dataset-delete", args=[dataset.pk]))
    assert dataset not in datasets.visible_to(dataset.owner)
    assert client.get(reverse("dataset", args=[dataset.pk])).status_code == 404


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"instruction": "a", "input": "b", "output": "c"}, [("user", "a\nb"), ("assistant", "c")]),
        (
            {"instruction": "x", "output": "y", "system": "s", "history": [["h1", "h2"]]},
            [
                ("system", "s"),
                ("user", "h1"),
                ("assistant", "h2"),
                ("user", "x"),
                ("assistant", "y"),
            ],
        ),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            [("user", "a"), ("assistant", "b")],
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            [("user", "a"), ("assistant", "b")],
        ),
        ({"text": "no conversation"}, []),
    ],
)
def test_a_row_of_each_format_is_a_conversation(row, turns):
    assert [(turn.speaker, turn.text) for turn in conversation(row)] == turns
