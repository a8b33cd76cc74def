"""A site's own policy in a process of its own: whatever it does, nobody waits for it and everybody is told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.core.scheduling.rules import Rules
from jobs.core.states import Priority
from jobs.policies import process, runner
from jobs.policies.host import PolicyHost
from jobs.policies.runner import Patience
from jobs.policies.wire import pack, pack_rules, unpack, unpack_rules
from tests.builders import evolve, job, queue_of
from tests.waiting import wait_until

QUICK = Patience(call=5, rest=0.01, look=0.02, settle=0.05, first_retry=0.05, longest_retry=0.1)
JOBS = queue_of(job("a", est_time=30), job("b", est_time=20), job("c", est_time=10))
HEAD = "import os, sys, time\nfrom llama_factory.coop import BasePolicy, Priority\n"
SORTS = "return sorted(tasks, key=lambda t: t.est_time)"


class Site:
    """A policy file and a host that uses it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "policy.py"
        self.told: list[str | None] = []
        self.host = self.new_host()

    def new_host(self, patience: Patience = QUICK, **more) -> PolicyHost:
        self.host = PolicyHost(patience=patience, news=self._news, **more)
        return self.host

    def _news(self) -> None:
        self.told.append(self.host.problem)

    @property
    def setting(self) -> str:
        return f"{self.file}:Mine"

    def write(self, body: str, head: str = HEAD) -> None:
        """A policy of this body; the new file is in its place at once."""
        lines = "".join(f"        {line}\n" for line in body.splitlines())
        text = f"{head}class Mine(BasePolicy):\n    def schedule(self, tasks):\n{lines}"
        self.write_text(text)

    def write_text(self, text: str) -> None:
        temporary = self.file.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.file)

    def use(self, body: str, **more) -> PolicyHost:
        self.write(body, **more)
        self.host.use(self.setting)
        return self.host

    def order(self, tasks=JOBS, seconds: float = 15) -> list[str] | None:
        ranks = self.host.order(tasks, patience=seconds)
        return None if ranks is None else sorted(ranks, key=ranks.__getitem__)

    def pid(self) -> int:
        """The pid of the process that runs the policy."""
        return self.host._runner._process._process.pid


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.host.close()


# --- an order ---------------------------------------------------------------------------------------


def test_a_policy_orders_the_tasks(site):
    site.use(SORTS)
    assert site.order() == ["c", "b", "a"]
    assert site.host.problem == ""


def test_the_default_needs_no_process(site):
    for setting in ("", "default"):
        site.host.use(setting)
        assert (site.host.order(JOBS, patience=5), site.host.problem) == (None, "")
    assert site.host._thread is None


def test_a_shipped_policy_is_used_by_its_name(site):
    site.host.use("shortest-first")
    assert site.order() == ["c", "b", "a"]


def test_nobody_waits_and_the_last_order_serves_until_the_new_one_is_there(site, tmp_path):
    gate = tmp_path / "gate"
    site.use(
        f"while len(tasks) > 2 and not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n{SORTS}"
    )
    assert site.order(JOBS[:2]) == ["b", "a"]
    begun = time.monotonic()
    ranks = [site.host.order(JOBS) for _ in range(50)]
    assert time.monotonic() - begun < 1
    assert ranks[-1] == {"b": 0, "a": 1}
    gate.touch()
    assert site.order() == ["c", "b", "a"]


def test_a_slow_first_answer_is_used_once_it_has_come(site, tmp_path):
    gate = tmp_path / "gate"
    site.use(f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n{SORTS}")
    assert site.host.order(JOBS) is None
    gate.touch()
    assert wait_until(lambda: site.host.order(JOBS)) == {"c": 0, "b": 1, "a": 2}


def test_news_are_told_once(site):
    site.use(SORTS)
    for _ in range(3):
        assert site.order() == ["c", "b", "a"]
    assert site.told == [""]


def test_the_same_order_is_the_same_object(site):
    site.use(SORTS)
    first = site.host.order(JOBS, patience=15)
    changed = tuple(evolve(each, attempts=1) for each in JOBS)
    assert site.host.order(changed, patience=15) is first


def test_only_what_changed_is_sent(site, monkeypatch):
    sent = []
    monkeypatch.setattr(process, "pack", lambda each: sent.append(each.id) or pack(each))
    site.use(SORTS)
    site.order(JOBS[:2])
    assert site.order([JOBS[0], evolve(JOBS[1], est_time=99), JOBS[2]]) == ["c", "a", "b"]
    assert site.order(JOBS[:1]) == ["a"]
    assert sent == ["a", "b", "b", "c"]


def test_a_policy_that_looks_at_the_clock_is_asked_again_though_nothing_has_changed(site):
    site.host = site.new_host(replace(QUICK, refresh=0.05))
    site.use("self.n = getattr(self, 'n', 0) + 1\nreturn tasks if self.n < 3 else tasks[::-1]")
    assert site.order() == ["a", "b", "c"]
    assert wait_until(lambda: site.order() == ["c", "b", "a"])


def test_beyond_the_limit_the_first_in_the_default_order_are_asked_about(site, monkeypatch):
    monkeypatch.setattr(runner, "MOST_TASKS", 2)
    jobs = [job("last", at=3), job("second", at=2), job("first", priority=Priority.HIGH, at=9)]
    site.use("return tasks[::-1]")
    assert site.order(jobs) == ["second", "first"]


def test_the_rules_of_the_site_hold_in_a_policy(site):
    site.host = site.new_host(rules=Rules(head_start=1.0))
    jobs = [job("urgent", at=2, priority=Priority.HIGH), job("early", at=0)]
    site.use("return super().schedule(tasks[::-1])")
    assert site.order(jobs) == ["early", "urgent"]


def test_tasks_reach_the_policy_as_they_are():
    jobs = [job("a", nodes=2, gpu_type="A100", not_before=1.5), job("é", priority=Priority.LOW)]
    assert [unpack(list(pack(each))) for each in jobs] == jobs
    assert type(unpack(list(pack(jobs[0]))).priority) is Priority
    rules = Rules(half_life=1.0)
    assert (
        unpack_rules(
            {k: list(v) if isinstance(v, tuple) else v for k, v in pack_rules(rules).items()}
        )
        == rules
    )


# --- what a policy may do wrong ---------------------------------------------------------------------


def fails(site: Site, seconds: float = 15) -> str:
    """What is said against the policy; the default order must hold."""
    assert site.order(seconds=seconds) is None
    return site.host.problem or ""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("raise KeyError('a\\nb')", "KeyError: 'a\\nb'"),
        ("raise ValueError('one\\n  two')", "ValueError: one two"),
        ("raise ValueError('x' * 9999)", f"ValueError: {'x' * 299}…"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("bytearray(2**33)", "MemoryError"),
        ("tasks[0].priority = 2", "FrozenInstanceError: cannot assign to field 'priority'"),
        ("return input()", "EOFError: EOF when reading a line"),
    ],
)
def test_what_it_raises_is_told_with_its_line(site, body, said):
    site.use(body)
    assert fails(site) == f"raised {said} (line 5, in schedule)"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("tasks.sort(key=lambda t: t.id)", "returned None instead of its tasks in their order"),
        ("return 'cba'", "returned 'cba' (str) instead of its tasks in their order"),
        ("return [t.task_id for t in tasks]", "returned 'a' (str), which is not one of its tasks"),
        ("return tasks[1:]", "left out 1 of 3 tasks"),
        ("return [*tasks, tasks[0]]", "returned 1 tasks more than once"),
        ("import copy; return copy.deepcopy(tasks)", "returned 3 tasks that it was not given"),
        ("os._exit(7)", "ended its process with exit code 7"),
        ("os.kill(os.getpid(), 9)", "was ended by signal SIGKILL"),
        ("os.closerange(3, 99); return tasks", "was ended by signal SIGKILL"),
    ],
)
def test_a_wrong_answer_and_none_are_told(site, body, said):
    site.use(body)
    assert fails(site) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere\n", "cannot be used: {file} has no class Mine; it has no class at all"),
        (
            "class Mine: pass\n",
            "cannot be loaded: Mine in {file} is not a class derived from BasePolicy",
        ),
        ("Mine = 7\n", "cannot be loaded: Mine in {file} is not a class derived from BasePolicy"),
        ("class Mine(:\n", "cannot be used: {file} is not valid Python: invalid syntax (line 1)"),
        (
            "\nimport nowhere\nclass Mine: pass\n",
            "cannot be loaded: ModuleNotFoundError: No module named 'nowhere' (line 2)",
        ),
        (
            f"{HEAD}class Mine(BasePolicy):\n    def __init__(self):\n        self.x\n",
            "cannot be loaded: AttributeError: 'Mine' object has no attribute 'x' (line 5, in __init__)",
        ),
        (
            f"{HEAD}class Mine(BasePolicy): pass\nsys.exit()\n",
            "cannot be loaded: SystemExit (line 4)",
        ),
        (
            f"{HEAD}class Mine(BasePolicy): pass\nos._exit(2)\n",
            "ended its process with exit code 2",
        ),
    ],
)
def test_a_file_that_cannot_be_loaded_is_reported(site, text, said):
    site.write_text(text)
    site.host.use(site.setting)
    assert fails(site) == said.format(file=site.file)


def test_a_file_that_cannot_be_loaded_is_reported_before_any_job_waits(site):
    site.host.use(site.setting)
    said = wait_until(lambda: site.host.problem)
    assert said == f"cannot be used: {site.file} cannot be read (No such file or directory)"


def test_a_wrong_name_is_reported(site):
    site.host.use("fastest")
    assert fails(site) == "cannot be used: there is no policy of the name 'fastest'"


@pytest.mark.parametrize("how", ["while True: pass", "time.sleep(1000)", "yield time.sleep(1000)"])
def test_a_policy_that_hangs_is_ended_and_the_line_told(site, how):
    site.host = site.new_host(replace(QUICK, call=0.3))
    site.use(how)
    assert fails(site) == "took longer than 0.3 s (line 5, in schedule)"


def test_a_policy_that_hangs_outside_python_is_ended_from_outside(site, monkeypatch):
    monkeypatch.setattr(process, "_GRACE", 0.2)
    site.host = site.new_host(replace(QUICK, call=0.2))
    site.use("import re\nre.match(r'(a*)*b', 'a' * 99)")
    assert fails(site) == "took longer than 0.2 s"


def test_a_policy_that_hangs_while_it_is_loaded_is_ended(site):
    site.host = site.new_host(replace(QUICK, load=0.3))
    site.write_text(f"{HEAD}class Mine(BasePolicy): pass\ntime.sleep(1000)\n")
    site.host.use(site.setting)
    assert fails(site) == "took longer than 0.3 s to load (line 4, in <module>)"


def test_a_process_that_was_stopped_is_ended(site, monkeypatch):
    monkeypatch.setattr(process, "_GRACE", 0.1)
    site.host = site.new_host(replace(QUICK, call=1))
    site.use(SORTS)
    assert site.order(JOBS[:2]) == ["b", "a"]
    pid = site.pid()
    os.kill(pid, signal.SIGSTOP)
    site.host.order(JOBS)
    wait_until(lambda: site.host.problem == "took longer than 1 s")
    assert wait_until(lambda: not is_running(pid))
    assert wait_until(lambda: site.order() == ["c", "b", "a"])


def test_processes_that_a_policy_has_started_end_with_it(site, tmp_path):
    note = tmp_path / "pid"
    site.use(
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "os._exit(1)"
    )
    assert fails(site) == "ended its process with exit code 1"
    pid = int(note.read_text())
    assert wait_until(lambda: not is_running(pid))


def test_an_answer_that_nobody_could_have_asked_for_is_refused(site, monkeypatch):
    liar = (
        "import os, socket; from gpus.frames import Channel\n"
        "c = Channel(socket.socket(fileno=os.dup(0)))\n"
        "c.receive(); c.send({'loaded': True}); c.receive(); c.receive(); c.send({'order': %s}); c.receive()"
    )
    for order, said in (
        ("7", "not an order"),
        ("['a', 'b', 'x']", "other tasks"),
        ("[['a'], 1, 2]", "other tasks"),
    ):
        monkeypatch.setattr(process, "_COMMAND", (process._COMMAND[0], "-c", liar % order))
        site.host.close()
        site.host = site.new_host(replace(QUICK, first_retry=60, longest_retry=60))
        site.use(SORTS)
        assert said in fails(site)


# --- coming back ------------------------------------------------------------------------------------


def test_a_failure_is_over_when_the_policy_works_again(site, tmp_path):
    bad = tmp_path / "bad"
    bad.touch()
    site.use(f"if os.path.exists({str(bad)!r}): raise OSError('away')\n{SORTS}")
    assert fails(site) == "raised OSError: away (line 5, in schedule)"
    bad.unlink()
    assert wait_until(lambda: site.order() == ["c", "b", "a"])
    assert site.host.problem == ""
    assert site.told == ["raised OSError: away (line 5, in schedule)", ""]


def test_a_failure_takes_the_order_of_before_out_of_force(site):
    site.use(f"if len(tasks) == 2: os._exit(1)\n{SORTS}")
    assert site.order() == ["c", "b", "a"]
    assert site.order(JOBS[:2]) is None
    assert wait_until(lambda: site.order() == ["c", "b", "a"])


def test_a_changed_file_is_loaded_again(site):
    site.use("return tasks")
    assert site.order() == ["a", "b", "c"]
    site.write(SORTS)
    assert wait_until(lambda: site.order() == ["c", "b", "a"])


def test_a_corrected_file_is_loaded_without_waiting_for_the_next_try(site):
    site.host = site.new_host(replace(QUICK, first_retry=1000, longest_retry=1000))
    site.use("return 1 / 0")
    assert "ZeroDivisionError" in fails(site)
    site.write(SORTS)
    assert wait_until(lambda: site.order() == ["c", "b", "a"])


def test_a_file_that_is_half_written_is_not_loaded(site):
    site.host = site.new_host(replace(QUICK, settle=1000))
    site.use("return tasks")
    assert site.order() == ["a", "b", "c"]
    site.write_text("class Mine(\n")
    assert site.order(JOBS[:2]) == ["a", "b"]
    wait_until(lambda: site.host._runner._changed)
    assert (site.order(), site.host.problem) == (["a", "b", "c"], "")


def test_a_failing_policy_is_not_tried_without_pause(site):
    site.host = site.new_host(replace(QUICK, first_retry=1000, longest_retry=1000))
    site.write(f"open({str(site.file)!r} + '.count', 'a').write('x')\nos._exit(1)")
    site.host.use(site.setting)
    for _ in range(5):
        assert fails(site) == "ended its process with exit code 1"
    assert Path(f"{site.file}.count").read_text() == "x"


def test_another_policy_is_used_as_soon_as_it_is_chosen(site):
    site.use("time.sleep(1000)")
    site.host.order(JOBS)
    site.host.use("fifo")
    assert site.host.problem is None
    assert site.order() == ["a", "b", "c"]
    site.host.use("default")
    assert (site.order(), site.host.problem) == (None, "")


def test_a_policy_that_was_left_and_chosen_again_is_asked_again(site):
    site.use(SORTS)
    assert site.order() == ["c", "b", "a"]
    for setting in ("fifo", site.setting):
        site.host.use(setting)
    assert site.order() == ["c", "b", "a"]
    assert site.host.problem == ""


# --- the process ------------------------------------------------------------------------------------


def test_a_policy_sees_no_secret_and_imports_what_lies_beside_it(site, monkeypatch, tmp_path):
    monkeypatch.setenv("COOP_SECRET_KEY", "secret")
    monkeypatch.setenv("COOP_DATABASE_URL", "postgresql://u:secret@db/x")
    (tmp_path / "beside.py").write_text("WEIGHT = {'a': 1, 'b': 0, 'c': 2}\n")
    (tmp_path / "random.py").write_text("raise ImportError('not this one')\n")
    site.use(
        "seen = sorted(n for n in os.environ if n not in ('HOME', 'LANG', 'PATH', 'TZ') and n[:3] != 'LC_')\n"
        "assert [n for n in seen if not n.startswith('PYTHON')] == [], seen\n"
        "return sorted(tasks, key=lambda t: WEIGHT[t.task_id])",
        head=f"import random\nfrom beside import WEIGHT\n{HEAD}",
    )
    assert (site.order(), site.host.problem) == (["b", "a", "c"], "")


def test_what_a_policy_prints_disturbs_nobody(site):
    site.use(f"print('hello')\n{SORTS}")
    assert site.order() == ["c", "b", "a"]


def test_the_process_runs_behind_the_service_and_is_the_first_to_go(site):
    site.use(SORTS)
    site.order()
    pid = site.pid()
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 5
    assert os.getpgid(pid) == pid
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n"


def test_closing_ends_the_process_even_in_the_middle_of_a_call(site):
    site.use("time.sleep(1000)")
    site.host.order(JOBS)
    pid = wait_until(lambda: site.host._runner and site.host._runner._process and site.pid())
    begun = time.monotonic()
    site.host.close()
    assert time.monotonic() - begun < 4
    assert not is_running(pid)


def test_the_process_ends_with_the_service(site, tmp_path):
    site.write(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(1000)")
    code = (
        "import sys, time; from jobs.policies.host import PolicyHost; from tests.builders import job\n"
        f"h = PolicyHost(); h.use({site.setting!r})\n"
        "while True: h.order([job('a')]); time.sleep(0.01)"
    )
    service = subprocess.Popen([process._COMMAND[0], "-c", code], cwd=process._PACKAGES)
    pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    service.kill()
    service.wait()
    assert wait_until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
