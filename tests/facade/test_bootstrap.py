"""`init_coop`: connecting, starting, setting, refusing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llama_factory import bootstrap, init_coop
from llama_factory.errors import Unreachable
from tests.facade.conftest import a_task, until_state
from tests.facade.fakeservice import Reply, fake_service

WHOAMI = Reply(200, {"username": "ana"})


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No service is configured, and none runs."""
    for name in ("STATE_HOME", "CONFIG_HOME", "CONFIG_DIRS"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name.lower()))
    for name in ("URL", "TOKEN", "PROJECT"):
        monkeypatch.delenv(f"LLAMA_COOP_{name}", raising=False)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"max_workers": 0}, ValueError, ("at least 1", "is 0", "leave it out")),
        ({"max_workers": -3}, ValueError, ("at least 1", "-3")),
        ({"max_workers": 2.5}, TypeError, ("whole number", "2.5", "1 or more")),
        ({"max_workers": "5"}, TypeError, ("whole number", "'5'")),
        ({"max_workers": True}, TypeError, ("whole number", "True")),
        ({"memory_threshold": 0}, ValueError, ("above 0", "is 0", "0.8")),
        ({"memory_threshold": 80}, ValueError, ("at most 1", "is 80", "80 %")),
        ({"memory_threshold": float("nan")}, ValueError, ("above 0", "nan")),
        ({"memory_threshold": "0.8"}, TypeError, ("a number", "'0.8'", "0.8")),
        ({"log_dir": 7}, TypeError, ("a path", "7", "./coop_logs")),
        ({"log_dir": __file__}, ValueError, ("a directory", "is a file")),
    ],
)
def test_a_wrong_argument_says_what_was_given_what_is_allowed_and_what_to_do(
    arguments, kind, words
):
    with pytest.raises(kind) as caught:
        init_coop(**arguments)
    assert all(word in str(caught.value) for word in words)


def test_what_is_given_is_set_and_the_log_dir_counts_from_the_callers_directory(
    nowhere, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    with fake_service(WHOAMI, Reply(200, {})) as service:
        monkeypatch.setenv("LLAMA_COOP_URL", service.url)
        with init_coop(max_workers=5, memory_threshold=0.8, log_dir="./coop_logs"):
            pass
    asked = service.asked[-1]
    assert (asked.method, asked.path) == ("PATCH", "/api/v1/settings")
    assert json.loads(asked.body) == {
        "max_workers": 5,
        "memory_threshold": 0.8,
        "log_dir": str(tmp_path / "coop_logs"),
    }


def test_what_is_left_out_changes_nothing(nowhere, monkeypatch):
    with fake_service(WHOAMI) as service:
        monkeypatch.setenv("LLAMA_COOP_URL", service.url)
        init_coop().close()
    assert [asked.method for asked in service.asked] == ["GET"]


def test_without_the_server_part_it_says_what_to_install(nowhere, monkeypatch):
    monkeypatch.setattr(bootstrap, "server_missing", lambda: "Install it with: pip install x")
    with pytest.raises(Unreachable, match="pip install x") as caught:
        init_coop()
    assert "LLAMA_COOP_URL" in caught.value.hint


def test_a_service_that_ends_at_once_names_its_log(nowhere, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(Unreachable, match="exit code 1") as caught:
        init_coop()
    assert "serve.log" in caught.value.hint
    log = tmp_path / "state_home/llama-coop/serve.log"
    assert log.stat().st_mode & 0o777 == 0o600


# --- with a real service --------------------------------------------------------------------------


def test_a_second_call_finds_the_service_that_the_first_one_started(desk):
    code = "from llama_factory import init_coop; print(init_coop().url)"
    assert desk.python(code).stdout.strip() == desk.extra["url"]


def test_the_three_arguments_hold_site_wide_and_logs_get_their_links(desk):
    code = """
from llama_factory import init_coop
with init_coop(max_workers=5, memory_threshold=0.8, log_dir="./coop_logs") as coop:
    job = coop.submit("linked.yaml")
    print(coop.wait(job.name).state)
    print(coop.settings()["max_workers"], coop.settings()["memory_threshold"])
"""
    a_task(desk, "linked")
    answer = desk.python(code)
    assert answer.stdout.split() == ["SUCCEEDED", "5", "0.8"], answer.stderr
    link = desk.directory / "coop_logs" / "linked-1.log"
    assert link.is_symlink()
    assert link.read_text(encoding="utf-8") == "hello\n"
    back = desk.python(
        "from llama_factory import init_coop\n"
        "init_coop().change_settings(max_workers=None, memory_threshold=None, log_dir=None)"
    )
    assert back.returncode == 0, back.stderr


def test_who_is_no_admin_gets_a_permission_error_with_the_values_in_force(member):
    code = """
from llama_factory import init_coop
try:
    init_coop(max_workers=5, memory_threshold=0.8)
except PermissionError as error:
    print(error)
"""
    text = member.python(code).stdout
    assert "max_workers=5, memory_threshold=0.8" in text
    assert "In force: max_workers=None, memory_threshold=None" in text
    assert "init_coop() without arguments" in text


def test_everything_that_a_client_promises_works(member):
    code = """
from llama_factory import init_coop
task = {"task_id": "from_python", "resources": {"min_memory": "1G"}, "command": "sleep 600"}
with init_coop() as coop:
    print(coop.plan(task)["task_id"])
    job = coop.submit(task)
    print(job.created, coop.submit(task).created, job.name in [each.name for each in coop.list()])
    print(coop.show("from_python").id == coop.show("from_python#1").id == coop.show(job.id).id)
    print(coop.why("from_python")["code"] != "")
    print(coop.cancel("from_python").state in ("CANCELLED", "STOPPING"))
    print(coop.wait("from_python").state, "".join(coop.logs("from_python")) == "")
"""
    answer = member.python(code)
    assert answer.stdout.split() == (
        ["from_python", "True", "False", "True", "True", "True", "True", "CANCELLED", "True"]
    ), answer.stderr


def test_a_wrong_token_is_told_at_once(member):
    code = """
from llama_factory import init_coop
try:
    init_coop()
except Exception as error:
    print(type(error).__name__)
"""
    assert member.python(code, LLAMA_COOP_TOKEN="wrong").stdout == "NotSignedIn\n"


def test_the_articles_request_works_word_for_word(member):
    a_task(member, "task")
    url = member.extra["url"]
    code = f"""
import requests
answer = requests.post("{url}/submit", files={{"task": open("task.yaml")}},
                       headers={{"Authorization": "Bearer myteam123"}})
print(answer.status_code, answer.json()["task_id"])
"""
    answer = member.python(code.replace('open("task.yaml")', 'open("task.yaml", "rb")'))
    assert answer.stdout == "201 task\n", answer.stderr
    until_state(member, "task", "SUCCEEDED")
