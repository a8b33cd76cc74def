"""The environment of a job, built from a list of what is allowed: nothing of the service's own slips through."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path

from django.conf import settings

from gpus.models import Node
from gpus.readings import SIMULATED
from jobs import rundir
from jobs.account import Account, can_use
from jobs.core.jobspec import JobSpec
from jobs.core.llamafactory import needs_torchrun
from jobs.models import Attempt

PASSED_ON = (
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
"""Variables of the service that jobs get as well, where they are set. All others stay behind."""


def job_environment(
    attempt: Attempt,
    spec: JobSpec,
    *,
    account: Account | None,
    output: Path,
    data: Path | None,
    path: str,
    resume_from: Path | None,
) -> dict[str, str]:
    """The complete environment of an attempt.

    What the task's `env` says wins over the machine's part, never over ours: `LLAMA_COOP_*` and the cards.
    """
    machine = _machine_part(account, path) | _trainer_part(spec)
    ours = _task_part(attempt) | _cards_part(attempt) | {"LLAMA_COOP_OUTPUT_DIR": str(output)}
    if data is not None and spec.dataset:
        ours |= {"LLAMA_COOP_DATASET_DIR": str(data), "LLAMA_COOP_DATASET": spec.dataset}
    if resume_from is not None:
        ours["LLAMA_COOP_RESUME_FROM"] = str(resume_from)
    return machine | spec.env | ours


def service_url() -> str:
    """Where jobs of this machine reach the service."""
    if settings.COOP_PUBLIC_URL:
        return str(settings.COOP_PUBLIC_URL).rstrip("/")
    everywhere = settings.COOP_HOST in {"0.0.0.0", "::", ""}  # noqa: S104 - compared, not bound
    host = "127.0.0.1" if everywhere else settings.COOP_HOST
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.COOP_PORT}"


def _machine_part(account: Account | None, path: str) -> dict[str, str]:
    user = account.name if account else os.environ.get("USER", "")
    home = account.home if account else str(Path.home())
    passed = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    folders = [path, settings.COOP_JOB_PATH, python_folder(account)]
    return {
        "LANG": "C.UTF-8",
        **passed,
        "PATH": ":".join(folder for folder in folders if folder),
        "HOME": home,
        "SHELL": "/bin/bash",
        "PYTHONUNBUFFERED": "1",  # a log that is watched live
        **({"USER": user, "LOGNAME": user} if user else {}),
    }


def _trainer_part(spec: JobSpec) -> dict[str, str]:
    if not isinstance(spec.llamafactory, dict):
        return {}
    forced = {"FORCE_TORCHRUN": "1"} if needs_torchrun(spec.llamafactory) else {}
    return {"RECORD_VRAM": "1"} | forced


def _task_part(attempt: Attempt) -> dict[str, str]:
    job = attempt.job
    return {
        "LLAMA_COOP_URL": service_url(),
        "LLAMA_COOP_PROJECT": job.project.slug,
        "LLAMA_COOP_JOB_ID": job.pk,
        "LLAMA_COOP_TASK_ID": job.task_id,
        "LLAMA_COOP_RUN": str(job.run),
    }


def _cards_part(attempt: Attempt) -> dict[str, str]:
    """By UUID, never by index: indices change with a reboot and with another CUDA_DEVICE_ORDER."""
    booked = sorted(attempt.allocations.all(), key=lambda allocation: allocation.device.index)
    told = {
        "CUDA_VISIBLE_DEVICES": ",".join(allocation.device.uuid for allocation in booked),
        "LLAMA_COOP_GPUS": str(len(booked)),
        "LLAMA_COOP_MEMORY_BYTES": str(min((each.booked for each in booked), default=0)),
    }
    if is_simulated(attempt.node):
        directory = rundir.attempt_directory(settings.COOP_HOME, attempt.job_id, attempt.number)
        told["LLAMA_COOP_SIM_USAGE"] = str(directory / rundir.SIM_USAGE)
    return told


def is_simulated(node: Node) -> bool:
    """Whether the node's cards are simulated ones, which ask jobs what they use."""
    return node.source == SIMULATED


def python_folder(account: Account | None) -> str:
    """A folder in which `python` is the system's python3, for machines that know only the longer name, else "".

    Debian has no `python`, and task files written elsewhere say `python train.py`.
    """
    return _python_folder(account, settings.COOP_JOB_PATH, settings.COOP_HOME)


@cache
def _python_folder(account: Account | None, path: str, home: Path) -> str:
    if shutil.which("python", path=path):
        return ""
    found = shutil.which("python3", path=path) or sys.executable
    if not can_use(account, Path(found)):
        return ""
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    temporary = folder / f".python.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(found)
    temporary.replace(folder / "python")
    return str(folder)
