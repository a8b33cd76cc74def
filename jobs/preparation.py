"""What is made ready before an attempt starts: its folders, its files, its command and its whole environment.

Everything here is done again for every attempt and leads to the same result, so a dispatcher that died half-way is no
trouble. Nothing in `output/` is ever deleted: what would keep a run from going on is moved aside.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.utils.translation import gettext as _

from jobs import checkpoints, datasetstore, mps, rundir, softcap
from jobs.account import Account, job_account, make_home
from jobs.core.jobspec import JobSpec
from jobs.core.llamafactory import can_resume, can_save_when_told, prepare_config, train_argv
from jobs.core.problems import TaskFileError
from jobs.engines.base import AttemptLaunch
from jobs.jobenv import job_environment
from jobs.jobfolder import JobFolder
from jobs.models import Attempt, Job
from jobs.refs import ref_of
from jobs.refusals import Refused
from jobs.savesignal import saves_at_sigterm
from jobs.trainer import Trainer, find_trainer

CONFIG_FILE = "train.yaml"
DATA_FOLDER = "data"
OTHER_TRAINERS = ("USE_RAY", "USE_MCA", "USE_KT")
"""Switches of LLaMA-Factory to trainers that do not know how to save at SIGTERM."""


def prepare(attempt: Attempt) -> AttemptLaunch:
    """Make the attempt's folders and files ready, and say what is to be executed.

    Raises:
        Refused: the site lacks something (LLaMA-Factory, the account for jobs); says what to do.
        OSError: a file cannot be written.
    """
    job, account = attempt.job, job_account()
    spec = _spec_of(job)
    work, output = _folders(job, account)
    resume_from = _checkpoint_to_go_on_from(spec, output) if attempt.number > 1 else None
    # Without a name there is nothing to ask the database for, and a burst of short jobs is not slowed.
    names = _link_datasets(job, work) if spec.dataset else []
    argv, path = _command(spec, work, output, bool(names), attempt, resume_from)
    env = job_environment(
        attempt,
        spec,
        account=account,
        output=output,
        data=work / DATA_FOLDER if names else None,
        path=path,
        resume_from=resume_from,
    )
    return AttemptLaunch(
        ref=ref_of(attempt),
        argv=tuple(argv),
        env=env | _capped(attempt, spec, env, working_directory(spec, work)),
        cwd=str(working_directory(spec, work)),
        uid=account.uid if account else None,
        gid=account.gid if account else None,
        groups=account.groups if account else (),
        containment=settings.COOP_CONTAINMENT,
        time_limit_s=spec.time_limit,
    )


def _capped(attempt: Attempt, spec: JobSpec, env: dict[str, str], cwd: Path) -> dict[str, str]:
    """What keeps the attempt within its booking, which is noted where it does."""
    trainer = find_trainer(job_account()) if spec.command is None else None
    cap, added = mps.TRIED, mps.variables(attempt)
    if not added:
        cap, added = softcap.SOFT, softcap.variables(attempt, spec, env, trainer=trainer, cwd=cwd)
    cap = cap if added else ""
    if cap != attempt.cap:
        Attempt.objects.filter(pk=attempt.pk).update(cap=cap)
        attempt.cap = cap
    return added


def working_directory(spec: JobSpec, work: Path) -> Path:
    """Where the command runs: what the task says, else the site's folder for commands, else the job's own."""
    if spec.workdir:
        return Path(spec.workdir)
    if spec.command is not None and settings.COOP_WORKDIR:
        return Path(settings.BASE_DIR, Path(settings.COOP_WORKDIR).expanduser())
    return work


def _checkpoint_to_go_on_from(spec: JobSpec, output: Path) -> Path | None:
    config = spec.llamafactory
    resumes = not isinstance(config, dict) or can_resume(config)
    return checkpoints.prepare_to_resume(output, can_resume=resumes)


def _spec_of(job: Job) -> JobSpec:
    """The stored task, once more checked: an admin may have edited it, and one job must not stop all others."""
    try:
        return JobSpec.from_canonical(job.spec)
    except TaskFileError as error:
        raise Refused(
            code="task_invalid",
            title=_("The stored task is not valid"),
            detail=str(error),
            hint=_("Submit the job again."),
            problems=error.problems,
        ) from error


def _folders(job: Job, account: Account | None) -> tuple[Path, Path]:
    if account is None:
        return rundir.make_job_directories(settings.COOP_HOME, job.pk)
    make_home(account)
    return rundir.make_job_directories(settings.COOP_HOME, job.pk, uid=account.uid, gid=account.gid)


def _link_datasets(job: Job, work: Path) -> list[str]:
    try:
        return datasetstore.link_into(work, DATA_FOLDER, job.datasets.all())
    except FileNotFoundError as error:
        raise Refused(
            code="dataset_gone",
            title=_("The dataset's file is gone"),
            detail=_("The content of a dataset of this job is no longer in COOP_HOME/datasets."),
            hint=_("Upload the dataset again under the same name, and submit the job again."),
            status=500,
        ) from error


def _command(
    spec: JobSpec,
    work: Path,
    output: Path,
    has_dataset: bool,
    attempt: Attempt,
    resume_from: Path | None,
) -> tuple[list[str], str]:
    """The argument list, and a folder to put first on PATH ("" for none)."""
    if spec.command is not None:
        shell = shutil.which("bash", path=settings.COOP_JOB_PATH) or "/bin/bash"
        return [shell, "-c", spec.command], ""
    if not isinstance(spec.llamafactory, dict):
        raise Refused(
            code="config_missing",
            title=_("The training config is missing"),
            detail=_("The job names the config “%(name)s” but does not hold it.")
            % {"name": spec.llamafactory},
            hint=_("Submit the job again."),
        )
    trainer = find_trainer(job_account())
    saves = _saves_when_told(spec, spec.llamafactory, trainer)
    config = prepare_config(
        spec.llamafactory,
        output_dir=str(output),
        dataset_dir=str(work / DATA_FOLDER) if has_dataset else None,
        dataset=spec.dataset if has_dataset else None,
        first_run=attempt.number == 1,
        has_checkpoint=resume_from is not None,
        saves_when_told=saves,
    )
    if saves != attempt.saves_itself:
        Attempt.objects.filter(pk=attempt.pk).update(saves_itself=saves)
        attempt.saves_itself = saves
    _write_config(work, config)
    # A relative path where possible: LLaMA-Factory splits its torchrun command at spaces.
    same_folder = working_directory(spec, work) == work
    path = CONFIG_FILE if same_folder else str(work / CONFIG_FILE)
    return train_argv(trainer.argv, path), trainer.folder


def _saves_when_told(spec: JobSpec, config: Mapping[str, Any], trainer: Trainer) -> bool:
    other = any(spec.env.get(name, "0").lower() in {"1", "true", "y"} for name in OTHER_TRAINERS)
    return not other and can_save_when_told(config) and saves_at_sigterm(trainer)


def _write_config(work: Path, config: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(dict(config), allow_unicode=True, sort_keys=False)
    with JobFolder.open(work) as folder:
        folder.write(CONFIG_FILE, text.encode())
