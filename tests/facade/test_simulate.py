"""`llama-coop simulate`: from files to figures, without a service."""

from __future__ import annotations

import csv
import json

import pytest

KEYS = [
    "jobs",
    "finished",
    "makespan_s",
    "mean_jct_s",
    "p50_jct_s",
    "p99_jct_s",
    "mean_wait_s",
    "max_wait_s",
    "max_wait_s_by_gpus",
    "preemptions",
    "lost_gpu_s",
    "gpu_busy_ratio",
    "memory_booked_ratio",
    "share_error",
    "seconds",
]
THREE = "submit_s,duration_s,gpus\n0,10,1\n1,5,2\n2,1,1\n"


def ran(shell, *arguments, workload=THREE, fleet="1x2xV100-32G"):
    (shell.directory / "workload.csv").write_text(workload, encoding="utf-8")
    return shell.coop("simulate", "workload.csv", "--fleet", fleet, *arguments)


def figures(shell, *arguments, **files):
    answer = ran(shell, "--json", *arguments, **files)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_the_figures_have_fixed_names(shell):
    found = figures(shell, "--policy", "fifo")
    assert list(found) == KEYS
    assert (found["jobs"], found["finished"], found["makespan_s"]) == (3, 3, 16)
    assert found["max_wait_s_by_gpus"] == {"1": 13, "2-7": 9, "8-15": None, "16+": None}
    assert found["share_error"] is None


def test_people_get_lines(shell):
    answer = ran(shell, "--policy", "greedy")
    assert answer.returncode == 0, answer.stderr
    lines = dict(line.split("  ", 1) for line in answer.stdout.splitlines())
    assert lines["jobs"].strip() == "3"
    assert lines["makespan"].strip() == "15s"
    assert lines["gpu busy ratio"].strip() == "70.0 %"
    assert "0s (1), 9s (2-7), - (8-15)" in lines["max wait by gpus"]


@pytest.mark.parametrize("policy", ["default", "fifo", "greedy", "easy", "las", "srtf", "srsf"])
def test_every_scheduler_has_its_name(shell, policy):
    assert figures(shell, "--policy", policy, "--all-preemptible")["finished"] == 3


def test_a_policy_of_ones_own_is_tried(shell):
    (shell.directory / "mine.py").write_text(
        "from llama_factory.coop import BasePolicy\n"
        "class LastFirst(BasePolicy):\n"
        "    def schedule(self, tasks):\n"
        "        return sorted(tasks, key=lambda task: -task.submitted_at)\n",
        encoding="utf-8",
    )
    workload = "submit_s,duration_s\n0,10\n1,5\n2,1\n"
    answer = ran(
        shell,
        *("--policy", "mine.py:LastFirst", "--rows", "rows.csv"),
        workload=workload,
        fleet="1x1xV100-32G",
    )
    assert answer.returncode == 0, answer.stderr
    with (shell.directory / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["start"] for row in rows] == ["0.0", "11.0", "10.0"]
    assert list(rows[0]) == [
        "job_id",
        "project",
        "gpus",
        "submit",
        "start",
        "end",
        "wait",
        "jct",
        "preemptions",
    ]


def test_a_policy_that_fails_is_told(shell):
    (shell.directory / "mine.py").write_text(
        "from llama_factory.coop import BasePolicy\n"
        "class Broken(BasePolicy):\n"
        "    def schedule(self, tasks):\n"
        "        return tasks[1:]\n",
        encoding="utf-8",
    )
    answer = ran(shell, "--policy", "mine.py:Broken")
    assert answer.returncode == 0
    assert "The policy Broken left out 1 of" in answer.stderr


def test_suspending_costs_what_is_said(shell):
    workload = "submit_s,duration_s\n0,100\n50,20\n"
    asked = ("--policy", "srtf", "--all-preemptible", "--suspend-seconds", "10")
    one = {"workload": workload, "fleet": "1x1xV100-32G"}
    found = figures(shell, *asked, "--min-run", "0", **one)
    assert (found["makespan_s"], found["preemptions"], found["lost_gpu_s"]) == (130, 1, 10)
    assert figures(shell, *asked, "--min-run", "90", **one)["preemptions"] == 0
    assert figures(shell, "--policy", "srtf", "--min-run", "0", **one)["preemptions"] == 0


def test_overheads_departures_and_modes_are_taken_over(shell):
    workload = "submit_s,duration_s,min_memory,sm_share,load_s\n0,10,8G,0.4,3\n0,10,8G,0.4,3\n"
    asked = {"workload": workload, "fleet": "1x1xV100-32G"}
    alone = figures(shell, "--policy", "fifo", "--start-overhead", "load_s", **asked)
    assert alone["makespan_s"] == 26
    shared = figures(shell, "--policy", "fifo", "--mode", "smart-queue", **asked)
    assert shared["makespan_s"] == pytest.approx(10 / 0.98)
    kept = figures(shell, "--policy", "fifo", "--no-departures", **asked)
    assert (kept["finished"], kept["memory_booked_ratio"]) == (0, 0.25)


def test_chance_is_the_same_for_the_same_seed(shell):
    asked = ("--placement", "random", "--policy", "greedy", "--mode", "dynamic-sharding")
    workload = "submit_s,duration_s,min_memory,gpus\n" + "".join(
        f"{number},40,{1 + number % 20}G,{1 + number % 3}\n" for number in range(60)
    )

    def with_seed(seed):
        found = figures(shell, *asked, "--seed", seed, workload=workload, fleet="3x4xV100-32G")
        del found["seconds"]
        return found

    assert with_seed("1") == with_seed("1")
    assert with_seed("1") != with_seed("2")


def test_weights_are_shares(shell):
    workload = "submit_s,duration_s,project\n" + "0,3600,a\n0,3600,b\n" * 60
    found = figures(
        shell, "--weight", "a=3", "--weight", "b=1", workload=workload, fleet="1x4xV100-32G"
    )
    assert found["share_error"] < 0.2


def test_what_was_left_out_is_said(shell):
    answer = ran(shell, workload="submit_s,duration_s,gpus,model\n0,10,1,bert\n0,10,64,bert\n")
    assert "Columns that nothing is done with: model" in answer.stderr
    assert "Jobs that ask for more than the fleet has, and were left out: 1" in answer.stderr


def test_machines_may_come_from_a_file(shell):
    (shell.directory / "fleet.csv").write_text(
        "gpus,memory,cpus,count\n2,32G,8,2\n", encoding="utf-8"
    )
    workload = "submit_s,duration_s,cpus\n0,10,8\n0,10,8\n0,10,8\n"
    found = figures(shell, "--policy", "greedy", workload=workload, fleet="fleet.csv")
    assert found["makespan_s"] == 20


@pytest.mark.parametrize(
    ("arguments", "files", "said"),
    [
        ((), {"workload": "submit_s\n"}, "line 1, duration_s: there is no such column"),
        ((), {"workload": "submit_s,duration_s\n0,x\n"}, "line 2, duration_s: 'x' is no such"),
        ((), {"fleet": "8 cards"}, "'8 cards', which names no machines"),
        ((), {"fleet": "none.csv"}, "none.csv cannot be read: No such file"),
        (("--policy", "best"), {}, "Allowed: default, fifo, greedy, easy, las, srtf, srsf"),
        (("--policy", "none.py:Mine"), {}, "There is no file 'none.py'"),
        (("--policy", "workload.csv:Mine"), {}, "its name must end in .py"),
        (("--weight", "a=0"), {}, "PROJECT=NUMBER"),
        (("--min-run", "-1"), {}, "min-run"),
        (("--rows", "none/rows.csv"), {}, "cannot be written: No such file"),
    ],
)
def test_what_is_wrong_is_exit_code_2_with_a_way_out(shell, arguments, files, said):
    answer = ran(shell, *arguments, **files)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_policy_file_that_cannot_be_run_says_why(shell):
    (shell.directory / "mine.py").write_text("import nothing_like_it\n", encoding="utf-8")
    answer = ran(shell, "--policy", "mine.py:Mine")
    assert answer.returncode == 2
    assert "mine.py cannot be run: ModuleNotFoundError" in answer.stderr
    (shell.directory / "mine.py").write_text("Mine = 3\n", encoding="utf-8")
    assert "'Mine' in mine.py is not a policy." in ran(shell, "--policy", "mine.py:Mine").stderr


def test_a_workload_that_is_not_text_is_refused(shell):
    (shell.directory / "workload.csv").write_bytes(b"\xff\xfe\x00")
    answer = shell.coop("simulate", "workload.csv", "--fleet", "1x1xV100-32G")
    assert answer.returncode == 2
    assert "is not UTF-8 text" in answer.stderr
