from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.core.taskfile import parse_task
from llama_factory.errors import Invalid
from llama_factory.taskbody import parse_changes, task_body

TASK = "task_id: a  # a comment\nresources:\n  min_memory: 1G\ncommand: |\n  echo hi\n"
TRAINING = (
    "task_id: sft\nresources: {min_memory: 1G}\n"
    "llamafactory:\n  stage: sft\n  learning_rate: 1.0e-4\n  run_name: '007'\n  do_train: true\n"
)


def sent(body: dict[str, tuple[str, bytes, str]]) -> dict[str, object]:
    return json.loads(body["task"][1])  # type: ignore[no-any-return]


def test_an_unchanged_file_goes_as_its_own_bytes(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(TASK, encoding="utf-8")
    for task in (path, str(path), TASK):
        assert task_body(task)["task"][1] == TASK.encode()


def test_a_mapping_goes_as_json() -> None:
    assert sent(task_body({"task_id": "a", "resources": {"gpus": 2}})) == {
        "task_id": "a",
        "resources": {"gpus": 2},
    }


def test_changes_reach_into_the_file_and_leave_the_rest() -> None:
    changes = {"resources.min_memory": "24G", "priority": "high", "env.SEED": "7"}
    spec = parse_task(json.dumps(sent(task_body(TASK, changes=changes))))
    assert (spec.resources.min_memory, spec.priority.name, spec.env) == (
        24 * 1024**3,
        "HIGH",
        {"SEED": "7"},
    )
    assert spec.command == "echo hi"


def test_values_of_a_training_config_keep_their_yaml_type() -> None:
    changes = {"llamafactory.num_train_epochs": "3", "llamafactory.template": "qwen"}
    assert sent(task_body(TRAINING, changes=changes))["llamafactory"] == {
        "stage": "sft",
        "learning_rate": 1.0e-4,
        "run_name": "007",
        "do_train": True,
        "num_train_epochs": 3,
        "template": "qwen",
    }


def test_a_config_file_goes_beside_the_task(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("stage: sft\n", encoding="utf-8")
    assert task_body(TASK, config=path)["config"][:2] == ("train.yaml", b"stage: sft\n")


def test_changes_are_written_field_equals_value() -> None:
    assert parse_changes(["resources.gpus=2", "command=a=b"]) == {
        "resources.gpus": "2",
        "command": "a=b",
    }


@pytest.mark.parametrize("text", ["gpus", "=2", "resources.=2", ".x=1"])
def test_a_change_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(Invalid, match="FIELD=VALUE"):
        parse_changes([text])


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(Invalid, match=r"nowhere\.yaml cannot be read: No such file"):
        task_body("nowhere.yaml")


def test_a_file_that_is_clearly_no_task_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"x" * 100_000)
    with pytest.raises(Invalid, match="dataset-file"):
        task_body(path)


def test_a_broken_file_with_changes_names_its_line() -> None:
    with pytest.raises(Invalid, match="line 2"):
        task_body("task_id: a\n\tbad: x\n", changes={"priority": "high"})
