"""LLaMA-Factory's training config: what it must say, what we change in it, and the command that runs it.

Read in its sources (0.9.5): `llamafactory-cli train FILE.yaml` refuses what `check_config` finds only after ten
seconds of imports on a card that somebody else could use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.core.problems import Problem, shortened

STAGES = ("pt", "sft", "rm", "ppo", "dpo", "kto")
FINETUNING_TYPES = ("full", "freeze", "lora", "oft")

SAVES_AT_SIGTERM = "enable_jit_checkpoint"
"""With `true` a training writes a checkpoint at SIGTERM and ends; transformers has it from 5.0.0 on."""

Finding = tuple[str, str, str]
"""Field, what is wrong, what is allowed and what to do."""


def check_config(config: Mapping[str, Any], *, dataset: str | None = None) -> tuple[Problem, ...]:
    """What LLaMA-Factory would refuse in a training config; `dataset` is the uploaded one that the job names."""
    found = [
        *_choice_findings(config),
        *_method_findings(config),
        *_data_findings(config, dataset),
        *_evaluation_findings(config),
        *_resume_findings(config),
    ]
    return tuple(
        Problem(line=None, field=f"llamafactory.{field}", message=message, hint=hint)
        for field, message, hint in found
    )


def trains(config: Mapping[str, Any]) -> bool:
    """Whether a run has a last step to reach; evaluation and prediction alone have none."""
    return _truthy(config, "do_train")


def can_resume(config: Mapping[str, Any]) -> bool:
    """Whether a later run goes on from a checkpoint of an earlier one.

    Not so for reward models and PPO: with `full` and `freeze` LLaMA-Factory itself begins anew, PPO raises an error
    when it is given a checkpoint, and a LoRA reward model needs it named in `adapter_name_or_path` as well.
    """
    return config.get("stage", "sft") not in {"rm", "ppo"}


def can_save_when_told(config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint that is written at a signal is of use, and nobody has switched that off in the config."""
    wanted = SAVES_AT_SIGTERM not in config or _truthy(config, SAVES_AT_SIGTERM)
    # Without optimizer and scheduler a run would not go on as it was.
    whole = not _truthy(config, "save_only_model")
    return trains(config) and can_resume(config) and wanted and whole


def prepare_config(
    config: Mapping[str, Any],
    *,
    output_dir: str,
    dataset_dir: str | None = None,
    dataset: str | None = None,
    first_run: bool = True,
    has_checkpoint: bool = False,
    saves_when_told: bool = False,
) -> dict[str, Any]:
    """The config as a run gets it: the job's own folders, and never a step back.

    Args:
        config: what the person handed in; its other settings are passed on unchanged.
        output_dir: where every run of the job writes.
        dataset_dir: the folder of dataset_info.json, where the job has an uploaded dataset.
        dataset: the uploaded dataset's name.
        first_run: no run of this job has written to `output_dir` yet.
        has_checkpoint: `output_dir` holds a complete checkpoint, from which LLaMA-Factory goes on by itself.
        saves_when_told: the run is to write a checkpoint at SIGTERM.
    """
    prepared = dict(config) | {"output_dir": output_dir}
    if dataset_dir is not None and dataset is not None:
        prepared |= {"dataset_dir": dataset_dir, "dataset": dataset}
    if not first_run:
        # With `true`, which all shipped examples say, a second run would begin at step 0.
        prepared["overwrite_output_dir"] = False
    if saves_when_told:
        prepared[SAVES_AT_SIGTERM] = True
    if has_checkpoint:
        # The job's own newest one is found by itself; a path in the config is where the first run began.
        prepared.pop("resume_from_checkpoint", None)
    return prepared


def train_argv(
    executable: Sequence[str], config_path: str, overrides: Mapping[str, str] | None = None
) -> list[str]:
    """The argument list of a training run; `overrides` win over what the file says."""
    pairs = [f"{name}={value}" for name, value in (overrides or {}).items()]
    return [*executable, "train", config_path, *pairs]


def needs_torchrun(config: Mapping[str, Any]) -> bool:
    """Whether the run must have torchrun even on one card: DeepSpeed refuses to start without."""
    return bool(config.get("deepspeed"))


def dataset_names(config: Mapping[str, Any], key: str = "dataset") -> tuple[str, ...]:
    """The datasets that a config names, as a comma-separated text or as a list."""
    value = config.get(key)
    names = value if isinstance(value, list) else str(value or "").split(",")
    return tuple(name for each in names if (name := str(each).strip()))


def _choice_findings(config: Mapping[str, Any]) -> Iterator[Finding]:
    if not config.get("model_name_or_path"):
        yield (
            "model_name_or_path",
            "no model is named",
            "write the path of a model on the server, or its name on the hub",
        )
    for key, allowed, default in (
        ("stage", STAGES, "sft"),
        ("finetuning_type", FINETUNING_TYPES, "lora"),
    ):
        value = config.get(key, default)
        if value not in allowed:
            yield key, f"{shortened(value)} is unknown", f"allowed are {', '.join(allowed)}"


def _method_findings(config: Mapping[str, Any]) -> Iterator[Finding]:
    method = config.get("finetuning_type", "lora")
    quantized = config.get("quantization_bit") is not None
    if quantized and method not in {"lora", "oft"}:
        yield (
            "quantization_bit",
            f"a quantized model cannot be trained with finetuning_type {shortened(method)}",
            "use lora or oft, or leave quantization_bit out",
        )
    if config.get("adapter_name_or_path") is not None and method != "lora":
        yield (
            "adapter_name_or_path",
            f"an adapter cannot be loaded with finetuning_type {shortened(method)}",
            "use lora, or leave the adapter out",
        )
    if _truthy(config, "fp8") and quantized:
        yield "fp8", "fp8 and quantization_bit are both set", "leave one of them out"
    if config.get("deepspeed") and (_truthy(config, "use_galore") or _truthy(config, "use_apollo")):
        yield (
            "deepspeed",
            "GaLore and APOLLO do not work with DeepSpeed",
            "leave deepspeed out, or use another optimizer",
        )


def _data_findings(config: Mapping[str, Any], dataset: str | None) -> Iterator[Finding]:
    names = dataset_names(config)
    if trains(config) and not names and dataset is None:
        yield (
            "dataset",
            "no dataset is named",
            "choose an uploaded dataset for the job, or name one of the server in the config",
        )
    if dataset is not None and dataset in names and set(names) != {dataset}:
        others = ", ".join(name for name in names if name != dataset)
        yield (
            "dataset",
            f"{others} would be looked for beside the uploaded dataset {dataset}, where only that one is",
            "upload one dataset that holds all rows, or take all of them from the server",
        )
    elsewhere = [name for name in dataset_names(config, "eval_dataset") if name != dataset]
    if dataset is not None and elsewhere:
        yield (
            "eval_dataset",
            f"{', '.join(elsewhere)} is not the uploaded dataset of the job",
            f"write {dataset}, or use val_size to keep a part of it for evaluation",
        )
    if _truthy(config, "streaming") and _number(config, "max_steps", -1) <= 0:
        yield "max_steps", "streaming is on, but max_steps is not given", "write the steps to train"


def _evaluation_findings(config: Mapping[str, Any]) -> Iterator[Finding]:
    if not any(_truthy(config, key) for key in ("do_train", "do_eval", "do_predict")):
        yield "do_train", "the run would do nothing", "write do_train: true"
    evaluates = any(
        _truthy(config, key) for key in ("do_eval", "do_predict", "predict_with_generate")
    )
    if evaluates and not config.get("eval_dataset") and _number(config, "val_size", 0) < 1e-6:
        yield (
            "eval_dataset",
            "evaluation is asked for, but there is nothing to evaluate on",
            "name an eval_dataset, or keep a part of the rows with val_size: 0.1",
        )
    predicts = _truthy(config, "do_predict") and config.get("stage", "sft") == "sft"
    if predicts and not _truthy(config, "predict_with_generate"):
        yield (
            "predict_with_generate",
            "do_predict without predict_with_generate saves no predictions",
            "write predict_with_generate: true, or leave do_predict out",
        )


def _resume_findings(config: Mapping[str, Any]) -> Iterator[Finding]:
    if isinstance(config.get("resume_from_checkpoint"), bool):
        yield (
            "resume_from_checkpoint",
            "true names no checkpoint",
            "leave it out, because a run that is started again goes on from its newest checkpoint",
        )


def _truthy(config: Mapping[str, Any], key: str) -> bool:
    return str(config.get(key, "")).lower() in {"true", "1", "yes"}


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    try:
        return float(config.get(key, default))
    except (TypeError, ValueError):
        return default
