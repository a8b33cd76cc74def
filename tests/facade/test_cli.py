"""The command line against a real service."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from itertools import count
from pathlib import Path

import pytest

from tests.facade.conftest import CLI, Shell, a_task, until_state
from tests.waiting import wait_until

MORE_THAN_ANY_CARD = "600G"
NUMBERS = count(1)


def shows(answer: subprocess.CompletedProcess, code: int = 0) -> str:
    """What the command printed, when it ended with this code."""
    assert answer.returncode == code, answer.stdout + answer.stderr
    return answer.stdout


def a_waiting_job(shell: Shell, task_id: str) -> str:
    """A job that no card can hold, so that it waits for as long as a test likes."""
    path = a_task(shell, task_id)
    path.write_text(
        path.read_text(encoding="utf-8").replace("2G", MORE_THAN_ANY_CARD), encoding="utf-8"
    )
    shows(shell.coop("submit", str(path), "--keep-impossible"))
    return task_id


# --- submit ---------------------------------------------------------------------------------------


def test_submit_shows_the_plan_then_hands_in_then_waits(member):
    path = a_task(member, "planned", "echo working; sleep 0.2")
    answer = member.coop("submit", str(path), "--wait")
    assert shows(answer) == ""
    assert "Fits now on: gpu0, gpu1" in answer.stderr
    assert "Submitted planned (queued" in answer.stderr
    assert "planned succeeded" in answer.stderr


def test_submit_can_follow_the_log(member):
    path = a_task(member, "followed", "for i in 1 2 3; do echo line $i; sleep 0.1; done")
    assert shows(member.coop("submit", str(path), "-f")) == "line 1\nline 2\nline 3\n"


def test_a_dry_run_hands_in_nothing(member):
    path = a_task(member, "dry")
    answer = member.coop("submit", str(path), "--dry-run")
    assert "Fits now on" in answer.stderr
    plan = json.loads(shows(member.coop("submit", str(path), "--dry-run", "--json")))
    assert plan["starts_now"]
    assert member.coop("show", "dry").returncode == 5


def test_submit_prints_the_job_as_json_where_asked(member):
    path = a_task(member, "as_json")
    job = json.loads(shows(member.coop("submit", str(path), "--json", "--priority", "high")))
    assert (job["task_id"], job["priority"], job["owner"]) == ("as_json", "high", "shared")


def test_set_changes_fields_of_the_file(member):
    path = a_task(member, "changed")
    changes = ("--set", "resources.min_memory=3G", "--set", "env.A=b")
    job = json.loads(shows(member.coop("submit", str(path), "--json", *changes)))
    assert job["resources"]["min_memory_bytes"] == 3 * 1024**3


def test_a_job_that_fails_is_exit_code_3_with_wait_and_0_without(member):
    path = a_task(member, "fails", "exit 9")
    assert member.coop("submit", str(path), "--wait").returncode == 3
    assert member.coop("submit", str(a_task(member, "fails2", "exit 9"))).returncode == 0


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (
            "task_id: a\nresources: {min_memory: much}\ncommand: x\n",
            2,
            "line 2, resources.min_memory",
        ),
        ("a: [", 2, "not valid YAML"),
        ("task_id: a\nresources: {min_memory: 600G}\ncommand: x\n", 6, "78.4 GiB"),
        ("task_id: a\nresources: {min_memory: 1G, gpu_type: H100}\ncommand: x\n", 6, "H100"),
        ("task_id: a\nresources: {min_memory: 1G}\ncommand: x\nproject: secret\n", 6, "secret"),
    ],
)
def test_a_task_that_is_refused_says_why_and_has_its_exit_code(member, content, code, words):
    path = member.directory / "task.yaml"
    path.write_text(content, encoding="utf-8")
    answer = member.coop("submit", str(path))
    assert answer.returncode == code
    assert words in answer.stderr
    assert answer.stderr.count(words) == 1
    assert "Traceback" not in answer.stderr


def test_another_content_under_an_active_task_id_is_exit_code_6(member):
    name = a_waiting_job(member, "in_use")
    again = member.coop("submit", str(a_task(member, name, "echo other")))
    assert again.returncode == 6
    assert "task_id" in again.stderr
    shows(member.coop("cancel", name))


def test_a_dataset_goes_along_and_a_broken_one_is_refused_with_its_row(member):
    rows = member.directory / "my_rows.jsonl"
    rows.write_text('{"instruction": "a", "input": "", "output": "b"}\n' * 2, encoding="utf-8")
    path = a_task(member, "with_data", "ls data")
    answer = member.coop("submit", str(path), "--dataset-file", str(rows), "--wait")
    shows(answer)
    assert "my_rows v1: 2 rows" in answer.stderr
    assert "my_rows" in shows(member.coop("logs", "with_data"))
    rows.write_text('{"instruction": 7, "output": "b"}\n', encoding="utf-8")
    broken = member.coop("submit", str(path), "--dataset-file", str(rows))
    assert broken.returncode == 2
    assert "row 1" in broken.stderr


def test_a_training_config_can_be_a_file_of_its_own(member):
    config = member.directory / "train.yaml"
    config.write_text("stage: sft\nmodel_name_or_path: m\ndo_train: true\ndataset: d\n", "utf-8")
    task = member.directory / "sft.yaml"
    task.write_text("task_id: sft\nresources: {min_memory: 1G}\n", "utf-8")
    answer = member.coop("submit", str(task), "--config", str(config), "--dry-run")
    shows(answer)
    assert "sft in project default: needs 1G" in answer.stderr


# --- reading --------------------------------------------------------------------------------------


@pytest.fixture
def waiting(member):
    number = next(NUMBERS)
    name = a_waiting_job(member, f"waits_{number}_long_enough_to_be_cut_in_a_narrow_terminal")
    yield name
    member.coop("cancel", name)


def test_the_list_has_the_unfinished_and_my_last_finished(member, waiting):
    for number in (1, 2):
        shows(member.coop("submit", str(a_task(member, f"ended{number}")), "--wait"))
    lines = shows(member.coop("list")).splitlines()
    assert lines[0].split() == ["#", "ID", "STATE", "NEEDS", "GPU", "TIME", "ETA", "WHY", "USER"]
    listed = "\n".join(lines)
    assert waiting in listed
    assert "ended2" in listed
    assert "ended1" not in listed
    assert "ended1" in shows(member.coop("list", "--all"))
    assert shows(member.coop("ls", "--state", "succeeded")) != ""


def test_a_piped_list_is_neither_coloured_nor_cut(member, waiting):
    text = shows(member.coop("list", COLUMNS="40"))
    assert "\x1b" not in text
    assert "…" not in text
    assert waiting in text
    assert "largest card here" in text


def test_an_empty_list_says_what_to_do_on_stderr(member):
    answer = member.coop("list", "--state", "HELD", "--mine")
    assert (shows(answer), "llama-coop submit" in answer.stderr) == ("", True)


def test_a_list_as_json_has_the_apis_objects(member, waiting):
    body = json.loads(shows(member.coop("list", "--json", "--state", "queued")))
    (job,) = [item for item in body["items"] if item["task_id"] == waiting]
    assert job["why"]["code"] == "NEVER_FITS"


def test_show_and_why_tell_about_one_job(member, waiting):
    shown = shows(member.coop("show", waiting))
    assert "600G" in shown
    assert "◷ queued" in shown
    told = shows(member.coop("why", waiting))
    assert "600 GiB" in told
    assert "gpu0" in told
    assert json.loads(shows(member.coop("why", waiting, "--json")))["cards"]
    assert json.loads(shows(member.coop("show", f"{waiting}#1", "--json")))["run"] == 1


def test_a_job_that_is_not_there_is_exit_code_5(member):
    for verb in ("show", "why", "logs", "cancel", "pause", "resume", "clone"):
        answer = member.coop(verb, "no_such_job")
        assert answer.returncode == 5
        assert "no job 'no_such_job'" in answer.stderr


def test_logs_can_be_tailed_and_followed_while_the_job_runs(member):
    path = a_task(member, "talks", "echo one; echo two; sleep 1; echo three")
    shows(member.coop("submit", str(path)))
    assert shows(member.coop("logs", "-f", "talks")) == "one\ntwo\nthree\n"
    assert shows(member.coop("logs", "--tail", "1", "talks")) == "three\n"
    assert shows(member.coop("logs", "--attempt", "1", "talks")).startswith("one")
    assert member.coop("logs", "--attempt", "9", "talks").returncode == 5


def test_top_and_a_piped_monitor_show_cards_and_jobs_once(member, waiting):
    top = shows(member.coop("top"))
    assert "[0] A100-SXM4-80GB" in top
    assert "0/80 GiB" in top
    assert len(json.loads(shows(member.coop("top", "--json")))["items"]) == 2
    assert waiting in shows(member.coop("monitor", "--refresh", "5"))


def test_the_monitor_fills_the_screen_until_q_is_pressed(member):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*CLI, "monitor", "--refresh", "1"],
        env=member.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=member.directory,
        start_new_session=True,
    )
    os.close(terminal)
    seen = b""
    while b"A100" not in seen:
        seen += os.read(controller, 4096)
    os.write(controller, b"q")
    while process.poll() is None:
        try:
            os.read(controller, 4096)
        except OSError:  # the terminal's other end is closed: the monitor has ended
            break
    assert process.wait(timeout=20) == 0
    os.close(controller)


# --- acting ---------------------------------------------------------------------------------------


def test_a_queued_job_is_paused_resumed_and_cancelled(member, waiting):
    assert shows(member.coop("pause", waiting)) == f"{waiting}: held\n"
    assert shows(member.coop("resume", waiting)) == f"{waiting}: queued\n"
    assert shows(member.coop("cancel", waiting)) == f"{waiting}: cancelled\n"


def test_a_running_job_is_frozen_and_thawed(member):
    shows(member.coop("submit", str(a_task(member, "long", "sleep 600"))))
    until_state(member, "long", "RUNNING")
    plain = member.coop("pause", "long")
    assert plain.returncode == 6
    assert "--keep-memory" in plain.stderr
    assert shows(member.coop("pause", "--keep-memory", "long")) == "long: suspended\n"
    assert shows(member.coop("resume", "long")) == "long: running\n"
    shows(member.coop("cancel", "-y", "long"))
    until_state(member, "long", "CANCELLED")


def test_a_running_command_gives_its_card_back_and_begins_anew(member):
    script = "echo run >> ledger; [ $(wc -l < ledger) -ge 2 ] || sleep 600"
    shows(member.coop("submit", str(a_task(member, "again", script, preemptible="true"))))
    until_state(member, "again", "RUNNING")
    assert shows(member.coop("pause", "again")) == "again: suspending\n"
    until_state(member, "again", "SUSPENDED")
    assert shows(member.coop("resume", "again")) == "again: queued\n"
    until_state(member, "again", "SUCCEEDED")


def test_one_refusal_does_not_keep_the_others_from_it(member, waiting):
    answer = member.coop("pause", "no_such_job", waiting)
    assert answer.returncode == 5
    assert answer.stdout == f"{waiting}: held\n"


def test_a_clone_is_the_next_run_with_changes(member):
    shows(member.coop("submit", str(a_task(member, "parent")), "--wait"))
    assert (
        shows(member.coop("clone", "parent", "--set", "command=echo again")) == "parent#2: queued\n"
    )
    until_state(member, "parent", "SUCCEEDED")
    assert shows(member.coop("logs", "parent")) == "again\n"
    assert shows(member.coop("logs", "parent#1")) == "hello\n"


def test_an_interrupted_wait_is_exit_code_130_and_the_job_goes_on(member):
    path = a_task(member, "goes_on", "sleep 600")
    process = subprocess.Popen(
        [*CLI, "submit", str(path), "--wait"],
        env=member.environ,
        cwd=member.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until_state(member, "goes_on", "RUNNING")
    assert process.stderr is not None
    process.send_signal(2)
    process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=20) == 130
    until_state(member, "goes_on", "RUNNING")
    shows(member.coop("cancel", "goes_on", "-y"))


# --- account --------------------------------------------------------------------------------------


def test_whoami_and_config_tell_who_and_where(member, owner):
    text = shows(member.coop("whoami"))
    assert text.startswith("shared at http://127.0.0.1:")
    assert "default (member)" in text
    shown = json.loads(shows(member.coop("config", "--json")))
    assert shown["url"] == {"value": owner.extra["url"], "source": "the environment"}
    assert shown["token"]["value"] == "myteam12…"
    assert "(admin)" in shows(owner.coop("whoami"))


def test_login_keeps_a_token_and_logout_forgets_it(shell, owner):
    url = owner.extra["url"]
    answer = shell.coop("login", url, stdin="myteam123\n")
    assert "Signed in" in answer.stderr, answer.stderr
    assert "shared" in shows(shell.coop("whoami"))
    kept = Path(shell.environ["XDG_STATE_HOME"]) / "llama-coop/credentials.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert shell.coop("logout").returncode == 0
    assert shell.coop("whoami").returncode == 4
    assert shell.coop("logout").returncode == 4


def test_a_wrong_token_is_not_kept(shell, owner):
    answer = shell.coop("login", owner.extra["url"], stdin="wrong\n")
    assert answer.returncode == 4
    assert "not accepted" in answer.stderr or "accepted" in answer.stderr
    assert not (Path(shell.environ["XDG_STATE_HOME"]) / "llama-coop/credentials.json").exists()


def test_doctor_finds_every_part_and_says_what_to_do(member):
    answer = member.coop("doctor")
    for check in ("address", "service", "version", "database", "dispatcher", "readings", "cards"):
        assert check in answer.stdout
    assert "simulated" in answer.stdout
    assert "-> " in answer.stdout
    items = json.loads(member.coop("doctor", "--json").stdout)["items"]
    assert {item["status"] for item in items} <= {"ok", "warning"}, items


# --- a terminal -----------------------------------------------------------------------------------


def in_a_terminal(shell: Shell, *arguments: str, answer: bytes) -> tuple[int, str]:
    """Run the command where a person could answer, and give this answer to its first question."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*CLI, *arguments],
        env=shell.environ | {"TERM": "xterm"},
        cwd=shell.directory,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    seen, answered = b"", False
    while True:
        try:
            seen += os.read(controller, 4096)
        except OSError:  # everybody has closed the other end
            break
        if b"?" in seen and not answered:
            os.write(controller, answer)
            answered = True
    os.close(controller)
    return process.wait(timeout=20), seen.decode()


def test_submit_asks_a_person_and_takes_no_for_an_answer(member):
    path = a_task(member, "asked")
    code, text = in_a_terminal(member, "submit", str(path), answer=b"n\n")
    assert code == 1
    assert "Fits now on" in text
    assert "Submit?" in text
    assert member.coop("show", "asked").returncode == 5
    code, text = in_a_terminal(member, "submit", str(path), answer=b"y\n")
    assert code == 0
    wait_until(lambda: member.coop("show", "asked").returncode == 0, what="the job")


def test_cancel_asks_before_work_is_lost(member):
    shows(member.coop("submit", str(a_task(member, "precious", "sleep 600"))))
    until_state(member, "precious", "RUNNING")
    code, text = in_a_terminal(member, "cancel", "precious", answer=b"\n")
    assert code == 1
    assert "ends it for good" in text
    until_state(member, "precious", "RUNNING")
    code, _text = in_a_terminal(member, "rm", "precious", answer=b"y\n")
    assert code == 0
