"""What a job will need is said when it is handed in, and filled in where nobody has said it."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from jobs.api.estimating import EstimateAnswerOut
from jobs.api.schemas import PlanOut, SubmittedOut
from jobs.core.estimate.answer import estimate_of
from jobs.core.estimate.kind import memory_kind_of
from jobs.core.states import Outcome
from jobs.core.taskfile import parse_task
from jobs.core.template import template_of
from jobs.memory import local_config
from jobs.models import Allocation, Attempt, Job, TrainingConfig
from jobs.projects import default_project
from jobs.refusals import Refused
from jobs.submission import Submission, submit
from tests.jobs.apicalls import by_token, fits, problem
from tests.rows import GIB, a_device, a_running_job, a_user

pytestmark = pytest.mark.django_db

CONFIG = """\
model_name_or_path: {model}
stage: sft
do_train: true
finetuning_type: lora
dataset: alpaca
cutoff_len: 2048
per_device_train_batch_size: 1
"""
QWEN = CONFIG.format(model="Qwen/Qwen2.5-7B-Instruct")
TINY = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 305,
}


@pytest.fixture(autouse=True)
def card(db):
    return a_device()


def task(config: str = QWEN, resources: str = "", task_id: str = "t") -> str:
    inside = "".join(f"  {line}\n" for line in config.splitlines())
    needs = f"resources: {{{resources}}}\n" if resources else ""
    return f"task_id: {task_id}\n{needs}llamafactory:\n{inside}"


def hand_in(text: str, **options: object) -> Submission:
    return submit(text, a_user(), **options)  # type: ignore[arg-type]


def refusal(text: str) -> Refused:
    with pytest.raises(Refused) as caught:
        hand_in(text)
    return caught.value


def measured(
    card, text: str, peak: int, outcome: str = Outcome.SUCCEEDED, minutes: float = 1
) -> None:
    """An earlier run of the same task."""
    spec = parse_task(text).model_copy(update={"project": "default"})
    kinds = {"template": template_of(spec), "memory_kind": memory_kind_of(spec)}
    job, attempt = a_running_job(f"past-{Job.objects.count()}", device=card, memory=GIB)
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(**kinds, state="SUCCEEDED", finished_at=now)
    Attempt.objects.filter(pk=attempt.pk).update(
        started_at=now - timedelta(minutes=minutes), ended_at=now, outcome=outcome
    )
    Allocation.objects.filter(attempt=attempt).update(peak=peak, released_at=now)


# --- filled in ----------------------------------------------------------------------------------


def test_memory_that_nobody_named_is_filled_in_with_the_upper_end():
    done = hand_in(task())
    assert done.is_estimated
    assert done.estimate is not None
    assert done.job.min_memory == done.estimate.min_memory
    assert done.job.spec["resources"]["min_memory"] == done.job.min_memory
    assert done.estimate.likely < 23 * GIB < 2 * done.estimate.likely


def test_memory_that_is_named_stays_as_it_is():
    done = hand_in(task(resources="min_memory: 40G"))
    assert (done.job.min_memory, done.is_estimated, done.warnings) == (40 * GIB, False, ())


def test_a_config_that_is_given_by_name_is_estimated_too():
    TrainingConfig.objects.create(
        project=default_project(),
        owner=a_user(),
        name="lora.yaml",
        content={"model_name_or_path": "qwen-7b", "do_train": True, "dataset": "a"},
    )
    assert hand_in("task_id: t\nllamafactory: lora.yaml\n").is_estimated


def test_what_is_learned_meanwhile_makes_the_same_task_no_other_one(card):
    first = hand_in(task())
    measured(card, task(), 9 * GIB)
    again = hand_in(task())
    assert (again.created, again.job.pk) == (False, first.job.pk)


def test_a_size_that_only_just_does_not_fit_gets_a_whole_card():
    done = hand_in(task(QWEN.replace("lora", "full") + "pure_bf16: true\n"))
    assert done.estimate is not None
    assert done.estimate.high > done.job.min_memory >= done.estimate.likely


def test_what_no_card_can_hold_is_refused_with_the_estimate():
    no = refusal(task(CONFIG.format(model="Qwen/Qwen2.5-72B") + "bf16: true\n"))
    assert no.code == "never_fits"
    assert "LoRA of Qwen2.5-72B" in no.detail


# --- what cannot be told ------------------------------------------------------------------------


def test_an_unknown_model_needs_a_named_size_and_the_refusal_says_what_is_missing():
    no = refusal(task(CONFIG.format(model="acme/secret-9b")))
    (found,) = no.problems
    assert found.field == "resources.min_memory"
    assert "'acme/secret-9b' is not known" in found.message
    assert "config.json" in found.hint


def test_an_unknown_model_with_a_named_size_is_accepted():
    done = hand_in(task(CONFIG.format(model="acme/secret-9b"), "min_memory: 20G"))
    assert (done.job.min_memory, done.estimate) == (20 * GIB, None)


def test_every_problem_of_the_config_is_told_beside_the_missing_size():
    no = refusal(task("stage: dance\n"))
    assert {"llamafactory.stage", "resources.min_memory"} <= {each.field for each in no.problems}


# --- too little ---------------------------------------------------------------------------------


def test_a_size_below_the_lower_end_is_accepted_with_a_warning():
    done = hand_in(task(resources="min_memory: 8G"))
    (warned,) = done.warnings
    assert warned.code == "memory_below_estimate"
    assert "8 GiB" in warned.detail
    assert "formula" in warned.detail


def test_a_command_whose_earlier_runs_needed_more_is_warned(card):
    text = "task_id: t\nresources: {min_memory: 8G}\ncommand: python train.py\n"
    assert hand_in(text, project="default").warnings == ()
    Job.objects.all().delete()
    measured(card, text, 12 * GIB)
    (warned,) = hand_in(text).warnings
    assert "12 GiB" in warned.detail


# --- learned ------------------------------------------------------------------------------------


def test_the_largest_measured_peak_wins_over_the_formula(card):
    measured(card, task(), 9 * GIB)
    measured(card, task(), 10 * GIB)
    done = hand_in(task())
    assert done.estimate is not None
    assert (done.estimate.source, done.estimate.runs, done.estimate.low) == ("learned", 2, 10 * GIB)
    assert done.job.min_memory == 13 * GIB


def test_a_run_that_failed_at_once_teaches_nothing(card):
    measured(card, task(), 2 * GIB, Outcome.FAILED)
    found = hand_in(task()).estimate
    assert found is not None
    assert found.source == "formula"


def test_a_run_that_was_stopped_after_a_while_teaches(card):
    measured(card, task(), 9 * GIB, Outcome.CANCELLED, minutes=6)
    found = hand_in(task()).estimate
    assert found is not None
    assert found.source == "learned"


def test_another_length_is_another_kind(card):
    measured(card, task(), 9 * GIB)
    found = hand_in(task(QWEN.replace("2048", "1024"))).estimate
    assert found is not None
    assert found.source == "formula"


def test_the_peaks_are_told_with_their_number_and_range(card):
    for peak in (11.2, 11.6, 12.0):
        measured(card, task(), round(peak * GIB))
    told = fits(PlanOut, by_token(a_user()).post("/api/v1/jobs?dry_run=true", task()))["estimate"]
    assert "learned from 3 runs of this kind: 11.2-12 GiB" in told["sentence"]
    assert (told["runs"], told["least_peak_bytes"]) == (3, round(11.2 * GIB))
    assert told["peak_bytes"] == 12 * GIB


def test_runs_with_other_data_teach_but_leave_room_for_longer_rows(card):
    measured(card, task(QWEN.replace("alpaca", "short_rows")), 9 * GIB)
    formula = estimate_of({"model_name_or_path": "qwen2.5-7b", "per_device_train_batch_size": 1})
    found = hand_in(task()).estimate
    assert found is not None
    assert (found.source, found.low, found.other_data) == ("learned", 9 * GIB, True)
    assert found.high == formula.likely > 1.3 * 9 * GIB
    told = by_token(a_user()).post("/api/v1/estimate", QWEN).json()["sentence"]
    assert "learned from 1 run of this kind with other data: 9 GiB" in told


def test_the_same_data_count_before_other_data(card):
    measured(card, task(QWEN.replace("alpaca", "short_rows")), 9 * GIB)
    measured(card, task(), 11 * GIB)
    found = hand_in(task()).estimate
    assert found is not None
    assert (found.low, found.runs, found.other_data) == (11 * GIB, 1, False)


@pytest.mark.parametrize(
    "change", ["quantization_bit: 4\n", "pure_bf16: true\n", "lora_rank: 64\n"]
)
def test_what_changes_memory_is_another_kind(card, change):
    measured(card, task(), 9 * GIB)
    found = hand_in(task(QWEN + change, "min_memory: 70G")).estimate
    assert found is None or found.source == "formula"


def test_an_unknown_model_is_known_once_it_has_run(card):
    text = task(CONFIG.format(model="acme/secret-9b"))
    measured(card, text, 10 * GIB)
    assert hand_in(text).job.min_memory == 13 * GIB


# --- a model on this machine --------------------------------------------------------------------


def test_a_models_config_on_this_machine_is_read(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(TINY), encoding="utf-8")
    done = hand_in(task(CONFIG.format(model=tmp_path)))
    assert done.estimate is not None
    assert done.estimate.parameters < 10**6
    assert done.job.min_memory == 3 * GIB


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"hidden_size": 1}', "\0"])
def test_what_describes_no_model_is_none(tmp_path: Path, content: str):
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    assert local_config(str(tmp_path)) is None


def test_a_pipe_is_no_config_and_keeps_nobody_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "config.json")
    assert local_config(str(tmp_path)) is None


@pytest.mark.parametrize("path", ["relative", "/nowhere", None, 7])
def test_only_a_folder_with_a_config_is_a_model(path: object):
    assert local_config(path) is None


# --- by API -------------------------------------------------------------------------------------


def test_the_answer_to_a_submit_says_what_was_filled_in():
    response = by_token(a_user()).post("/api/v1/jobs", task())
    told = fits(SubmittedOut, response)["estimate"]
    assert response.status_code == 201
    assert told["sentence"].startswith("min_memory 2")
    assert "LoRA of Qwen2.5-7B-Instruct; formula, ±20 %" in told["sentence"]


def test_a_dry_run_says_it_too():
    told = fits(PlanOut, by_token(a_user()).post("/api/v1/jobs?dry_run=true", task()))
    assert told["estimate"]["min_memory_bytes"] == told["resources"]["min_memory_bytes"]
    assert not Job.objects.exists()


def test_a_bare_config_gets_an_estimate_and_the_cards_that_have_room():
    told = fits(EstimateAnswerOut, by_token(a_user()).post("/api/v1/estimate", QWEN))
    assert told["low_bytes"] < told["likely_bytes"] < told["high_bytes"] <= told["min_memory_bytes"]
    assert sum(part["bytes"] for part in told["parts"]) == told["likely_bytes"]
    assert (told["source"], told["parameters"]) == ("formula", 7_615_616_512)
    assert told["fits_now"] == ["gpu0"]


def test_a_config_may_come_as_json():
    body = {"model_name_or_path": "qwen-7b", "quantization_bit": 4}
    told = by_token(a_user()).post("/api/v1/estimate", body).json()
    assert told["method"] == "QLoRA"


def test_a_task_gets_an_estimate_even_where_no_card_can_hold_it():
    config = CONFIG.format(model="Qwen/Qwen2.5-72B")
    told = by_token(a_user()).post("/api/v1/estimate", task(config)).json()
    assert told["fits_now"] == []
    assert told["cards"][0]["code"] == "NEVER_FITS"


def test_cards_share_what_deepspeed_spreads():
    config = QWEN + "deepspeed: ds_z3_config.json\n"
    ask = by_token(a_user()).post
    one = ask("/api/v1/estimate", config).json()
    four = ask("/api/v1/estimate?gpus=4", config).json()
    assert four["likely_bytes"] < one["likely_bytes"]


def test_an_unknown_model_is_refused_by_code():
    body = {"model_name_or_path": "acme/secret-9b"}
    problem(by_token(a_user()).post("/api/v1/estimate", body), 422, "estimate_unknown")


@pytest.mark.parametrize("body", ["", "- 1\n", "a: [\n", "task_id: t\n"])
def test_what_is_neither_task_nor_config_is_refused(body: str):
    assert by_token(a_user()).post("/api/v1/estimate", body).status_code == 422
