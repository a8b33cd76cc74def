"""What an attempt finds when it starts: its folders, its files, its command, and an environment from a list."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from gpus.models import Node
from jobs import account, datasets, jobenv
from jobs.engines.local import LocalEngine
from jobs.models import Attempt
from jobs.preparation import prepare
from jobs.refs import ref_of
from jobs.refusals import Refused
from tests.rows import GIB, a_device, a_started_job, a_user
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db

ARTICLE = Path(__file__).parents[2] / "examples" / "article"
CONFIG = {
    "model_name_or_path": "/models/tiny",
    "do_train": True,
    "dataset": "identity",
    "output_dir": "saves/mine",
    "overwrite_output_dir": True,
    "learning_rate": 1e-05,
}
ROW = {"instruction": "Add.", "input": "", "output": "3"}


@pytest.fixture(autouse=True)
def home(tmp_path, settings):
    """A COOP_HOME that no other account reaches, so that jobs run as the service itself."""
    settings.COOP_HOME = tmp_path
    return tmp_path


@pytest.fixture
def open_home(settings) -> Iterator[Path]:
    """A COOP_HOME that every account can pass through, as `make run` makes it."""
    folder = Path(tempfile.mkdtemp(prefix="coop-open-"))
    folder.chmod(0o711)
    settings.COOP_HOME = folder
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def trainer(tmp_path, settings) -> Path:
    """A virtual environment with a llamafactory-cli that does nothing."""
    program = tmp_path / "venv" / "bin" / "llamafactory-cli"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    settings.COOP_LLAMAFACTORY = str(tmp_path / "venv")
    return program


def started(number: int = 1, **spec: object) -> Attempt:
    device = a_device(name="NVIDIA A100-SXM4-80GB")
    _, attempt = a_started_job("job-1", device=device, **spec)
    if number != attempt.number:
        Attempt.objects.filter(pk=attempt.pk).update(number=number)
        attempt.refresh_from_db()
    return attempt


def folder_of(home: Path, attempt: Attempt) -> Path:
    return home / "jobs" / attempt.job_id


def config_of(home: Path, attempt: Attempt) -> dict:
    return yaml.safe_load((folder_of(home, attempt) / "work" / "train.yaml").read_text())


# --- commands ---------------------------------------------------------------------------------------


def test_a_command_runs_by_bash_in_its_own_folder(home):
    attempt = started(command="echo 'a b' | cat")
    launch = prepare(attempt)
    assert launch.argv[1:] == ("-c", "echo 'a b' | cat")
    assert launch.argv[0].endswith("/bash")
    assert launch.cwd == str(folder_of(home, attempt) / "work")
    assert launch.ref == ref_of(attempt)
    assert (folder_of(home, attempt) / "output").is_dir()


def test_the_site_may_say_where_commands_run(settings, home):
    settings.COOP_WORKDIR = "examples/article"
    assert prepare(started()).cwd == str(ARTICLE)


def test_the_task_may_say_where_it_runs(settings):
    settings.COOP_WORKDIR = "/elsewhere"
    assert prepare(started(workdir="/data/me")).cwd == "/data/me"


def test_the_time_limit_is_handed_on():
    assert prepare(started(time_limit=90.0)).time_limit_s == 90.0


def test_preparing_again_leads_to_the_same_launch():
    attempt = started()
    assert prepare(attempt) == prepare(attempt)


def test_a_stored_task_that_is_not_valid_any_more_is_refused_not_raised():
    attempt = started()
    attempt.job.spec = {"task_id": "x"}
    with pytest.raises(Refused, match="neither command nor llamafactory"):
        prepare(attempt)


# --- environment ------------------------------------------------------------------------------------


def test_nothing_of_the_services_environment_slips_through(monkeypatch, settings):
    for name in (
        "COOP_SECRET_KEY",
        "COOP_AUTH_TOKEN",
        "LLAMA_COOP_TOKEN",
        "DJANGO_SETTINGS_MODULE",
    ):
        monkeypatch.setenv(name, "canary")
    for name in (
        "AWS_SECRET_ACCESS_KEY",
        "LD_PRELOAD",
        "PYTHONPATH",
        "RANK",
        "MASTER_ADDR",
        "NNODES",
    ):
        monkeypatch.setenv(name, "canary")
    env = prepare(started()).env
    assert "canary" not in json.dumps(env)
    assert settings.SECRET_KEY not in json.dumps(env)


def test_the_environment_names_the_job_and_its_cards(home):
    attempt = started()
    env = prepare(attempt).env
    expected = {
        "LLAMA_COOP_JOB_ID": attempt.job_id,
        "LLAMA_COOP_TASK_ID": "job-1",
        "LLAMA_COOP_RUN": "1",
        "LLAMA_COOP_PROJECT": "default",
        "LLAMA_COOP_URL": "http://127.0.0.1:8900",
        "LLAMA_COOP_GPUS": "1",
        "LLAMA_COOP_MEMORY_BYTES": str(14 * GIB),
        "LLAMA_COOP_OUTPUT_DIR": str(folder_of(home, attempt) / "output"),
        "CUDA_VISIBLE_DEVICES": "GPU-test-0",
        "PYTHONUNBUFFERED": "1",
    }
    assert {name: env[name] for name in expected} == expected
    assert not [name for name in env if name.startswith("COOP_")]
    assert "LLAMA_COOP_DATASET" not in env
    assert "LLAMA_COOP_SIM_USAGE" not in env


def test_a_simulated_card_asks_the_job_what_it_uses(home):
    Node.objects.create(name="node-a", source="simulated")
    attempt = started()
    usage = prepare(attempt).env["LLAMA_COOP_SIM_USAGE"]
    assert usage == str(folder_of(home, attempt) / "attempts" / "1" / "sim_usage")


def test_the_tasks_variables_win_over_the_machines_but_not_over_ours(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    env = prepare(started(env={"LANG": "de_DE.UTF-8", "WANDB_MODE": "offline"})).env
    assert (env["LANG"], env["WANDB_MODE"], env["TZ"]) == (
        "de_DE.UTF-8",
        "offline",
        "Asia/Shanghai",
    )
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-test-0"


@pytest.mark.parametrize(
    ("public", "host", "url"),
    [
        ("https://gpu.example.org/", "0.0.0.0", "https://gpu.example.org"),
        ("", "0.0.0.0", "http://127.0.0.1:8900"),
        ("", "::1", "http://[::1]:8900"),
        ("", "10.0.0.5", "http://10.0.0.5:8900"),
    ],
)
def test_a_job_is_told_how_to_reach_the_service(settings, public, host, url):
    settings.COOP_PUBLIC_URL, settings.COOP_HOST = public, host
    assert jobenv.service_url() == url


def test_python_is_found_where_the_machine_has_only_python3(tmp_path, settings):
    """As on Debian, where task files written elsewhere say `python train.py`."""
    only = tmp_path / "only"
    only.mkdir()
    (only / "python3").symlink_to("/usr/bin/python3")
    settings.COOP_JOB_PATH = str(only)
    path = prepare(started()).env["PATH"]
    assert path.split(":")[0] == str(only)
    assert Path(shutil.which("python", path=path)).readlink() == only / "python3"


# --- LLaMA-Factory ----------------------------------------------------------------------------------


def test_a_config_becomes_a_run_folder_and_an_argument_list(home, trainer):
    attempt = started(command=None, llamafactory=CONFIG)
    launch = prepare(attempt)
    assert launch.argv == (str(trainer), "train", "train.yaml")
    assert launch.cwd == str(folder_of(home, attempt) / "work")
    assert launch.env["PATH"].startswith(f"{trainer.parent}:")
    assert launch.env["RECORD_VRAM"] == "1"
    output = str(folder_of(home, attempt) / "output")
    assert config_of(home, attempt) == CONFIG | {"output_dir": output}


def test_deepspeed_is_started_through_torchrun(trainer):
    config = CONFIG | {"deepspeed": "/ds/z3.json"}
    assert prepare(started(command=None, llamafactory=config)).env["FORCE_TORCHRUN"] == "1"


def test_a_config_that_runs_elsewhere_is_named_by_its_whole_path(home, trainer):
    attempt = started(command=None, llamafactory=CONFIG, workdir="/srv/LLaMA-Factory")
    launch = prepare(attempt)
    assert launch.cwd == "/srv/LLaMA-Factory"
    assert launch.argv[-1] == str(folder_of(home, attempt) / "work" / "train.yaml")


def test_an_uploaded_dataset_is_linked_and_named(home, trainer):
    content = json.dumps(ROW).encode()
    dataset = datasets.store(
        a_user(), name="my_data", filename="x.jsonl", size=len(content), chunks=[content]
    )
    attempt = started(command=None, llamafactory=CONFIG, dataset="my_data")
    attempt.job.datasets.add(dataset)
    env = prepare(attempt).env
    data = folder_of(home, attempt) / "work" / "data"
    config = config_of(home, attempt)
    assert (config["dataset"], config["dataset_dir"]) == ("my_data", str(data))
    assert (env["LLAMA_COOP_DATASET"], env["LLAMA_COOP_DATASET_DIR"]) == ("my_data", str(data))
    assert (data / "my_data").read_bytes() == content
    assert "my_data" in json.loads((data / "dataset_info.json").read_text())


def test_a_dataset_whose_file_is_gone_is_refused_with_what_to_do(home):
    content = json.dumps(ROW).encode()
    dataset = datasets.store(
        a_user(), name="my_data", filename="x.jsonl", size=len(content), chunks=[content]
    )
    shutil.rmtree(home / "datasets")
    attempt = started(dataset="my_data")
    attempt.job.datasets.add(dataset)
    with pytest.raises(Refused) as refused:
        prepare(attempt)
    assert refused.value.code == "dataset_gone"


def checkpoint(output: Path, step: int, *, marker: bool = False, state: bool = True) -> None:
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if state:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if marker:
        (folder / "checkpoint-is-incomplete.txt").touch()


def test_a_later_run_goes_on_from_the_newest_complete_checkpoint(home, trainer):
    attempt = started(number=2, command=None, llamafactory=CONFIG)
    output = folder_of(home, attempt) / "output"
    checkpoint(output, 9)
    checkpoint(output, 100)
    checkpoint(output, 110, marker=True)
    checkpoint(output, 120, state=False)
    env = prepare(attempt).env
    assert env["LLAMA_COOP_RESUME_FROM"] == str(output / "checkpoint-100")
    assert config_of(home, attempt)["overwrite_output_dir"] is False
    assert sorted(path.name for path in output.glob("checkpoint-*")) == [
        "checkpoint-100",
        "checkpoint-9",
    ]
    assert (output / "incomplete-1" / "checkpoint-110").is_dir(), "set aside, not deleted"
    assert (output / "incomplete-2" / "checkpoint-120").is_dir()


def test_weights_without_a_checkpoint_are_moved_aside(home, trainer):
    """LLaMA-Factory would refuse to start: "Output directory already exists and is not empty"."""
    attempt = started(number=2, command=None, llamafactory=CONFIG)
    output = folder_of(home, attempt) / "output"
    output.mkdir(parents=True)
    (output / "adapter_model.safetensors").write_text("weights")
    (output / "notes.txt").write_text("mine")
    assert "LLAMA_COOP_RESUME_FROM" not in prepare(attempt).env
    assert (output / "earlier-run-1" / "adapter_model.safetensors").read_text() == "weights"
    assert (output / "notes.txt").read_text() == "mine"


def test_the_first_run_leaves_the_persons_own_setting(home, trainer):
    attempt = started(command=None, llamafactory=CONFIG)
    prepare(attempt)
    assert config_of(home, attempt)["overwrite_output_dir"] is True


def test_without_llamafactory_the_refusal_says_what_to_do(settings):
    settings.COOP_LLAMAFACTORY = "/nowhere/venv"
    with pytest.raises(Refused) as refused:
        prepare(started(command=None, llamafactory=CONFIG))
    assert refused.value.code == "llamafactory_missing"
    assert "/nowhere/venv" in refused.value.detail
    assert "Set COOP_LLAMAFACTORY" in refused.value.hint


def test_llamafactory_is_found_on_path_by_its_name(settings, trainer):
    settings.COOP_LLAMAFACTORY, settings.COOP_JOB_PATH = "llamafactory-cli", str(trainer.parent)
    assert prepare(started(command=None, llamafactory=CONFIG)).argv[0] == str(trainer)


def test_an_interpreter_calls_llamafactory_as_a_module(settings, tmp_path):
    python = tmp_path / "python3.11"
    python.symlink_to("/bin/true")
    settings.COOP_LLAMAFACTORY = str(python)
    argv = prepare(started(command=None, llamafactory=CONFIG)).argv
    assert argv[:4] == (str(python), "-m", "llamafactory.cli", "train")


# --- a job's own folder is not trusted --------------------------------------------------------------


def test_a_link_under_the_configs_name_is_replaced_not_followed(home, trainer, tmp_path):
    attempt = started(command=None, llamafactory=CONFIG)
    prepare(attempt)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    planted = folder_of(home, attempt) / "work" / "train.yaml"
    planted.unlink()
    planted.symlink_to(precious)
    prepare(attempt)
    assert precious.read_text() == "precious"
    assert not planted.is_symlink()


def test_a_checkpoint_that_is_a_link_is_not_looked_into(home, trainer, tmp_path):
    checkpoint(tmp_path / "elsewhere", 500)
    attempt = started(number=2, command=None, llamafactory=CONFIG)
    output = folder_of(home, attempt) / "output"
    output.mkdir(parents=True)
    (output / "checkpoint-500").symlink_to(tmp_path / "elsewhere" / "checkpoint-500")
    assert "LLAMA_COOP_RESUME_FROM" not in prepare(attempt).env
    assert (tmp_path / "elsewhere" / "checkpoint-500" / "trainer_state.json").exists()


# --- another account --------------------------------------------------------------------------------

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as another account")


@as_root
def test_a_service_of_root_runs_jobs_as_another_account(open_home, settings):
    attempt = started()
    launch = prepare(attempt)
    chosen = account.job_account()
    assert chosen is not None
    assert (launch.uid, launch.gid) == (chosen.uid, chosen.gid) != (0, 0)
    assert 0 not in launch.groups
    for name in ("work", "output"):
        assert (folder_of(open_home, attempt) / name).stat().st_uid == chosen.uid
    assert account.isolation_level() == "L1"


@as_root
def test_an_account_that_cannot_reach_the_files_is_not_taken(home):
    home.chmod(0o700)
    assert account.job_account() is None
    assert account.isolation_level() == "L0"


@as_root
def test_an_account_that_is_named_must_exist_and_reach_the_files(open_home, settings):
    settings.COOP_JOB_USER = "no-such-account"
    with pytest.raises(Refused) as refused:
        prepare(started())
    assert "no-such-account" in refused.value.detail
    settings.COOP_JOB_USER = "nobody"
    shut = open_home / "shut"
    shut.mkdir(mode=0o700)
    settings.COOP_HOME = shut / "home"
    with pytest.raises(Refused, match="may not pass through"):
        account.job_account()


@as_root
def test_a_trainer_that_the_account_may_not_execute_is_refused(open_home, trainer, settings):
    trainer.parent.chmod(0o700)
    with pytest.raises(Refused) as refused:
        prepare(started(command=None, llamafactory=CONFIG))
    assert refused.value.code == "llamafactory_unreachable"


def run_to_its_end(
    engine: LocalEngine, attempt: Attempt, argv: tuple[str, ...] | None = None
) -> dict:
    launch = prepare(attempt)
    launch = replace(launch, argv=argv) if argv else launch
    engine.start(launch)
    wait_until(lambda: engine.observe(launch.ref).kind == "exited", 20, "the end of the attempt")
    record = engine.observe(launch.ref).exit
    assert record is not None
    return record | {"log": engine.read_log(launch.ref, 0, 10**6).decode()}


@pytest.fixture
def engine(open_home) -> Iterator[LocalEngine]:
    engine = LocalEngine(open_home)
    yield engine
    engine.close()


def test_the_articles_command_runs_as_it_is_written(engine, open_home, settings):
    """In the prepared environment, under the account for jobs, with the file in which it tells what it uses."""
    Node.objects.create(name="node-a", source="simulated")
    settings.COOP_WORKDIR = str(ARTICLE)
    command = yaml.safe_load((ARTICLE / "task.yaml").read_text())["command"]
    attempt = started(command=command)
    ended = run_to_its_end(engine, attempt)
    assert ended["code"] == 0, ended["log"]
    output = folder_of(open_home, attempt) / "output"
    state = json.loads((output / "trainer_state.json").read_text())
    assert (state["global_step"], state["max_steps"]) == (30, 30)
    assert len((output / "trainer_log.jsonl").read_text().splitlines()) == 30
    usage = json.loads((folder_of(open_home, attempt) / "attempts" / "1" / "sim_usage").read_text())
    assert usage == {"memory_bytes": int(14 * GIB * 0.85), "busy": 0.9}


@as_root
def test_a_job_reads_neither_secrets_nor_records(engine, open_home):
    (open_home / "secret_key").write_text("canary")
    (open_home / "secret_key").chmod(0o600)
    attempt = started(
        command='for f in secret_key jobs/*/attempts/*/spec; do cat "$H/$f"; done; id -u'
    )
    attempt.job.spec["env"] = {"H": str(open_home)}
    ended = run_to_its_end(engine, attempt)
    assert "canary" not in ended["log"]
    assert ended["log"].count("Permission denied") + ended["log"].count("No such file") == 2
    assert ended["log"].strip().splitlines()[-1] == str(account.job_account().uid)


def test_the_articles_task_file_has_the_five_fields():
    task = yaml.safe_load((ARTICLE / "task.yaml").read_text())
    assert task == {
        "task_id": "finetune_qwen_001",
        "priority": "high",
        "resources": {"min_memory": "16G", "gpu_type": "A100"},
        "command": "python src/train.py --model qwen-7b --method lora --dataset my_data\n",
    }
