"""The examples are what they claim to be, and the stand-in trainer honours LLaMA-Factory's file contract."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.core.completion import is_complete
from jobs.core.datasetcheck import check
from jobs.core.llamafactory import check_config
from jobs.core.progress import loss_points
from jobs.core.taskfile import parse_task
from jobs.core.units import GIB
from tests.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
TRAIN = EXAMPLES / "article" / "src" / "train.py"
ARTICLES_FLAGS = ("--model", "qwen-7b", "--method", "lora", "--dataset", "my_data")


def command(output: Path, *more: str) -> list[str]:
    return [sys.executable, str(TRAIN), *ARTICLES_FLAGS, "--output_dir", str(output), *more]


def train(output: Path, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = command(output, "--step-seconds", "0", *more)
    return subprocess.run(
        argv, check=False, capture_output=True, text=True, env=os.environ | env, timeout=30
    )


def state(folder: Path) -> dict:
    return json.loads((folder / "trainer_state.json").read_text())


def test_the_articles_task_file_is_valid():
    spec = parse_task((EXAMPLES / "article" / "task.yaml").read_bytes())
    assert (spec.task_id, spec.priority.name) == ("finetune_qwen_001", "HIGH")
    assert (spec.resources.min_memory, spec.resources.gpu_type) == (16 * GIB, "A100")


def test_the_llamafactory_task_file_and_its_dataset_are_valid():
    spec = parse_task((EXAMPLES / "llamafactory" / "task.yaml").read_bytes())
    assert isinstance(spec.llamafactory, dict)
    assert check_config(spec.llamafactory, dataset=spec.dataset) == ()
    report = check([(EXAMPLES / "llamafactory" / "my_data.jsonl").read_bytes()], "jsonl")
    assert (report.ok, report.format) == (True, "alpaca")


def test_a_run_leaves_the_files_that_llamafactory_leaves(tmp_path):
    done = train(tmp_path, "--steps", "25")
    assert done.returncode == 0, done.stderr
    assert is_complete(state(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-10",
        "checkpoint-20",
        "checkpoint-25",
        "train_results.json",
        "trainer_log.jsonl",
        "trainer_state.json",
    ]
    points = loss_points((tmp_path / "trainer_log.jsonl").read_bytes().splitlines())
    assert [point.step for point in points] == list(range(1, 26))
    assert points[-1].loss < points[0].loss
    assert len(state(tmp_path)["log_history"]) == 25


def test_a_stopped_run_saves_and_a_second_one_goes_on(tmp_path):
    log = tmp_path / "trainer_log.jsonl"
    run = subprocess.Popen(
        command(tmp_path, "--steps", "1000", "--step-seconds", "0.01"), stdout=subprocess.DEVNULL
    )
    wait_until(lambda: log.exists() and log.stat().st_size > 1000, what="some steps")
    run.send_signal(signal.SIGTERM)
    assert run.wait(10) == 0, "as the real trainer, which saves and ends with code 0"
    reached = state(tmp_path)["global_step"]
    assert 0 < reached < 1000
    assert not is_complete(state(tmp_path))
    assert state(tmp_path / f"checkpoint-{reached}")["global_step"] == reached
    done = train(tmp_path, "--steps", str(reached + 5))
    assert f"Resuming training from checkpoint-{reached}." in done.stdout
    steps = [json.loads(line)["current_steps"] for line in log.read_text().splitlines()]
    assert steps == list(range(1, reached + 6))


def test_a_checkpoint_that_was_not_finished_is_not_resumed_from(tmp_path):
    train(tmp_path, "--steps", "20")
    (tmp_path / "checkpoint-20" / "checkpoint-is-incomplete.txt").touch()
    (tmp_path / "checkpoint-30").mkdir()
    assert "from checkpoint-10." in train(tmp_path, "--steps", "30").stdout


@pytest.mark.parametrize(
    ("flags", "env", "memory"),
    [
        (("--memory", "14G"), {}, 14 * GIB),
        (("--memory", "1.5GiB"), {}, 3 * GIB // 2),
        ((), {"LLAMA_COOP_MEMORY_BYTES": str(16 * GIB)}, int(16 * GIB * 0.85)),
    ],
)
def test_it_tells_a_simulated_card_what_it_uses(tmp_path, flags, env, memory):
    usage = tmp_path / "usage"
    env |= {"LLAMA_COOP_SIM_USAGE": str(usage)}
    assert train(tmp_path / "out", "--steps", "5", *flags, **env).returncode == 0
    assert json.loads(usage.read_text()) == {"memory_bytes": memory, "busy": 0.9}


def test_the_jobs_output_folder_is_the_default(tmp_path):
    argv = [sys.executable, str(TRAIN), *ARTICLES_FLAGS, "--steps", "1", "--step-seconds", "0"]
    env = os.environ | {"LLAMA_COOP_OUTPUT_DIR": str(tmp_path / "out")}
    subprocess.run(argv, env=env, cwd=tmp_path, check=True, capture_output=True, timeout=30)
    assert is_complete(state(tmp_path / "out"))


def test_it_can_be_told_to_fail_and_refuses_a_wrong_size(tmp_path):
    failed = train(tmp_path, "--fail-at", "3")
    assert (failed.returncode, "told to fail at step 3" in failed.stderr) == (1, True)
    wrong = train(tmp_path, "--memory", "a lot", LLAMA_COOP_SIM_USAGE=str(tmp_path / "usage"))
    assert (wrong.returncode, "is not a size" in wrong.stderr) == (1, True)
