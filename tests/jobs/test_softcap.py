"""The soft cap: which jobs get it, what PyTorch is told, and that nothing takes it away again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpus.models import Device
from jobs import interpreters, sitesettings, softcap, torchversion
from jobs.models import Attempt
from jobs.preparation import prepare
from tests.rows import GIB, a_device, a_started_job

CONFIG = {"model_name_or_path": "m", "do_train": True, "dataset": "d"}
CAPPED = "expandable_segments:True,per_process_memory_fraction:"


def a_python(folder: Path, torch: str | None) -> Path:
    """A virtual environment whose python finds this version of PyTorch."""
    packages = folder / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    if torch is not None:
        (packages / "torch").mkdir()
        (packages / "torch" / "version.py").write_text(f"__version__ = '{torch}'\ndebug = False\n")
        (packages / "torch" / "__init__.py").touch()
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.fixture
def card(db, settings, tmp_path) -> Device:
    settings.COOP_HOME = tmp_path / "home"
    device = a_device(total=80 * GIB)
    device.node.source = "nvml"
    device.node.save()
    return device


@pytest.fixture
def trainer(tmp_path, settings) -> Path:
    """A LLaMA-Factory in an environment with PyTorch 2.10."""
    interpreters.forget()
    python = a_python(tmp_path / "venv", "2.10.0+cu128")
    program = python.with_name("llamafactory-cli")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    settings.COOP_LLAMAFACTORY = str(program)
    return program


def launched(card: Device, *others: Device, **spec: object) -> tuple[dict[str, str], Attempt]:
    """What an attempt finds in its environment, and its row."""
    from jobs import lifecycle
    from tests.rows import a_job

    if others:
        resources = {
            "min_memory": 16 * GIB,
            "gpus": 1 + len(others),
            "nodes": 1,
            "exclusive": False,
        }
        job = a_job(memory=16 * GIB, resources=resources, **spec)
        attempt = lifecycle.start(job, card.node, [(each, 16 * GIB) for each in (card, *others)])
    else:
        _, attempt = a_started_job(device=card, memory=16 * GIB, **spec)
    env = dict(prepare(attempt).env)
    return env, Attempt.objects.get(pk=attempt.pk)


def a_training(card: Device, *others: Device, **config: object) -> tuple[dict[str, str], Attempt]:
    return launched(card, *others, command=None, llamafactory=CONFIG | config)


def test_a_training_is_told_its_booking_less_the_context_by_both_names(card, trainer):
    env, attempt = a_training(card)
    told = {env[name] for name in softcap.VARIABLES}
    assert told == {f"{CAPPED}0.1912"}, "of (16 - 0.7) / 80, rounded down"
    assert attempt.cap == "soft"


def test_llamafactory_is_kept_from_wiping_the_cap_when_it_starts_torchrun(card, trainer):
    env, _ = a_training(card, a_device(1))
    assert env["OPTIM_TORCH"] == "0"
    assert env["TORCH_NCCL_AVOID_RECORD_STREAMS"] == "1", "which it would have set itself"
    assert env["PYTORCH_CUDA_ALLOC_CONF"].startswith(CAPPED)


@pytest.mark.parametrize(
    ("config", "spec"), [({"deepspeed": "z3.json"}, {}), ({}, {"env": {"FORCE_TORCHRUN": "1"}})]
)
def test_torchrun_on_one_card_counts_too(card, trainer, config, spec):
    env, _ = launched(card, command=None, llamafactory=CONFIG | config, **spec)
    assert env["OPTIM_TORCH"] == "0"


def test_a_training_in_one_process_keeps_its_switches(card, trainer):
    assert "OPTIM_TORCH" not in a_training(card)[0]


def test_on_unequal_cards_the_smallest_share_holds(card, trainer):
    env, _ = a_training(card, a_device(1, total=160 * GIB))
    assert env["PYTORCH_ALLOC_CONF"].endswith(f"{softcap.fraction(16 * GIB, 160 * GIB):.4f}")


@pytest.mark.parametrize("torch", ["2.9.1", None, "nonsense"])
def test_a_pytorch_that_does_not_know_the_word_is_not_told(card, trainer, torch):
    version = trainer.parent.parent / "lib/python3.11/site-packages/torch/version.py"
    version.write_text(f"__version__ = '{torch}'\n")
    env, attempt = a_training(card)
    assert not set(softcap.VARIABLES) & env.keys()
    assert attempt.cap == ""


def test_what_the_task_says_about_the_allocator_stays_and_the_cap_is_ours(card, trainer):
    given = "max_split_size_mb:128,per_process_memory_fraction:0.9,expandable_segments:False"
    env, _ = launched(
        card, command=None, llamafactory=CONFIG, env={"PYTORCH_CUDA_ALLOC_CONF": given}
    )
    words = env["PYTORCH_ALLOC_CONF"].split(",")
    assert words[:2] == ["max_split_size_mb:128", "expandable_segments:False"]
    assert words[2:] == [f"per_process_memory_fraction:{softcap.fraction(16 * GIB, 80 * GIB):.4f}"]


def test_a_command_of_one_python_step_is_capped_by_its_own_interpreter(card, tmp_path):
    python = a_python(tmp_path / "mine", "2.11.0")
    env, attempt = launched(card, command=f"SEED=1 {python} train.py --lr 1e-4 > log\n")
    assert env["PYTORCH_CUDA_ALLOC_CONF"].startswith(CAPPED)
    assert attempt.cap == "soft"


def test_the_interpreter_of_a_command_is_looked_at_and_never_executed(card, tmp_path):
    python = a_python(tmp_path / "mine", "2.11.0")
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    assert launched(card, command=f"{python} train.py")[1].cap == "soft"
    assert not (tmp_path / "executed").exists()


STEPS = [
    "cd x && {python} train.py",
    "source venv/bin/activate; python train.py",
    "{python} train.py | tee log",
    "{python} prepare.py\n{python} train.py",
    "bash run.sh",
    "{python} $(cat script)",
    "'unfinished",
    "",
]


@pytest.mark.parametrize("command", STEPS)
def test_nothing_is_guessed_of_a_command_that_may_change_its_interpreter(command, tmp_path):
    python = a_python(tmp_path / "mine", "2.11.0")
    told = torchversion.of_command(command.format(python=python), path="/usr/bin", cwd=tmp_path)
    assert told is None


def test_a_pipe_in_place_of_the_version_blocks_nobody(tmp_path):
    import os

    python = a_python(tmp_path / "mine", "2.11.0")
    version = tmp_path / "mine/lib/python3.11/site-packages/torch/version.py"
    version.unlink()
    os.mkfifo(version)
    assert torchversion.of_command(f"{python} x.py", path="", cwd=tmp_path) is None


@pytest.mark.parametrize("why", ["switched off", "simulated", "whole card", "grows"])
def test_who_is_not_capped(card, trainer, why):
    if why == "switched off":
        sitesettings.change({"cap": "none"}, None)
    elif why == "simulated":
        card.node.source = "simulated"
        card.node.save()
    elif why == "grows":
        Device.objects.update(mode="dynamic-sharding")
    _, attempt = a_started_job(device=card, command=None, llamafactory=CONFIG)
    attempt.job.exclusive = why == "whole card"
    assert not set(softcap.VARIABLES) & dict(prepare(attempt).env).keys()


@given(
    booked=st.integers(min_value=2**26, max_value=80 * GIB),
    total=st.integers(min_value=80 * GIB, max_value=200 * GIB),
)
def test_the_allocator_never_gets_more_than_the_booking_and_never_nothing(booked, total):
    share = softcap.fraction(booked, total)
    assert 0 <= share * total <= booked
    assert share * total >= booked / 2 - total / 10_000
