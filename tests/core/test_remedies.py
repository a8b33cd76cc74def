"""What helps a job that ran out of memory: single changes of its own config, each with the memory before and after."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.estimate.answer import estimate_of
from jobs.core.llamafactory import check_config
from jobs.core.outofmemory import Had, Shortage
from jobs.core.remedies import Case, Remedy, RemedyCode, gpu_remedies, host_remedies
from jobs.core.taskfile import parse_llamafactory_config
from jobs.core.units import GIB

C = RemedyCode
QWEN: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-7B-Instruct",
    "stage": "sft",
    "do_train": True,
    "dataset": "alpaca",
    "finetuning_type": "lora",
    "cutoff_len": 4096,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
}


def case(*, had: int = 24, largest: int = 24, cards: int = 1, **changes: Any) -> Case:
    """A training on cards of `largest` GiB that had booked `had`; None takes a setting out."""
    config = {name: value for name, value in {**QWEN, **changes}.items() if value is not None}
    return Case(
        had=Had(memory=had * GIB, exclusive=had == largest),
        largest=largest * GIB,
        config=config,
        cards=cards,
    )


def by_code(given_case: Case) -> dict[RemedyCode, Remedy]:
    return {remedy.code: remedy for remedy in gpu_remedies(given_case)}


def test_kept_activations_are_the_first_thing_to_change():
    found = by_code(case(disable_gradient_checkpointing=True, per_device_train_batch_size=1))
    remedy = found[C.CHECKPOINTING]
    assert remedy.changes == {"llamafactory.disable_gradient_checkpointing": False}
    assert remedy.is_enough
    assert (
        gpu_remedies(case(disable_gradient_checkpointing=True, per_device_train_batch_size=1))[
            0
        ].code
        is C.CHECKPOINTING
    )


def test_a_smaller_batch_keeps_the_rows_of_a_step():
    remedy = by_code(case(cutoff_len=2048))[C.BATCH]
    rows = remedy.changes["llamafactory.per_device_train_batch_size"]
    steps = remedy.changes["llamafactory.gradient_accumulation_steps"]
    assert (rows, rows * steps) == (2, 4 * 2), "no smaller than it takes"
    assert remedy.old["llamafactory.per_device_train_batch_size"] == 4


def test_attention_with_its_whole_matrix_is_taken_out():
    llama = {"model_name_or_path": "meta-llama/Llama-2-7b-hf", "flash_attn": "disabled"}
    remedy = by_code(case(**llama))[C.FLASH_ATTENTION]
    assert remedy.changes == {"llamafactory.flash_attn": "sdpa"}
    assert C.FLASH_ATTENTION not in by_code(case())


def test_liger_is_proposed_where_llamafactory_can_apply_it_and_it_saves_the_logits():
    assert C.LIGER in by_code(case())
    assert C.LIGER not in by_code(case(stage="dpo"))
    assert C.LIGER not in by_code(case(enable_liger_kernel=True))
    assert C.LIGER not in by_code(case(model_name_or_path="Qwen/Qwen-7B"))


def test_where_no_harmless_change_is_enough_all_of_them_are_tried_together():
    found = by_code(case(disable_gradient_checkpointing=True))
    together = found[C.TOGETHER]
    assert together.is_enough
    assert "llamafactory.enable_liger_kernel" in together.changes
    assert not any(found[code].is_enough for code in (C.CHECKPOINTING, C.BATCH, C.LIGER))


def test_a_model_that_is_trained_whole_can_be_trained_by_an_adapter():
    found = by_code(case(had=78, largest=78, finetuning_type="full"))
    assert found[C.QLORA].changes == {
        "llamafactory.finetuning_type": "lora",
        "llamafactory.quantization_bit": 4,
    }
    assert found[C.LORA].changes == {"llamafactory.finetuning_type": "lora"}
    assert found[C.QLORA].after < found[C.LORA].after < found[C.LORA].before


@pytest.mark.parametrize(
    "settings",
    [
        {"quantization_bit": 4},
        {"model_name_or_path": "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4"},
        {"deepspeed": "examples/deepspeed/ds_z3_config.json"},
        {"finetuning_type": "full", "use_galore": True},
    ],
    ids=["it is", "the model is", "not under ZeRO-3", "GaLore trains the model itself"],
)
def test_quantization_is_proposed_only_where_it_works(settings):
    assert C.QLORA not in by_code(case(**settings))


@pytest.mark.parametrize(
    ("cards", "settings", "proposed"),
    [
        (4, {}, True),
        (1, {}, False),
        (4, {"deepspeed": "examples/deepspeed/ds_z2_config.json"}, True),
        (4, {"deepspeed": "examples/deepspeed/ds_z3_config.json"}, False),
        (4, {"deepspeed": "my_file.json"}, False),
        (4, {"fsdp": "full_shard auto_wrap"}, False),
        (4, {"use_apollo": True}, False),
    ],
)
def test_the_model_is_spread_over_cards_where_there_are_several(cards, settings, proposed):
    found = by_code(case(had=78, largest=78, cards=cards, finetuning_type="full", **settings))
    assert (C.ZERO3 in found) is proposed


def test_more_memory_comes_first_where_a_card_has_it_and_never_beyond():
    first, *_ = gpu_remedies(case(had=24, largest=78, per_device_train_batch_size=1))
    assert first.code is C.MORE_MEMORY
    size = int(first.changes["resources.min_memory"].removesuffix("G"))
    assert 24 < size <= 78
    assert C.MORE_MEMORY not in by_code(case(had=24, largest=24))


def test_a_command_is_told_of_more_memory_by_what_was_measured():
    opaque = Case(had=Had(memory=16 * GIB, peak=30 * GIB), largest=78 * GIB)
    (only,) = gpu_remedies(opaque)
    assert only.changes == {"resources.min_memory": "37G"}
    assert only.before == round(30 * GIB * 1.1)


def test_who_had_room_enough_and_lost_it_to_others_gets_a_card_of_its_own():
    shortage = Shortage(tried=GIB, in_use=10 * GIB, free=0)
    opaque = Case(had=Had(memory=16 * GIB), shortage=shortage, largest=78 * GIB)
    (only,) = gpu_remedies(opaque)
    assert (only.code, only.changes) == (C.EXCLUSIVE, {"resources.exclusive": True})


def test_what_the_run_needed_beyond_the_formula_is_needed_after_a_change_too():
    plain = case(per_device_train_batch_size=2)
    formula = estimate_of(plain.config).likely
    shortage = Shortage(tried=10 * GIB, in_use=formula)
    more = Case(had=plain.had, shortage=shortage, largest=plain.largest, config=plain.config)
    usual, dearer = by_code(plain)[C.QLORA], by_code(more)[C.QLORA]
    assert dearer.before == formula + 10 * GIB
    assert dearer.before - dearer.after == usual.before - usual.after


def test_of_a_model_that_nobody_knows_changes_are_named_without_numbers():
    found = gpu_remedies(case(model_name_or_path="/models/own"))
    assert {remedy.code for remedy in found} >= {C.BATCH, C.QLORA, C.CUTOFF}
    assert all((each.before, each.after, each.is_enough) == (None, None, None) for each in found)


def test_a_config_that_is_no_config_gives_no_remedy_of_its_own():
    assert gpu_remedies(case(cutoff_len="long")) == ()


def test_main_memory_is_lessened_by_fewer_processes():
    found = host_remedies({"preprocessing_num_workers": 16, "dataloader_num_workers": 1})
    assert [each.changes for each in found] == [{"llamafactory.preprocessing_num_workers": 8}]
    assert host_remedies(None) == ()


CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "model_name_or_path": st.sampled_from(
            [
                "Qwen/Qwen2.5-7B-Instruct",
                "meta-llama/Llama-3.2-1B",
                "google/gemma-2-9b",
                "/own/model",
            ]
        ),
        "finetuning_type": st.sampled_from(["lora", "full", "freeze", "oft"]),
        "stage": st.sampled_from(["pt", "sft", "dpo", "rm"]),
        "cutoff_len": st.sampled_from([256, 1000, 2048, 8192]),
        "per_device_train_batch_size": st.integers(min_value=1, max_value=64),
        "gradient_accumulation_steps": st.integers(min_value=1, max_value=16),
        "disable_gradient_checkpointing": st.booleans(),
        "flash_attn": st.sampled_from(["auto", "disabled", "fa2"]),
        "deepspeed": st.sampled_from(["ds_z2_config.json", "ds_z3_config.json", "x.json"]),
        "use_galore": st.booleans(),
    },
)


@given(
    settings=CONFIGS,
    had=st.integers(min_value=1, max_value=80),
    largest=st.sampled_from([24, 48, 80]),
    cards=st.sampled_from([1, 2, 8]),
)
def test_every_remedy_lessens_or_gives_more_and_llamafactory_would_take_it(
    settings, had, largest, cards
):
    config = {**QWEN, **settings}
    given_case = Case(had=Had(memory=had * GIB), largest=largest * GIB, config=config, cards=cards)
    found = gpu_remedies(given_case)
    assert len({remedy.code for remedy in found}) == len(found)
    was_valid = not check_config(config)
    for remedy in found:
        own = {
            name.removeprefix("llamafactory."): parse_llamafactory_config(f"value: {text}")["value"]
            for name, text in remedy.texts.items()
            if name.startswith("llamafactory.")
        }
        assert remedy.changes
        assert not own or own != {name: config.get(name) for name in own}
        if own and remedy.before is not None and remedy.after is not None:
            assert remedy.after < remedy.before
            assert remedy.is_enough is (remedy.after <= given_case.room)
        if was_valid:
            assert check_config({**config, **own}) == ()
