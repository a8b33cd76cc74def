#!/usr/bin/env python3
"""A stand-in trainer: nothing is learned, but every file that LLaMA-Factory writes is there.

It lets the article's task file run on a machine without a GPU, a model or PyTorch. The flags are
the article's (`--model`, `--method`, `--dataset`); upstream's own are named differently. It

* appends one line to trainer_log.jsonl for every step,
* writes checkpoint-N/trainer_state.json every --save-steps steps, and marks a checkpoint that is
  being written with checkpoint-is-incomplete.txt,
* saves a checkpoint and leaves with code 0 on SIGTERM,
* goes on from the newest complete checkpoint in its output folder,
* says what it would use of a card in the file named by LLAMA_COOP_SIM_USAGE.

Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
INCOMPLETE = "checkpoint-is-incomplete.txt"


def main() -> int:
    """Trains from the newest checkpoint to the last step, or until SIGTERM."""
    options = parse_options()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    stop = StopSignal()
    step = newest_checkpoint(options.output_dir)
    log_history = history_until(options.output_dir, step)
    print(f"Training {options.model} with {options.method} on {options.dataset}", flush=True)
    if step:
        print(f"Resuming training from checkpoint-{step}.", flush=True)
    started_at = time.monotonic()
    while step < options.steps and not stop.asked:
        step += 1
        train_step(options, step, stop)
        line = log_line(options, step, time.monotonic() - started_at)
        log_history.append({"step": step, "loss": line["loss"], "epoch": line["epoch"]})
        append_line(options.output_dir / "trainer_log.jsonl", line)
        print({"loss": line["loss"], "epoch": line["epoch"]}, flush=True)
        if stop.asked or step % options.save_steps == 0 or step == options.steps:
            save_checkpoint(options, step, log_history)
    finish(options, step, log_history, time.monotonic() - started_at)
    return 0


class StopSignal:
    """Becomes true at SIGTERM; the step that is under way is finished first."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True


def parse_options() -> argparse.Namespace:
    """Reads the article's flags and ours; the defaults make a run of about six seconds."""
    parser = argparse.ArgumentParser(description="Stand-in trainer with LLaMA-Factory's files.")
    parser.add_argument("--model", required=True, help="a name, only printed")
    parser.add_argument("--method", default="lora", choices=["full", "freeze", "lora", "oft"])
    parser.add_argument("--dataset", required=True, help="a name, only printed")
    parser.add_argument("--steps", type=int, default=30, help="steps of the whole training")
    parser.add_argument("--step-seconds", type=float, default=0.2, help="seconds one step takes")
    parser.add_argument("--save-steps", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--memory", default=None, help="memory to say it uses, as 14G")
    parser.add_argument("--busy", type=float, default=0.9, help="share of time to say it computes")
    parser.add_argument("--fail-at", type=int, default=None, help="end with code 1 at this step")
    parser.add_argument("--output_dir", type=Path, default=default_output_dir())
    return parser.parse_args()


def default_output_dir() -> Path:
    """The job's own output folder; beside the caller when no job runs this."""
    return Path(os.environ.get("LLAMA_COOP_OUTPUT_DIR") or "output")


def train_step(options: argparse.Namespace, step: int, stop: StopSignal) -> None:
    """Takes the time of one step; loading (the first three steps) fills the card gradually."""
    tell_usage(options, filled=min(1.0, step / 3))
    if step == options.fail_at:
        raise SystemExit(f"RuntimeError: told to fail at step {step} (--fail-at)")
    deadline = time.monotonic() + options.step_seconds
    while not stop.asked and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


def tell_usage(options: argparse.Namespace, filled: float) -> None:
    """Writes memory and load to the simulated card's file, in place: the folder is not ours."""
    path = os.environ.get("LLAMA_COOP_SIM_USAGE")
    if not path:
        return
    usage = {"memory_bytes": int(memory_bytes(options) * filled), "busy": options.busy}
    with contextlib.suppress(OSError):
        Path(path).write_text(json.dumps(usage), encoding="utf-8")


def memory_bytes(options: argparse.Namespace) -> int:
    """What --memory says; without it 85 % of what was booked for this job."""
    if options.memory is None:
        return int(int(os.environ.get("LLAMA_COOP_MEMORY_BYTES") or 0) * 0.85)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", options.memory)
    if match is None:
        sys.exit(f"--memory {options.memory!r} is not a size; write a number and K, M, G or T.")
    return int(float(match[1]) * UNITS[match[2]])


def log_line(options: argparse.Namespace, step: int, elapsed: float) -> dict[str, object]:
    """One line of trainer_log.jsonl, with the keys that LLaMA-Factory writes."""
    share = step / options.steps
    noise = random.Random(f"{options.model}{step}").uniform(-0.04, 0.04)
    return {
        "current_steps": step,
        "total_steps": options.steps,
        "loss": round(0.9 + 1.6 * math.exp(-4 * share) + noise, 4),
        "lr": 1e-4 * (1 + math.cos(math.pi * share)) / 2,
        "epoch": round(3 * share, 4),
        "percentage": round(100 * share, 2),
        "elapsed_time": clock(elapsed),
        "remaining_time": clock(elapsed / step * (options.steps - step)),
    }


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def append_line(path: Path, line: dict[str, object]) -> None:
    """Opens, appends and closes, as LLaMA-Factory does for each line."""
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def save_checkpoint(options: argparse.Namespace, step: int, history: list[dict]) -> None:
    """Writes checkpoint-N; the marker lies in it until it is complete."""
    folder = options.output_dir / f"checkpoint-{step}"
    folder.mkdir(exist_ok=True)
    marker = folder / INCOMPLETE
    marker.touch()
    write_state(folder, options, step, history)
    marker.unlink()
    print(f"Saving model checkpoint to {folder}", flush=True)


def write_state(folder: Path, options: argparse.Namespace, step: int, history: list[dict]) -> None:
    """Writes trainer_state.json whole or not at all."""
    state = {"global_step": step, "max_steps": options.steps, "log_history": history}
    part = folder / "trainer_state.json.part"
    part.write_text(json.dumps(state), encoding="utf-8")
    part.replace(folder / "trainer_state.json")


def newest_checkpoint(output_dir: Path) -> int:
    """The step of the newest complete checkpoint, 0 without one."""
    steps = [
        int(folder.name.removeprefix("checkpoint-"))
        for folder in output_dir.glob("checkpoint-*")
        if re.fullmatch(r"checkpoint-\d+", folder.name)
        and (folder / "trainer_state.json").is_file()
        and not (folder / INCOMPLETE).exists()
    ]
    return max(steps, default=0)


def history_until(output_dir: Path, step: int) -> list[dict]:
    """The log history that the checkpoint of that step kept."""
    if not step:
        return []
    text = (output_dir / f"checkpoint-{step}" / "trainer_state.json").read_text(encoding="utf-8")
    return list(json.loads(text)["log_history"])


def finish(options: argparse.Namespace, step: int, history: list[dict], seconds: float) -> None:
    """Writes the results; like the real trainer also when it was stopped half-way."""
    write_state(options.output_dir, options, step, history)
    loss = history[-1]["loss"] if history else 0.0
    results = {"train_loss": loss, "train_runtime": round(seconds, 3), "step": step}
    text = json.dumps(results, indent=4)
    (options.output_dir / "train_results.json").write_text(text, encoding="utf-8")
    words = "Training completed" if step >= options.steps else "Stopped after a checkpoint"
    print(f"{words} at step {step}/{options.steps}.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
