from __future__ import annotations

import pytest

from jobs import lifecycle
from jobs.core.states import JobState
from jobs.models import Dataset, Job, Membership, Project, Quota, TrainingConfig
from jobs.projects import default_project, join
from jobs.refusals import Refused
from jobs.submission import Submission, submit
from tests.rows import GIB, a_device, a_running_job, a_user, an_admin

pytestmark = pytest.mark.django_db

ARTICLE = """\
task_id: finetune_qwen_001
priority: high
resources:
  min_memory: 16G
  gpu_type: A100
command: |
  python src/train.py --model qwen-7b --method lora --dataset my_data
"""


def task(task_id: str = "t", command: str = "true", **lines: str) -> str:
    extra = "".join(f"{name}: {value}\n" for name, value in lines.items())
    return f"task_id: {task_id}\nresources: {{min_memory: 1G}}\ncommand: {command}\n{extra}"


def refusal(text: str, **options: object) -> Refused:
    with pytest.raises(Refused) as caught:
        submit(text, options.pop("user", None) or a_user(), **options)  # type: ignore[arg-type]
    return caught.value


def test_the_articles_task_file_becomes_a_queued_job() -> None:
    a_device()
    done = submit(ARTICLE, a_user())
    job = Job.objects.get(pk=done.job.pk)
    assert done.created
    assert (job.task_id, job.run, job.priority, job.state) == (
        "finetune_qwen_001",
        1,
        2,
        JobState.QUEUED,
    )
    assert (job.min_memory, job.gpu_type, job.project.slug) == (16 * GIB, "A100", "default")


def test_the_same_task_handed_in_twice_is_one_job() -> None:
    first = submit(task(), a_user())
    second = submit(task(), a_user())
    assert (second.created, second.job.pk) == (False, first.job.pk)
    assert Job.objects.count() == 1


def test_another_content_under_an_active_task_id_is_refused_with_the_job_named() -> None:
    first = submit(task(), a_user())
    no = refusal(task(command="false"))
    assert (no.code, no.status, no.extra["job"]) == ("task_id_in_use", 409, first.job.pk)


def test_a_task_id_that_has_ended_makes_a_new_run() -> None:
    first = submit(task(), a_user())
    Job.objects.filter(pk=first.job.pk).delete()
    ended = _ended(submit(task(), a_user()))
    again = submit(task(), a_user())
    assert (again.created, again.job.run) == (True, ended.run + 1)


def test_two_projects_may_use_the_same_task_id() -> None:
    other = Project.objects.create(slug="vision", name="Vision")
    user = a_user()
    join(user, other)
    here = submit(task(), user, project="default")
    there = submit(task(), user, project="vision")
    assert here.job.pk != there.job.pk
    assert there.job.project == other


def test_a_task_goes_to_the_only_project_of_its_submitter() -> None:
    vision = Project.objects.create(slug="vision", name="Vision")
    user = a_user("eve", role=None)
    join(user, vision)
    assert submit(task(), user).job.project == vision


def test_a_project_that_is_not_open_to_the_submitter_is_refused_with_those_that_are() -> None:
    Project.objects.create(slug="vision", name="Vision")
    no = refusal(task(), project="vision")
    assert (no.code, no.status) == ("project_not_open_to_you", 403)
    assert "default" in no.detail


def test_a_viewer_may_not_submit() -> None:
    assert refusal(task(), user=a_user("viewer", role=Membership.Role.VIEWER)).status == 403


def test_a_wrong_task_names_line_field_and_what_is_allowed() -> None:
    no = refusal("task_id: a\nresources:\n  min_memory: 16X\ncommand: true\n")
    assert no.code == "task_invalid"
    assert [(each.line, each.field) for each in no.problems] == [(3, "resources.min_memory")]


def test_more_memory_than_any_card_has_is_refused_with_the_largest_card_named() -> None:
    a_device(name="NVIDIA A100-SXM4-80GB")
    no = refusal("task_id: a\nresources: {min_memory: 600G}\ncommand: true\n")
    assert no.code == "never_fits"
    assert "600 GiB" in no.detail
    assert "A100" in no.detail


def test_an_impossible_job_is_kept_when_the_submitter_insists() -> None:
    a_device()
    text = "task_id: a\nresources: {min_memory: 600G}\ncommand: true\n"
    done = submit(text, a_user(), keep_impossible=True)
    assert [warned.code for warned in done.warnings] == ["never_fits"]


TWO_CARDS = "task_id: a\nresources: {min_memory: 16G, gpus: 2}\ncommand: true\n"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"limit_cards": 1}, "Asks for 2 (cards); the quota of its project is 1."),
        (
            {"limit_memory": 16 * GIB},
            "Asks for 32 GiB (memory); the quota of its project is 16 GiB.",
        ),
        ({"limit_running": 0}, "Asks for 1 (running jobs); the quota of its project is 0."),
    ],
)
def test_more_than_the_projects_quota_can_ever_allow_is_refused(limit, said) -> None:
    Quota.objects.create(project=default_project(), **limit)
    no = refusal(TWO_CARDS)
    assert (no.code, no.status, no.detail) == ("over_project_quota", 422, said)


def test_more_than_one_person_may_ever_have_is_refused_for_that_person_only() -> None:
    Quota.objects.create(project=default_project(), user=a_user("member"), limit_cards=1)
    no = refusal(TWO_CARDS, user=a_user("member"))
    assert no.code == "over_project_quota"
    assert "one person may have 1 in its project (member)" in no.detail
    assert submit(TWO_CARDS, a_user("other")).created


def test_a_quota_that_is_only_used_up_refuses_nothing() -> None:
    Quota.objects.create(project=default_project(), limit_cards=2)
    a_running_job("holder", device=a_device())
    assert submit(TWO_CARDS, a_user(), keep_impossible=True).created


def test_a_job_above_the_quota_is_kept_when_the_submitter_insists() -> None:
    Quota.objects.create(project=default_project(), limit_cards=1)
    done = submit(TWO_CARDS, a_user(), keep_impossible=True)
    assert [warned.code for warned in done.warnings] == ["over_project_quota"]


def test_a_card_type_that_is_not_here_is_refused_with_those_that_are() -> None:
    a_device(name="NVIDIA A100-SXM4-80GB")
    no = refusal("task_id: a\nresources: {min_memory: 1G, gpu_type: H100}\ncommand: true\n")
    assert no.code == "no_such_gpu_type"
    assert "A100" in no.detail


def test_an_unknown_dataset_is_refused_with_those_that_are_there() -> None:
    _dataset("poems", "a" * 64)
    no = refusal(task(dataset="poem"))
    assert no.code == "dataset_missing"
    assert "poems" in no.detail


def test_the_newest_version_of_a_dataset_is_pinned() -> None:
    _dataset("poems", "a" * 64)
    newest = _dataset("poems", "b" * 64, version=2)
    assert list(submit(task(dataset="poems"), a_user()).job.datasets.all()) == [newest]


def test_the_same_task_with_a_new_version_of_its_dataset_is_another_content() -> None:
    _dataset("poems", "a" * 64)
    submit(task(dataset="poems"), a_user())
    _dataset("poems", "b" * 64, version=2)
    assert refusal(task(dataset="poems")).code == "task_id_in_use"


def test_a_training_config_given_by_name_is_pinned_as_it_is_now() -> None:
    config = {"model_name_or_path": "m", "stage": "sft", "do_train": True, "dataset": "x"}
    config |= {"finetuning_type": "lora", "template": "default"}
    TrainingConfig.objects.create(
        project=default_project(), name="lora.yaml", owner=a_user(), content=config
    )
    text = "task_id: a\nresources: {min_memory: 1G}\nllamafactory: lora.yaml\n"
    assert submit(text, a_user()).job.spec["llamafactory"] == config


def test_a_llamafactory_job_with_an_unknown_model_needs_its_memory_named() -> None:
    text = "task_id: a\nllamafactory: {model_name_or_path: m, stage: sft, do_train: true, dataset: x}\n"
    no = refusal(text)
    assert "resources.min_memory" in [problem.field for problem in no.problems]


def test_a_job_waits_for_what_it_depends_on() -> None:
    submit(task("first"), a_user())
    second = submit(task("second", depends_on="[first]"), a_user())
    assert (second.job.state, second.job.wait_code) == (JobState.HELD, "DEPENDENCY")


def test_an_admin_may_submit_anywhere() -> None:
    Project.objects.create(slug="vision", name="Vision")
    assert submit(task(), an_admin(), project="vision").created


def _ended(done: Submission) -> Job:
    assert lifecycle.cancel(done.job, a_user())
    return done.job


def _dataset(name: str, sha256: str, version: int = 1) -> Dataset:
    return Dataset.objects.create(
        project=default_project(),
        name=name,
        version=version,
        owner=a_user(),
        sha256=sha256,
        extension="json",
        format="alpaca",
        rows=1,
        size=1,
    )
