from __future__ import annotations

from typing import Any

import pytest

from jobs.core.jobspec import JobSpec
from jobs.core.template import template_of


def kind_of(command: str | None = None, **fields: Any) -> str:
    resources = {"min_memory": 14 * 1024**3} | fields.pop("resources", {})
    return template_of(
        JobSpec.model_validate(
            {"task_id": "a", "command": command, "resources": resources} | fields
        )
    )


def config(**changes: Any) -> dict[str, Any]:
    return {
        "model_name_or_path": "/models/Llama-3-8B",
        "stage": "sft",
        "finetuning_type": "lora",
        "cutoff_len": 2048,
        "per_device_train_batch_size": 1,
        "output_dir": "/out/a",
    } | changes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("python train.py --seed 1", "python train.py --seed 2"),
        ("python train.py --seed=1 --bs 4", "python train.py --seed=23 --bs 4"),
        ("SEED=1 python train.py", "SEED=2 python train.py"),
        ("python train.py --data-seed 1", "python train.py --data-seed 7"),
        ("python train.py --output_dir /out/a", "python train.py --output_dir /out/b"),
        ("python train.py --lr 1e-4", "python train.py --lr 3e-4"),
        ("python /home/ada/code/train.py", "python /home/bob/code/train.py"),
        ("python train.py > a.log 2>&1", "python train.py > b.log 2>&1"),
        ("python train.py --tag 2026-01-31", "python train.py --tag 2026-02-01"),
        ("python eval.py runs-20260131-1015", "python eval.py runs-20260201-0930"),
        ("python train.py --master_port 29500", "python train.py --master_port 29501"),
        ("python 'train.py'", 'python "train.py"'),
        ("llamafactory-cli train a.yaml seed=1", "llamafactory-cli train a.yaml seed=2"),
    ],
)
def test_a_seed_a_place_or_a_date_makes_no_other_kind(one: str, other: str) -> None:
    assert kind_of(one) == kind_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("python train.py", "python eval.py"),
        ("python train.py --batch-size 4", "python train.py --batch-size 8"),
        ("python train.py --epochs 1", "python train.py --epochs 3"),
        ("python train.py --model /models/A-7B", "python train.py --model /models/B-7B"),
        ("python train.py --model org/a", "python train.py --model org/b"),
        ("python train.py --seed 1 --fp16", "python train.py --seed 1"),
        ("python train.py --save --steps 5", "python train.py --save --steps 50"),
    ],
)
def test_what_changes_the_run_makes_another_kind(one: str, other: str) -> None:
    assert kind_of(one) != kind_of(other)


@pytest.mark.parametrize(
    "change",
    [
        {"task_id": "b"},
        {"priority": "high"},
        {"est_time": "2h"},
        {"time_limit": "4h"},
        {"env": {"WANDB_RUN_ID": "x", "HF_TOKEN": "y"}},
        {"resources": {"min_memory": 20 * 1024**3}},
    ],
)
def test_name_priority_and_estimates_do_not_matter(change: dict[str, Any]) -> None:
    assert kind_of("python train.py") == kind_of("python train.py", **change)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "papers"},
        {"project": "other"},
        {"workdir": "/home/ada/bert"},
        {"env": {"MODEL": "a"}},
        {"resources": {"gpus": 2}},
        {"resources": {"gpu_type": "A100"}},
        {"resources": {"exclusive": True}},
    ],
)
def test_data_cards_and_surroundings_matter(change: dict[str, Any]) -> None:
    assert kind_of("python train.py") != kind_of("python train.py", **change)


def test_numbered_folders_are_the_same_surroundings() -> None:
    assert kind_of("python a.py", workdir="/home/ada/try1") == kind_of(
        "python a.py", workdir="/home/ada/try12"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"output_dir": "/out/b"},
        {"learning_rate": 3e-4},
        {"logging_steps": 5, "save_steps": 100, "report_to": "none"},
        {"cutoff_len": "2048"},
        {"model_name_or_path": "/srv/models/Llama-3-8B"},
    ],
)
def test_trainings_that_differ_in_no_load_are_of_one_kind(change: dict[str, Any]) -> None:
    assert kind_of(llamafactory=config()) == kind_of(llamafactory=config(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"model_name_or_path": "/models/Llama-3-70B"},
        {"finetuning_type": "full"},
        {"quantization_bit": 4},
        {"cutoff_len": 4096},
        {"per_device_train_batch_size": 2},
        {"deepspeed": "ds_z3.json"},
        {"num_train_epochs": 3},
    ],
)
def test_trainings_that_differ_in_load_are_not(change: dict[str, Any]) -> None:
    assert kind_of(llamafactory=config()) != kind_of(llamafactory=config(**change))


def test_a_kind_fits_its_column() -> None:
    assert len(kind_of("python train.py")) == 64
