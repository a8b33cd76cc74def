"""How much memory a training needs, from its config alone."""

from __future__ import annotations

import pytest

from jobs.core.estimate import measured
from jobs.core.estimate.answer import LEARNED, Estimate, Peaks, corrected, estimate_of
from jobs.core.estimate.problems import CannotEstimate
from jobs.core.estimate.recipe import Zero, zero_of
from jobs.core.units import GIB

LORA = {"model_name_or_path": "Qwen/Qwen2.5-7B-Instruct", "finetuning_type": "lora"}
CELLS = [
    pytest.param(row, length, id=f"{row.model} {row.method} {length}")
    for row in measured.QWEN
    for length in row.gigabytes
]


def estimate(cards: int = 1, **settings: object) -> Estimate:
    batch = {"per_device_train_batch_size": 1}
    return estimate_of(LORA | batch | settings, cards=cards)


def parts(found: Estimate) -> dict[str, int]:
    return {part.code.value: part.size for part in found.parts}


@pytest.mark.parametrize(("row", "length"), CELLS)
def test_a_measured_run_is_within_the_range(row: measured.Measured, length: int):
    config = {"model_name_or_path": row.model, "cutoff_len": length}
    batch = {"per_device_train_batch_size": 1}
    found = estimate_of({**row.settings, **config, **batch}, cards=row.cards)
    on_each = row.gigabytes[length] * measured.GB / row.cards
    assert found.low <= on_each <= found.high
    assert found.likely == pytest.approx(on_each, rel=0.2)


def test_the_parts_make_up_what_is_likely():
    found = estimate()
    assert sum(part.size for part in found.parts) == found.likely
    assert parts(found)["weights"] > 15e9


def test_less_input_saves_only_what_depends_on_it():
    long, short = estimate(cutoff_len=2048), estimate(cutoff_len=1024)
    assert 0.85 < short.likely / long.likely < 0.97


@pytest.mark.parametrize(
    ("cheaper", "dearer"),
    [
        ({"quantization_bit": 4}, {"quantization_bit": 8}),
        ({"quantization_bit": 8}, {}),
        ({}, {"finetuning_type": "freeze"}),
        ({"finetuning_type": "freeze"}, {"finetuning_type": "full", "pure_bf16": True}),
        ({"finetuning_type": "full", "pure_bf16": True}, {"finetuning_type": "full", "bf16": True}),
        (
            {"finetuning_type": "full", "optim": "adamw_8bit"},
            {"finetuning_type": "full", "optim": "adamw_torch"},
        ),
        ({}, {"disable_gradient_checkpointing": True}),
        ({"cutoff_len": 8192}, {"cutoff_len": 8192, "flash_attn": "disabled"}),
        ({"enable_liger_kernel": True}, {}),
        ({}, {"stage": "dpo"}),
        (
            {"finetuning_type": "full", "stage": "dpo", "pref_loss": "simpo"},
            {"finetuning_type": "full", "stage": "dpo"},
        ),
        ({"lora_rank": 8}, {"lora_rank": 256}),
        ({"lora_rank": 256, "lora_target": "q_proj,v_proj"}, {"lora_rank": 256}),
        ({}, {"additional_target": "embed_tokens,lm_head"}),
        ({"finetuning_type": "full", "use_badam": True}, {"finetuning_type": "full"}),
        ({"finetuning_type": "full", "use_galore": True}, {"finetuning_type": "full"}),
        ({"finetuning_type": "oft"}, {"finetuning_type": "full"}),
        ({"per_device_train_batch_size": 1}, {"per_device_train_batch_size": None}),
        ({}, {"stage": "ppo"}),
    ],
    ids=str,
)
def test_a_setting_that_needs_more_is_counted_with_more(
    cheaper: dict[str, object], dearer: dict[str, object]
):
    assert estimate(**cheaper).likely < estimate(**dearer).likely


@pytest.mark.parametrize(
    ("written", "means"),
    [
        (None, Zero()),
        ("examples/deepspeed/ds_z0_config.json", Zero(0)),
        ("examples/deepspeed/ds_z2_config.json", Zero(2)),
        ("examples/deepspeed/ds_z2_offload_config.json", Zero(2, True)),
        ("examples/deepspeed/ds_z3_offload_config.json", Zero(3, True, True)),
        (
            {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}},
            Zero(3, True),
        ),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "none"}}}, Zero(2)),
        ("my.json", None),
    ],
)
def test_deepspeed_is_told_by_its_file_or_its_settings(written: object, means: Zero | None):
    assert zero_of({"deepspeed": written}) == means


def test_sharding_by_fsdp_counts_like_the_third_stage():
    assert zero_of({"fsdp": "full_shard auto_wrap"}) == Zero(3)


def test_each_stage_needs_less_on_each_card():
    full = {"finetuning_type": "full", "bf16": True}
    files = ("ds_z0_config.json", "ds_z2_config.json", "ds_z3_config.json", "ds_z3_offload.json")
    sizes = [estimate(cards=4, deepspeed=name, **full).likely for name in files]
    assert sizes == sorted(sizes, reverse=True)


def test_a_deepspeed_file_that_says_nothing_is_an_assumption():
    assert estimate(deepspeed="my.json").assumptions == ("deepspeed",)
    assert not estimate().assumptions


def test_a_job_is_booked_with_the_upper_end_in_whole_gib():
    found = estimate()
    assert found.min_memory % GIB == 0
    assert 0 <= found.min_memory - found.high < GIB


def test_a_measured_peak_wins_over_the_formula():
    formula = estimate()
    found = corrected(formula, Peaks(runs=3, least=20 * GIB, most=20 * GIB))
    assert (found.source, found.runs, found.low) == (LEARNED, 3, 20 * GIB)
    assert found.likely == round(20 * GIB * 1.1) < found.high
    assert found.parts == formula.parts


def test_a_peak_is_enough_where_the_formula_knows_nothing():
    assert corrected(None, Peaks(runs=1, least=20 * GIB, most=20 * GIB)).min_memory == 25 * GIB


@pytest.mark.parametrize(
    ("settings", "field", "says"),
    [
        ({"model_name_or_path": "acme/secret"}, "model_name_or_path", "not known"),
        ({"model_name_or_path": None}, "model_name_or_path", "no model"),
        ({"cutoff_len": "long"}, "cutoff_len", "'long'"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size", "above 0"),
    ],
)
def test_what_cannot_be_counted_is_named(settings: dict[str, object], field: str, says: str):
    with pytest.raises(CannotEstimate, match=says) as caught:
        estimate(**settings)
    assert caught.value.field == field
    assert caught.value.hint


def test_a_config_at_hand_makes_any_name_known():
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 305,
    }
    found = estimate_of({"model_name_or_path": "/models/tiny"}, model=config)
    assert found.model == "tiny"
    assert found.likely < 3 * GIB
