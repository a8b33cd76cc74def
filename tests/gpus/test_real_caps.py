"""On a machine with an NVIDIA card and PyTorch: the caps hold, and each rung frees what it says. Prints its figures.

The interpreter that has PyTorch is named by COOP_TEST_TORCH; its version is 2.10 or newer.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest

from jobs import mps, softcap
from jobs.core.units import GIB
from tests.waiting import wait_until

pytestmark = pytest.mark.gpu

TORCH = os.environ.get("COOP_TEST_TORCH", "python3")
HOLDS = """
import sys, time, torch
kept = torch.zeros(int(float(sys.argv[1]) * 2**30), dtype=torch.uint8, device="cuda")
print("holds", flush=True)
while True:
    kept += 1
    torch.cuda.synchronize()
    print(int(kept[0]), flush=True)
    time.sleep(0.1)
"""
FILLS = """
import torch
kept = []
try:
    while True:
        kept.append(torch.zeros(2**27, dtype=torch.uint8, device="cuda"))
except torch.OutOfMemoryError:
    print(len(kept) * 2**27)
"""


class Card:
    """The first card of the machine."""

    def __init__(self) -> None:
        pynvml.nvmlInit()
        self.handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        self.name = pynvml.nvmlDeviceGetName(self.handle)
        self.uuid = pynvml.nvmlDeviceGetUUID(self.handle)
        self.total = pynvml.nvmlDeviceGetMemoryInfo(self.handle).total

    def used_by(self, pid: int) -> int:
        """Bytes of a process, 0 where it is not listed."""
        listed = pynvml.nvmlDeviceGetComputeRunningProcesses(self.handle)
        return sum(each.usedGpuMemory or 0 for each in listed if each.pid == pid)


@pytest.fixture
def card() -> Card:
    return Card()


@pytest.fixture
def holder() -> Iterator[subprocess.Popen]:
    """A process that holds 4 GiB and counts."""
    process = subprocess.Popen([TORCH, "-c", HOLDS, "4"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "holds"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def say(card: Card, what: str) -> None:
    print(f"\n{card.name}, driver {pynvml.nvmlSystemGetDriverVersion()}: {what}")


def test_the_soft_cap_holds(card, capsys):
    booked = 6 * GIB
    words = softcap.allocator_words("", softcap.fraction(booked, card.total))
    env = dict(os.environ) | dict.fromkeys(softcap.VARIABLES, words)
    done = subprocess.run([TORCH, "-c", FILLS], env=env, capture_output=True, text=True, check=True)
    got = int(done.stdout)
    with capsys.disabled():
        say(card, f"booked {booked / GIB:.1f} GiB, PyTorch got {got / GIB:.2f} GiB")
    assert booked / 2 < got <= booked - softcap.CONTEXT + 2**27


def test_a_frozen_process_keeps_its_memory(card, holder, capsys):
    before, begun = card.used_by(holder.pid), time.monotonic()
    holder.send_signal(signal.SIGSTOP)
    wait_until(lambda: " T " in Path(f"/proc/{holder.pid}/stat").read_text(), what="the stop")
    with capsys.disabled():
        say(card, f"frozen in {time.monotonic() - begun:.3f} s, {before / GIB:.2f} GiB stay")
    assert card.used_by(holder.pid) == before > 4 * GIB


def test_a_swapped_out_process_leaves_its_card_and_comes_back(card, holder, capsys):
    if importlib.util.find_spec("cuda.core") is None:
        pytest.skip("cuda-core is not installed")
    from cuda.core.checkpoint import Process

    process, before, begun = Process(holder.pid), card.used_by(holder.pid), time.monotonic()
    process.lock(timeout_ms=10_000)
    process.checkpoint()
    wait_until(lambda: card.used_by(holder.pid) < 64 * 2**20, 15, "a reading without it")
    out, begun = time.monotonic() - begun, time.monotonic()
    process.restore()
    process.unlock()
    with capsys.disabled():
        say(
            card,
            f"{before / GIB:.2f} GiB out in {out:.2f} s, back in {time.monotonic() - begun:.2f} s",
        )
    assert holder.poll() is None
    assert holder.stdout.readline()


def test_the_mps_limit_holds_and_the_daemon_knows_its_client(card, tmp_path, capsys):
    if not mps.has_control():
        pytest.skip(f"{mps.CONTROL} is not on PATH")
    env = dict(os.environ) | {
        "CUDA_VISIBLE_DEVICES": card.uuid,
        "CUDA_MPS_PIPE_DIRECTORY": str(tmp_path / "pipe"),
        "CUDA_MPS_LOG_DIRECTORY": str(tmp_path / "log"),
    }
    for place in ("pipe", "log"):
        (tmp_path / place).mkdir()
    subprocess.run([mps.CONTROL, "-d"], env=env, check=True)
    try:
        limit = {"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"{card.uuid}=6144M"}
        done = subprocess.run(
            [TORCH, "-c", FILLS], env=env | limit, capture_output=True, text=True, check=True
        )
        servers = subprocess.run(
            [mps.CONTROL],
            env=env,
            input="get_server_list\n",
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        subprocess.run([mps.CONTROL], env=env, input="quit\n", text=True, check=True)
    with capsys.disabled():
        say(card, f"limit 6 GiB, PyTorch got {int(done.stdout) / GIB:.2f} GiB")
    assert servers.stdout.strip(), "it was served at all"
    assert int(done.stdout) <= 6 * GIB
