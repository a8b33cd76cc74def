"""Run beside a service: makes something of everything for the browser to look at, and prints where it is."""

from __future__ import annotations

import json
import os
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coop_site.settings")
django.setup()

from gpus.models import Device  # noqa: E402 - needs the line above
from jobs import datasets  # noqa: E402
from jobs.models import Job, User  # noqa: E402
from jobs.submission import submit  # noqa: E402

PATIENCE_S = 40.0
TRAIN = "python src/train.py --model m --dataset d --steps 3000 --step-seconds 0.2"
ROWS = [{"instruction": "What is one and one?", "input": "", "output": "Two."}] * 12


def main() -> None:
    """Make a dataset and a job in three states, wait for these, print the addresses as JSON."""
    lead = User.objects.get(username="lead")
    data = json.dumps(ROWS).encode()
    dataset = datasets.store(lead, name="sums", filename="sums.json", size=len(data), chunks=[data])
    jobs = {
        "running": hand_in(lead, "axe-running", TRAIN, "6G"),
        "failed": hand_in(lead, "axe-failed", "echo CUDA out of memory; false", "1G"),
        "waiting": hand_in(lead, "axe-waiting", "true", "78G"),
    }
    wait_for_state(jobs["failed"], "FAILED")
    wait_for_state(jobs["running"], "RUNNING")
    addresses = {name: f"/jobs/{job.pk}/" for name, job in jobs.items()}
    addresses |= {
        "dataset": f"/datasets/{dataset.pk}/",
        "card": f"/gpus/{Device.objects.order_by('index')[0].uuid}/",
    }
    print(json.dumps(addresses))


def hand_in(owner: User, task_id: str, command: str, memory: str) -> Job:
    task = (
        f"task_id: {task_id}\nresources:\n  min_memory: {memory}\n"
        f"command: {command}\nmax_attempts: 1\n"
    )
    return submit(task, owner).job


def wait_for_state(job: Job, state: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while Job.objects.get(pk=job.pk).state != state:
        assert time.monotonic() < deadline, f"{job} is not {state}"
        time.sleep(0.1)


if __name__ == "__main__":
    main()
