"""Makes what a real LLaMA-Factory run needs, small enough for a CPU: a random Llama, a tokenizer, a dataset.

Usage: .llamafactory/bin/python tests/llamafactory/make_tiny.py FOLDER

Nothing is downloaded, and the same files come out every time. FOLDER gets model/ (about 94,000 parameters),
tiny_alpaca.json (20 rows), broken_alpaca.jsonl (its third row has a number for an answer), lora_sft.yaml (20 steps)
and slow.yaml (2,000 steps, to be interrupted); the configs name the model by its absolute path.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

QUESTIONS = 20

CONFIG = """\
model_name_or_path: {model}
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 4
lora_target: all
dataset: tiny_alpaca
template: default
cutoff_len: 128
preprocessing_num_workers: 1
output_dir: ./out
logging_steps: {logging_steps}
save_steps: {save_steps}
save_total_limit: 2
overwrite_output_dir: true
report_to: none
per_device_train_batch_size: 2
gradient_accumulation_steps: 1
learning_rate: 1.0e-3
num_train_epochs: {epochs}
lr_scheduler_type: cosine
"""


def main() -> None:
    """Writes everything into the folder given."""
    parser = argparse.ArgumentParser(description="Make a tiny model, dataset and configs.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = [alpaca_row(number) for number in range(QUESTIONS)]
    write_datasets(folder, rows)
    write_configs(folder)
    write_model(folder / "model", [f"{row['instruction']} {row['output']}" for row in rows])


def alpaca_row(number: int) -> dict[str, str]:
    """A sum as a question and its answer."""
    return {
        "instruction": f"What is {number} plus {number + 1}?",
        "input": "",
        "output": f"{number} plus {number + 1} is {2 * number + 1}.",
    }


def write_datasets(folder: Path, rows: list[dict[str, str]]) -> None:
    """One dataset that is right, and one with a mistake in its third row."""
    (folder / "tiny_alpaca.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    broken = [*rows[:2], rows[2] | {"output": 5}, *rows[3:]]
    lines = "".join(json.dumps(row) + "\n" for row in broken)
    (folder / "broken_alpaca.jsonl").write_text(lines, encoding="utf-8")


def write_configs(folder: Path) -> None:
    """A run of 20 steps (ten batches of two rows, twice) and one of 2,000."""
    model = folder / "model"
    quick = CONFIG.format(model=model, logging_steps=1, save_steps=5, epochs=2.0)
    slow = CONFIG.format(model=model, logging_steps=10, save_steps=100, epochs=200.0)
    (folder / "lora_sft.yaml").write_text(quick, encoding="utf-8")
    (folder / "slow.yaml").write_text(slow, encoding="utf-8")


def write_model(folder: Path, texts: list[str]) -> None:
    """A byte-level tokenizer and a Llama of two layers, with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = trained_tokenizer(texts)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # weights are written 0600, but the run may be another account's
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens in {folder}")


def trained_tokenizer(texts: list[str]):
    """Byte-level BPE, so that every text can be written with it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


if __name__ == "__main__":
    main()
