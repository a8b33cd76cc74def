"""How many parameters a model has, from its config alone."""

from __future__ import annotations

import pytest

from jobs.core.estimate.families import architecture_of
from jobs.core.estimate.known import known_config, known_names
from jobs.core.estimate.problems import CannotEstimate
from jobs.core.estimate.published import PUBLISHED

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}


def parameters(name: str) -> int:
    config = known_config(name)
    assert config is not None, name
    return architecture_of(config).parameters


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_count_is_within_a_thousandth_of_the_published_one(name: str):
    assert parameters(name) == pytest.approx(PUBLISHED[name], rel=0.001)


def test_most_counts_are_exact():
    assert sum(parameters(name) == count for name, count in PUBLISHED.items()) >= 39


@pytest.mark.parametrize("name", known_names())
def test_every_known_name_can_be_counted(name: str):
    assert parameters(name) > 10**8


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("qwen-7b", "Qwen/Qwen-7B"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("unsloth/Qwen2.5-7B-Instruct-bnb-4bit", "qwen2.5-7b"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "qwen2.5-7b"),
        ("/models/Qwen3-4B-Instruct-2507/", "qwen3-4b"),
    ],
)
def test_a_name_may_be_written_as_on_the_hub(written: str, means: str):
    assert known_config(written) == known_config(means)


def test_an_unknown_name_is_no_model():
    assert known_config("acme/secret-9b") is None


def test_an_unknown_family_is_counted_like_llama_and_says_so():
    guessed = architecture_of(LLAMA | {"model_type": "newcomer"})
    assert guessed.is_guess
    assert guessed.parameters == architecture_of(LLAMA).parameters == 8_030_261_248


def test_a_tied_head_is_counted_once():
    tied = architecture_of(LLAMA | {"tie_word_embeddings": True})
    assert architecture_of(LLAMA).parameters - tied.parameters == 128256 * 4096


@pytest.mark.parametrize("wrong", [None, "many", -1, True, 10**12, 1.5])
def test_a_setting_that_counts_nothing_is_named(wrong: object):
    with pytest.raises(CannotEstimate, match="hidden_size") as caught:
        architecture_of(LLAMA | {"hidden_size": wrong})
    assert caught.value.field == "model_name_or_path"
