"""A training config is refused where LLaMA-Factory would refuse it, and changed only where it must be."""

from __future__ import annotations

import pytest

from jobs.core.llamafactory import (
    can_resume,
    check_config,
    dataset_names,
    needs_torchrun,
    prepare_config,
    train_argv,
    trains,
)

CONFIG = {
    "model_name_or_path": "/models/qwen",
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "dataset": "identity",
    "output_dir": "saves/mine",
    "overwrite_output_dir": True,
    "learning_rate": 1e-4,
}


def problems(**changes: object) -> list[str]:
    config = {key: value for key, value in (CONFIG | changes).items() if value is not None}
    return [str(problem) for problem in check_config(config)]


def test_a_usual_config_has_no_problem():
    assert problems() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model_name_or_path": None}, "model_name_or_path"),
        ({"stage": "sfft"}, "stage"),
        ({"finetuning_type": "qlora"}, "finetuning_type"),
        ({"finetuning_type": "full", "quantization_bit": 4}, "quantization_bit"),
        ({"finetuning_type": "full", "adapter_name_or_path": "/a"}, "adapter_name_or_path"),
        ({"fp8": True, "quantization_bit": 8}, "fp8"),
        ({"deepspeed": "z3.json", "use_galore": True}, "deepspeed"),
        ({"dataset": None}, "dataset"),
        ({"streaming": True}, "max_steps"),
        ({"streaming": True, "max_steps": -1}, "max_steps"),
        ({"do_train": None}, "do_train"),
        ({"do_eval": True}, "eval_dataset"),
        ({"do_predict": True, "val_size": 0.1}, "predict_with_generate"),
        ({"resume_from_checkpoint": True}, "resume_from_checkpoint"),
    ],
)
def test_what_a_run_would_refuse_is_refused_before(changes, field):
    (problem,) = problems(**changes)
    assert problem.startswith(f"llamafactory.{field}: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization_bit": 4},
        {"adapter_name_or_path": "/a"},
        {"streaming": True, "max_steps": 100},
        {"do_eval": True, "val_size": 0.1},
        {"do_eval": True, "eval_dataset": "identity"},
        {"do_predict": True, "predict_with_generate": True, "val_size": "0.1"},
        {"resume_from_checkpoint": "/old/checkpoint-5"},
        {"do_train": "true"},
        {"dataset": ["identity", "alpaca_en"]},
    ],
)
def test_what_a_run_accepts_is_accepted(changes):
    assert problems(**changes) == []


def test_an_uploaded_dataset_stands_for_the_one_in_the_config():
    assert not check_config(CONFIG, dataset="my_data")
    without = {key: value for key, value in CONFIG.items() if key != "dataset"}
    assert not check_config(without, dataset="my_data")


def test_a_dataset_that_would_not_be_found_beside_the_uploaded_one_is_refused():
    (problem,) = check_config(CONFIG | {"dataset": "my_data, identity"}, dataset="my_data")
    assert "identity would be looked for beside the uploaded dataset my_data" in str(problem)
    (problem,) = check_config(CONFIG | {"eval_dataset": "other"}, dataset="my_data")
    assert "other is not the uploaded dataset" in str(problem)
    assert not check_config(CONFIG | {"eval_dataset": "my_data"}, dataset="my_data")


def test_the_output_goes_to_the_job_and_nothing_else_is_changed():
    prepared = prepare_config(CONFIG, output_dir="/jobs/a/output")
    assert prepared == CONFIG | {"output_dir": "/jobs/a/output"}
    assert CONFIG["output_dir"] == "saves/mine"


def test_the_uploaded_dataset_is_named():
    prepared = prepare_config(CONFIG, output_dir="/o", dataset_dir="/w/data", dataset="my_data")
    assert (prepared["dataset_dir"], prepared["dataset"]) == ("/w/data", "my_data")


def test_a_later_run_never_begins_anew():
    """`overwrite_output_dir: true`, which all shipped examples say, would start at step 0."""
    prepared = prepare_config(CONFIG, output_dir="/o", first_run=False)
    assert prepared["overwrite_output_dir"] is False


def test_a_run_with_a_checkpoint_goes_on_from_its_own():
    config = CONFIG | {"resume_from_checkpoint": "/old/checkpoint-5"}
    without = prepare_config(config, output_dir="/o", first_run=False)
    assert without["resume_from_checkpoint"] == "/old/checkpoint-5"
    own = prepare_config(config, output_dir="/o", first_run=False, has_checkpoint=True)
    assert "resume_from_checkpoint" not in own


@pytest.mark.parametrize(
    ("stage", "resumes"),
    [("pt", True), ("sft", True), ("dpo", True), ("kto", True), ("rm", False), ("ppo", False)],
)
def test_reward_models_and_ppo_begin_anew(stage, resumes):
    assert can_resume(CONFIG | {"stage": stage}) is resumes


def test_the_command_is_a_list_of_arguments():
    assert train_argv(["/v/bin/llamafactory-cli"], "train.yaml") == [
        "/v/bin/llamafactory-cli",
        "train",
        "train.yaml",
    ]
    overridden = train_argv(["py", "-m", "llamafactory.cli"], "a b.yaml", {"save_steps": "5"})
    assert overridden[-2:] == ["a b.yaml", "save_steps=5"]


def test_deepspeed_needs_torchrun():
    assert needs_torchrun(CONFIG | {"deepspeed": "ds.json"})
    assert not needs_torchrun(CONFIG)


def test_only_a_training_has_a_last_step():
    assert trains(CONFIG)
    assert not trains({"do_predict": True})


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ()),
        ("a", ("a",)),
        ("a, b,,c ", ("a", "b", "c")),
        (["a", "b"], ("a", "b")),
    ],
)
def test_datasets_are_named_in_a_text_or_a_list(value, names):
    assert dataset_names({"dataset": value}) == names
