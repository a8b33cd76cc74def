"""The command line where no service is: help, usage, completion, exit codes, drawing."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime

import pytest
from rich.console import Console
from typer.testing import CliRunner

from llama_factory.cli import PROGRAM, words
from llama_factory.cli.app import ALIASES, VERBS, app
from llama_factory.cli.exits import MEANING, ExitCode
from llama_factory.cli.reading import _facts
from llama_factory.cli.tables import cards_table, jobs_table, memory_bar
from tests.facade.conftest import CLI

GIB = 1024**3
NOW = datetime(2026, 2, 3, 14, 0, tzinfo=UTC)


def test_every_verb_explains_itself(shell):
    text = shell.coop("--help").stdout
    for verb in (*VERBS, "serve"):
        assert f"  {verb} " in text, verb
    for alias in ALIASES:
        assert f"  {alias} " not in text


@pytest.mark.parametrize("verb", [*VERBS, *ALIASES])
def test_every_verb_has_help_of_its_own(verb):
    answer = CliRunner().invoke(app, [verb, "-h"], prog_name=PROGRAM)
    assert answer.exit_code == 0
    assert answer.stdout.startswith(f"Usage: {PROGRAM} {verb}")


def test_the_exit_codes_are_explained(shell):
    text = shell.coop("help", "exit-codes").stdout
    assert [int(line.split()[0]) for line in text.splitlines()] == [0, 1, 2, 3, 4, 5, 6, 7, 130]
    assert set(MEANING) == set(ExitCode)


def test_the_configuration_is_explained(shell):
    assert "LLAMA_COOP_URL" in shell.coop("help", "configuration").stdout
    assert shell.coop("help").stdout == shell.coop("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "words_of_it"),
    [
        (("submit",), "Missing argument"),
        (("list", "--nonsense"), "No such option"),
        (("lst",), "'list'"),
        (("monitor", "--refresh", "0"), "0.5"),
        (("help", "everything"), "exit-codes"),
        ((), "Usage"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_a_way_out(shell, arguments, words_of_it):
    answer = shell.coop(*arguments)
    assert answer.returncode == 2
    assert words_of_it in answer.stderr + answer.stdout


@pytest.mark.parametrize("verb", [("list",), ("whoami",), ("top",), ("show", "x"), ("doctor",)])
def test_without_a_service_it_is_exit_code_7_with_what_to_do(shell, verb):
    answer = shell.coop(*verb)
    assert answer.returncode == 7
    text = answer.stdout + answer.stderr
    assert "llama-coop serve" in text
    assert "Traceback" not in text


def test_the_trace_is_shown_to_who_asks_for_it(shell):
    answer = shell.coop("list", LLAMA_COOP_DEBUG="1")
    assert answer.returncode == 7
    assert "Traceback" in answer.stderr


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_gets_its_completion(shell, kind):
    assert "_LLAMA_COOP_COMPLETE" in shell.coop("completion", kind).stdout


def test_job_names_complete_to_nothing_where_no_service_is(shell):
    answer = shell.coop(
        "",
        _LLAMA_COOP_COMPLETE="complete_bash",
        COMP_WORDS="llama-coop show a",
        COMP_CWORD="2",
    )
    assert (answer.returncode, answer.stdout.strip(), answer.stderr) == (0, "", "")


def test_the_version_is_printed(shell):
    assert shell.coop("--version").stdout.startswith("llama-coop 0.")


def test_serve_passes_its_flags_on_to_the_server(shell):
    text = shell.coop("serve", "--help").stdout
    assert "--auth-token-file" in text
    assert shell.coop("serve", "--port", "many").returncode == 2


def test_serve_without_the_server_part_says_what_to_install(shell):
    code = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "daphne" else found(name, *more)
import sys
sys.argv = ["llama-coop", "serve"]
from llama_factory.cli import main
main()
"""
    answer = shell.python(code)
    assert answer.returncode == 1
    assert "pip install 'llama-coop[server]'" in answer.stderr


def test_a_closed_pipe_is_no_error(shell):
    reader, writer = os.pipe()
    os.close(reader)
    answer = subprocess.run(
        [*CLI, "help", "configuration"],
        env=shell.environ,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert answer.stderr == ""


# --- drawing --------------------------------------------------------------------------------------


def a_card(**fields):
    return {
        "uuid": "GPU-0",
        "index": 0,
        "name": "NVIDIA A100-SXM4-80GB",
        "state": "ok",
        "memory_total_bytes": 80 * GIB,
        "used_bytes": 67 * GIB,
        "booked_bytes": 60 * GIB,
        "foreign_bytes": 10 * GIB,
        "free_bytes": 8 * GIB,
        "busy": 0.93,
        "temperature_celsius": 64.0,
        "fault": None,
        "drain_reason": None,
        "holders": [
            {
                "booked_bytes": 44 * GIB,
                "used_bytes": 36 * GIB,
                "job": {"name": "sft", "owner": "ana"},
            },
            {"booked_bytes": 16 * GIB, "used_bytes": None, "job": None},
        ],
    } | fields


def a_job(**fields):
    return {
        "task_id": "sft_qwen",
        "run": 1,
        "owner": "ana",
        "state": "RUNNING",
        "position": None,
        "resources": {"min_memory_bytes": 44 * GIB, "gpus": 1, "gpu_type": "A100"},
        "allocations": [{"index": 0}],
        "submitted_at": "2026-02-03T11:00:00Z",
        "started_at": "2026-02-03T11:46:00Z",
        "finished_at": None,
        "eta": "2026-02-03T14:38:00Z",
        "progress": {"step": 612, "total": 1000, "loss": 1.28411},
        "why": None,
        "detail": None,
    } | fields


def drawn(table) -> str:
    console = Console(width=160, no_color=True, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_a_card_is_one_line_with_everything_on_it():
    line = drawn(cards_table([a_card()]))
    assert line.startswith("[0] A100-SXM4-80GB   93 % 64°C")
    assert "67/80 GiB" in line
    assert "sft (ana 36/44G)" in line
    assert "another project (-/16G)" in line
    assert "! 10G without owner" in line


def test_the_bar_shows_used_reserved_foreign_and_free():
    assert memory_bar(a_card()) == "█" * 14 + "▒" + "!" * 3 + "░" * 2
    assert memory_bar(a_card(used_bytes=None, foreign_bytes=0)) == "▒" * 15 + "░" * 5
    full = memory_bar(a_card(used_bytes=90 * GIB, foreign_bytes=0))
    assert full == "█" * 20


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"busy": None, "temperature_celsius": None, "used_bytes": None}, "-"),
        ({"state": "lost", "fault": "fell off the bus"}, "fell off the bus"),
        ({"state": "drained", "drain_reason": "new fan"}, "drained: new fan"),
    ],
)
def test_a_card_that_cannot_tell_or_work_says_so(fields, expected):
    assert expected in drawn(cards_table([a_card(**fields)]))


def test_a_running_job_shows_how_far_it_is():
    line = drawn(jobs_table([a_job()], NOW, owners=True)).splitlines()[1]
    for part in (
        "sft_qwen",
        "▶ running",
        "44G A100",
        "2h14m",
        "≈ 38m",
        "612/1000 steps, loss 1.284",
    ):
        assert part in line, part


def test_a_job_that_can_never_run_is_blocked():
    why = {"code": "NEVER_FITS", "sentence": "Asks for 600 GiB."}
    job = a_job(
        state="QUEUED", why=why, run=2, started_at=None, eta=None, allocations=[], position=3
    )
    line = drawn(jobs_table([job], NOW, owners=False)).splitlines()[1]
    assert line.split()[:4] == ["3", "sft_qwen#2", "✕", "blocked"]
    assert "Asks for 600 GiB." in line


def test_an_ended_job_shows_how_long_it_took_and_how_it_ended():
    job = a_job(
        state="FAILED", finished_at="2026-02-03T11:46:30Z", detail="Out of memory.", eta=None
    )
    line = drawn(jobs_table([job], NOW, owners=True)).splitlines()[1]
    assert "✕ failed" in line
    assert "30s" in line
    assert "Out of memory." in line


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, "-"), (0, "0M"), (512 * 1024**2, "512M"), (GIB, "1G"), (int(1.5 * GIB), "1.5G")],
)
def test_sizes_are_short(size, expected):
    assert words.short_size(size) == expected


def test_clocks_that_differ_give_no_negative_times():
    job = a_job(started_at="2026-02-03T14:00:05Z", eta="2026-02-03T13:59:00Z")
    assert words.took(job, NOW) == words.duration(0)
    assert words.expected(job, NOW) == f"≈ {words.duration(0)}"


def test_every_state_has_its_word():
    from jobs.core.states import JobState

    assert set(words.STATES) == set(JobState)


WHOLE = {"id": "x", "project": "default", "priority": "high", "attempts": 0, "allocations": []}


def shown_facts(**fields):
    return dict(_facts(a_job(**WHOLE, **fields)))


def test_show_names_what_would_help_a_job_that_ran_out_of_memory():
    remedy = {
        "changes": {"llamafactory.cutoff_len": "1024", "llamafactory.deepspeed": '{"a": 1}'},
        "sentence": "Likely 20 GiB instead of 31 GiB on each card.",
    }
    failure = {"diagnosis": "The card had 1 GiB left.", "advice": None, "remedies": [remedy]}
    facts = shown_facts(state="FAILED", failure=failure)
    assert facts["diagnosis"] == "The card had 1 GiB left."
    assert "advice" not in facts
    assert "--set llamafactory.cutoff_len=1024" in facts["remedy"]
    assert """--set 'llamafactory.deepspeed={"a": 1}'""" in facts["remedy"]
    assert "Likely 20 GiB instead of 31 GiB" in facts["remedy"]


def test_show_says_that_a_running_job_does_nothing():
    idle = {"sentence": "Its cards have done nothing for 42m."}
    assert shown_facts(idle=idle)["idle"] == "Its cards have done nothing for 42m."
    assert "idle" not in shown_facts()
