"""`manage.py coopdemo`: invented projects and people with jobs in every lasting state, through the real code paths.

Everything is handed in by `submission` and steered by `actions`, to a service that runs and has simulated cards.
Names are roles, not persons. Safe to repeat: what is there already stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gpus.models import Device, Node
from gpus.readings import SIMULATED
from jobs import actions, datasets
from jobs.core.states import TERMINAL, JobState
from jobs.models import Dataset, Job, Membership, Project, Quota, User
from jobs.projects import join
from jobs.signin import link_for
from jobs.submission import submit

GIB = 2**30
PATIENCE_S = 90.0
LOADED_AFTER = 4
"""Steps after which the stand-in trainer holds all the memory that it will hold."""

PROJECTS = {
    "chat-models": ("Chat models", 2.0, {"limit_running": 6, "limit_memory": 160 * GIB}),
    "translation": ("Translation", 1.0, {"guarantee_cards": 1, "limit_running": 4}),
}
MEMBERS = {
    "chat-models": {"lead-1": "lead", "researcher-1": "member", "researcher-2": "member"},
    "translation": {"lead-2": "lead", "researcher-3": "member", "reviewer-1": "viewer"},
}


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """One job of the demo: what is handed in, and where it shall be in the end."""

    task_id: str
    owner: str
    project: str
    memory: str
    state: JobState
    gpu_type: str = ""
    priority: str = "medium"
    flags: str = "--steps 4000 --step-seconds 1.5 --save-steps 500"

    def task(self) -> str:
        kind = f"\n  gpu_type: {self.gpu_type}" if self.gpu_type else ""
        model = self.task_id.partition("_")[0]
        return (
            f"task_id: {self.task_id}\npriority: {self.priority}\n"
            f"resources:\n  min_memory: {self.memory}{kind}\n"
            f"command: python src/train.py --model {model} --dataset my_data {self.flags}\n"
        )


_S = JobState
_CHAT1 = {"owner": "researcher-1", "project": "chat-models"}
_CHAT2 = {"owner": "researcher-2", "project": "chat-models"}
_TRANS = {"owner": "researcher-3", "project": "translation"}
_SHORT = "--steps 20 --step-seconds 0.1"

ENDED = (
    _Wish(task_id="qwen-7b_first-try", memory="16G", state=_S.SUCCEEDED, flags=_SHORT, **_CHAT1),
    _Wish(task_id="glm-9b_baseline", memory="18G", state=_S.SUCCEEDED, flags=_SHORT, **_TRANS),
    _Wish(
        task_id="qwen-7b_bad-rows",
        memory="16G",
        state=_S.FAILED,
        flags=f"{_SHORT} --fail-at 7",
        **_CHAT2,
    ),
)
LASTING = (
    _Wish(task_id="qwen-14b_sft", memory="40G", state=_S.RUNNING, gpu_type="A100", **_CHAT1),
    _Wish(task_id="qwen-7b_lora", memory="16G", state=_S.RUNNING, gpu_type="A100", **_CHAT2),
    _Wish(task_id="nllb_zh-en", memory="30G", state=_S.RUNNING, gpu_type="A100", **_TRANS),
    _Wish(task_id="glossary_lora", memory="12G", state=_S.RUNNING, gpu_type="RTX4090", **_TRANS),
    _Wish(task_id="llama-8b_paused", memory="14G", state=_S.SUSPENDED, gpu_type="A100", **_CHAT1),
    _Wish(task_id="qwen-7b_mistake", memory="10G", state=_S.CANCELLED, gpu_type="A100", **_CHAT2),
    _Wish(task_id="qwen-32b_dpo", memory="64G", state=_S.QUEUED, priority="high", **_CHAT1),
    _Wish(task_id="glossary_large", memory="18G", state=_S.QUEUED, gpu_type="RTX4090", **_TRANS),
    _Wish(task_id="glm-9b_later", memory="20G", state=_S.HELD, **_TRANS),
)


class Command(BaseCommand):
    """Fills a demo."""

    help = (
        "Fill this site with invented projects, people, datasets and jobs (simulated cards only)."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_real_cards()
        _make_projects()
        _make_datasets()
        for wish in ENDED:
            self._fulfil(wish)
        for wish in LASTING:
            self._fulfil(wish)
        link = link_for(User.objects.get(username="researcher-1"))
        self.stdout.write(f"The demo is filled. Sign in as one of its researchers:\n    {link}")

    def _fulfil(self, wish: _Wish) -> None:
        job = Job.objects.filter(task_id=wish.task_id, project__slug=wish.project).first()
        if job is None:
            owner = User.objects.get(username=wish.owner)
            job = submit(wish.task(), owner, project=wish.project, door="form").job
            _lead_to(job, owner, wish.state)
        job.refresh_from_db()
        self.stdout.write(f"  {job}: {job.state}")


def _refuse_real_cards() -> None:
    """Jobs that only pretend would take memory of real cards away from people."""
    _until(Device.objects.exists, "the cards; is the service running?")
    if Node.objects.exclude(source=SIMULATED).exists():
        raise CommandError(
            "This site has real cards. A demo needs simulated ones: use `make demo`, which has a COOP_HOME of its own."
        )


def _make_projects() -> None:
    for slug, (name, weight, quota) in PROJECTS.items():
        defaults = {"name": name, "weight": weight}
        project, _created = Project.objects.get_or_create(slug=slug, defaults=defaults)
        Quota.objects.get_or_create(project=project, user=None, defaults=quota)
        for username, role in MEMBERS[slug].items():
            join(_person(username), project, Membership.Role(role))


def _person(username: str) -> User:
    user, created = User.objects.get_or_create(username=username)
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def _make_datasets() -> None:
    _store("chat-models", "researcher-1", "arithmetic", _sums())
    _store("translation", "researcher-3", "greetings", _greetings())


def _store(project: str, owner: str, name: str, rows: Iterator[dict[str, Any]]) -> None:
    if Dataset.objects.filter(project__slug=project, name=name).exists():
        return
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    datasets.store(
        User.objects.get(username=owner),
        name=name,
        filename=f"{name}.jsonl",
        size=len(content),
        chunks=[content],
        project=project,
    )


def _sums() -> Iterator[dict[str, Any]]:
    """Rows of the alpaca format."""
    for a in range(20):
        for b in range(10):
            yield {"instruction": f"What is {a} plus {b}?", "input": "", "output": str(a + b)}


def _greetings() -> Iterator[dict[str, Any]]:
    """Rows of the sharegpt format."""
    for english, chinese in (
        ("Good morning", "早上好"),
        ("Thank you", "谢谢"),
        ("Goodbye", "再见"),
    ):
        question = {"from": "human", "value": f"Translate: {english}"}
        yield {"conversations": [question, {"from": "gpt", "value": chinese}]}


def _lead_to(job: Job, owner: User, wanted: JobState) -> None:
    """Do what a person would do to bring the job there, and wait until it is."""
    if wanted == JobState.HELD:
        actions.pause(job, owner)
    if wanted in {JobState.SUSPENDED, JobState.CANCELLED}:
        _until(lambda: _steps(job) >= LOADED_AFTER, f"the first steps of {job}")
    if wanted == JobState.SUSPENDED:
        actions.pause(job, owner, keep_memory=True)
    if wanted == JobState.CANCELLED:
        actions.cancel(job, owner)
    if wanted != JobState.QUEUED:
        _until(lambda: _state(job) in {wanted, *TERMINAL}, f"{job} being {wanted}")


def _steps(job: Job) -> int:
    job.refresh_from_db(fields=["progress"])
    return int(job.progress.get("step") or 0)


def _state(job: Job) -> JobState:
    job.refresh_from_db(fields=["state"])
    return JobState(job.state)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise CommandError(f"Waited {PATIENCE_S:.0f} s in vain for {what}.")
        time.sleep(0.2)
