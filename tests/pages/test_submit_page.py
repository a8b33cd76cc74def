"""Handing in a job in the browser: three ways, one function behind them, and nothing typed is lost."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from jobs.models import Dataset, Job
from tests.pages.conftest import signed_in
from tests.rows import GIB, a_device, a_job, a_user

TASK = "task_id: t-1\npriority: high\nresources:\n  min_memory: 16G\n  gpu_type: A100\ncommand: python train.py\n"
CONFIG = (
    "model_name_or_path: tiny\nstage: sft\ndo_train: true\nfinetuning_type: lora\ntemplate: default\n"
    "num_train_epochs: 1.0\n"
)
PANEL = {"task_id": "lf-1", "min_memory": "16G", "priority": "low", "gpus": "1"}


@pytest.fixture(autouse=True)
def cards(db):
    a_device()


def hand_in(client, **fields):
    return client.post(reverse("submit"), {"tab": "text", **fields})


def test_a_task_text_becomes_a_job_and_leads_to_its_page(client, member):
    response = hand_in(client, task=TASK)
    job = Job.objects.get()
    assert response.url == reverse("job", args=[job.pk])
    assert (job.task_id, job.owner, job.door, job.min_memory) == ("t-1", member, "form", 16 * GIB)


def test_an_uploaded_task_file_becomes_a_job(client):
    file = SimpleUploadedFile("task.yaml", TASK.replace("\n", "\r\n").encode())
    assert hand_in(client, tab="upload", task="", task_file=file).status_code == 302
    assert Job.objects.get().task_id == "t-1"


def test_a_llama_factory_config_with_its_panel_becomes_a_job(client):
    dataset = {"dataset": a_dataset().name}
    response = hand_in(client, tab="config", config=CONFIG, **PANEL, **dataset)
    assert response.status_code == 302, response.content.decode()
    job = Job.objects.get()
    assert job.spec["llamafactory"]["num_train_epochs"] == 1.0
    assert job.spec["priority"] == "low"
    assert job.datasets.get().name == "rows"


def test_an_error_stands_beside_its_line_and_the_text_is_kept(client):
    wrong = TASK.replace("16G", "16X").replace("priority: high", "priority: urgent")
    response = hand_in(client, task=wrong)
    text = response.content.decode()
    assert response.status_code == 422
    assert "min_memory: 16X" in text
    assert 'data-problem-lines="2,4"' in text
    assert 'data-line="4"' in text
    assert "resources.min_memory" in text
    assert not Job.objects.exists()


def test_an_error_of_the_panel_stands_beside_its_input(client):
    response = hand_in(
        client, tab="config", config=CONFIG, **PANEL | {"min_memory": "lots", "task_id": "bad id"}
    )
    text = response.content.decode()
    assert response.status_code == 422
    assert 'value="lots"' in text
    assert text.count("is-invalid") == 2
    assert "model_name_or_path: tiny" in text


def test_what_no_card_can_hold_is_refused_and_can_be_queued_anyway(client):
    large = TASK.replace("16G", "600G")
    response = hand_in(client, task=large)
    assert response.status_code == 422
    assert "A100" in response.content.decode()
    assert 'name="keep_impossible"' in response.content.decode()
    assert hand_in(client, task=large, keep_impossible="yes").status_code == 302
    assert Job.objects.get().min_memory == 600 * GIB


def test_the_same_task_again_leads_to_the_same_job(client):
    hand_in(client, task=TASK)
    response = client.post(reverse("submit"), {"tab": "text", "task": TASK}, follow=True)
    assert "active already" in response.content.decode()
    assert Job.objects.count() == 1


def test_a_task_id_in_use_links_to_the_job_that_has_it(client):
    hand_in(client, task=TASK)
    response = hand_in(client, task=TASK.replace("train.py", "other.py"))
    assert response.status_code == 409
    assert reverse("job", args=[Job.objects.get().pk]) in response.content.decode()


def test_the_check_says_what_it_would_be_and_which_card_takes_it(client):
    text = client.post(reverse("submit-check"), {"tab": "text", "task": TASK}).content.decode()
    assert "Valid" in text
    assert "16 GiB" in text
    assert "fits now" in text
    assert not Job.objects.exists()


def test_the_check_of_a_broken_task_names_the_line(client):
    text = client.post(
        reverse("submit-check"), {"tab": "text", "task": "task_id: [\n"}
    ).content.decode()
    assert "data-problem-line=" in text


def test_the_check_of_nothing_asks_for_nothing(client):
    text = client.post(reverse("submit-check"), {"tab": "text", "task": " "}).content.decode()
    assert "As soon as there is a task" in text


def test_a_dataset_comes_in_the_same_go(client):
    rows = json.dumps([{"instruction": "a", "output": "b"}]).encode()
    response = hand_in(client, task=TASK, dataset_file=SimpleUploadedFile("my rows.json", rows))
    assert response.status_code == 422  # a name with a space is refused, in words
    assert "my rows" in response.content.decode()
    response = hand_in(client, task=TASK, dataset_file=SimpleUploadedFile("rows.json", rows))
    assert response.status_code == 302
    assert Job.objects.get().datasets.get().name == "rows"


def test_a_broken_dataset_stops_the_job_and_names_row_and_field(client):
    rows = json.dumps([{"instruction": "a", "output": "b"}, {"instruction": "a"}]).encode()
    response = hand_in(client, task=TASK, dataset_file=SimpleUploadedFile("rows.json", rows))
    text = response.content.decode()
    assert response.status_code == 422
    assert "row 2" in text
    assert "output" in text
    assert "task_id: t-1" in text
    assert not Job.objects.exists()


def test_two_different_datasets_are_a_question_to_the_person(client):
    a_dataset()
    response = hand_in(client, task=TASK + "dataset: other\n", dataset="rows")
    assert response.status_code == 422
    assert "the task names the dataset other" in response.content.decode()


def test_a_clone_opens_the_form_filled_in_and_remembers_its_parent(client, member):
    parent = a_job("parent", owner=member)
    text = client.get(reverse("submit"), {"from": parent.pk}).content.decode()
    assert "Run parent#1 again" in text
    assert "task_id: parent" in text
    hand_in(client, task=TASK, parent=parent.pk)
    assert Job.objects.get(task_id="t-1").cloned_from == parent


def test_whoever_may_not_submit_anywhere_is_told_whom_to_ask(db):
    browser = signed_in(a_user("viewer", role="viewer"))
    assert "cannot submit to any project" in browser.get(reverse("submit")).content.decode()
    assert hand_in(browser, task=TASK).status_code == 403


def test_what_was_typed_is_never_markup(client):
    response = hand_in(
        client, task="</textarea><script>alert(1)</script>: {{7*7}}\n", task_id='"><img>'
    )
    text = response.content.decode()
    assert "<script>alert" not in text
    assert '"><img>' not in text
    assert "{{7*7}}" in text


def a_dataset():
    from jobs.projects import default_project

    return Dataset.objects.create(
        project=default_project(),
        name="rows",
        owner=a_user(),
        sha256="0" * 64,
        extension="json",
        format="alpaca",
        columns=["instruction", "output"],
        rows=20,
        size=100,
    )


QWEN = CONFIG.replace("tiny", "Qwen/Qwen2.5-7B-Instruct") + "dataset: alpaca\n"


def checked(client, **panel: str) -> str:
    fields = {"tab": "config", "config": QWEN, "task_id": "lf-1", **panel}
    return client.post(reverse("submit-check"), fields).content.decode()


def test_the_check_tells_the_memory_where_the_panel_leaves_it_open(client):
    text = checked(client)
    assert "min_memory " in text
    assert "LoRA of Qwen2.5-7B-Instruct; formula" in text
    assert "logits" in text
    assert "Fits on gpu0 now." in text


def test_the_check_tells_it_beside_a_size_that_is_too_small(client):
    text = checked(client, min_memory="4G")
    assert "on each card" in text
    assert "may run out of memory" in text


def test_the_check_says_what_is_missing_to_tell_it(client):
    text = client.post(
        reverse("submit-check"), {"tab": "config", "config": CONFIG, "task_id": "lf-1"}
    ).content.decode()
    assert "cannot be estimated" in text
    assert "config.json" in text


def test_a_job_whose_memory_was_filled_in_says_so_on_its_page(client):
    fields = {"tab": "config", "config": QWEN, "task_id": "lf-1"}
    text = client.post(reverse("submit"), fields, follow=True).content.decode()
    assert "estimated, LoRA of Qwen2.5-7B-Instruct" in text
    assert Job.objects.get().min_memory > 14 * GIB
