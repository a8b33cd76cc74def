"""What every engine promises about an attempt, with real processes and real kills."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

import pytest

from jobs.engines.base import AttemptRef
from jobs.engines.local import LocalEngine
from jobs.launch import procfs
from tests.jobs.launching import PATH, LaunchSite, possible_containments
from tests.waiting import wait_until


@pytest.fixture(params=["cgroup", "pidns", "tag"])
def containment(request) -> str:
    if request.param not in possible_containments():
        pytest.skip(f"{request.param} cannot be had on this machine")
    return request.param


@pytest.fixture
def site(tmp_path):
    made = LaunchSite(tmp_path)
    yield made
    made.close()


@pytest.fixture
def mark() -> str:
    """A word for a command line, by which a test finds its processes wherever they hide."""
    return f"9{uuid.uuid4().int % 10**8:08d}"


def test_the_exit_code_is_recorded(site, containment):
    seen = site.run("exit 7", containment=containment)
    assert (seen.exit["code"], seen.exit["signal"], seen.exit["tree_empty"]) == (7, None, True)
    assert seen.started["containment"].startswith(containment)


def test_the_signal_that_ended_the_command_is_recorded(site, containment):
    seen = site.run("kill -SEGV $$", containment=containment)
    assert (seen.exit["code"], seen.exit["signal"]) == (None, signal.SIGSEGV)


def test_an_attempt_that_is_started_many_times_runs_once(site, containment):
    attempt = site.launch_of("echo run >> ledger; sleep 0.3", containment=containment)
    for _ in range(8):
        site.engine.start(attempt)
    site.end_of(attempt.ref)
    site.engine.start(attempt)
    site.run("true", containment=containment)  # whatever the last start did, it did before this
    assert site.text("ledger") == "run\n"


def test_two_engines_that_start_the_same_attempt_run_it_once(site, tmp_path):
    attempt = site.launch_of("echo run >> ledger; sleep 0.3")
    other = LocalEngine(tmp_path)
    for engine in (site.engine, other, site.engine, other):
        engine.start(attempt)
    site.end_of(attempt.ref)
    other.close()
    assert site.text("ledger") == "run\n"


def test_the_environment_is_the_given_one_and_nothing_else(site, monkeypatch):
    monkeypatch.setenv("COOP_SECRET_KEY", "never for a job")
    ref = site.start("", argv=("env",), env={"PATH": PATH, "A": "1"})
    site.end_of(ref)
    assert set(site.log(ref).split()) == {f"PATH={PATH}", "A=1", f"LLAMA_COOP_ATTEMPT={ref.token}"}


def test_the_command_inherits_only_the_three_standard_descriptors(site, containment):
    ref = site.start("ls /proc/$$/fd; cat; umask", containment=containment)
    site.end_of(ref)
    assert site.log(ref).split() == ["0", "1", "2", "0077"]


def test_the_command_leads_its_own_session(site):
    ref = site.start_running("sleep 60")
    sessions = {procfs.read_process(pid).session for pid in site.engine.pids(ref)}
    assert len(sessions) == 1
    assert sessions <= site.engine.pids(ref)


ESCAPES = {
    "nohup": "nohup sleep {mark} & sleep 0.2",
    "setsid": "setsid sleep {mark} & sleep 0.2",
    "double fork": "(setsid sleep {mark} &) ; sleep 0.2",
    "clean environment": "(env -i setsid sleep {mark} &) ; sleep 0.2",
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_what_a_command_leaves_behind_is_gone_before_its_end_is_recorded(
    site, containment, mark, escape
):
    site.run(ESCAPES[escape].format(mark=mark), containment=containment)
    assert site.processes(mark) == frozenset()


def test_a_killed_supervisor_takes_its_command_along(site, containment, mark):
    ref = site.start_running(f"sleep {mark}; true", containment=containment)
    site.kill_supervisor(ref)
    assert site.seen(ref, "dead").exit is None
    assert wait_until(lambda: site.engine.reap(ref), what="an empty tree")
    assert site.processes(mark) == frozenset()
    assert site.engine.observe(ref).kind == "dead"


def test_escaped_processes_of_a_killed_supervisor_are_reaped(site, containment, mark):
    ref = site.start_running(f"(setsid sleep {mark} &); sleep {mark}", containment=containment)
    wait_until(lambda: len(site.processes(mark)) == 2, what="both processes")
    site.kill_supervisor(ref)
    assert wait_until(lambda: site.engine.reap(ref), what="an empty tree")
    assert site.processes(mark) == frozenset()


def test_hidden_processes_of_a_killed_supervisor_are_reaped_where_a_container_holds_them(
    site, containment, mark
):
    hidden = f"env -i setsid /bin/sh -c '/usr/bin/touch hidden; exec /bin/sleep {mark}'"
    ref = site.start_running(f"({hidden} &); sleep {mark}", containment=containment)
    wait_until((site.home / "hidden").exists, what="the process to have left the session")
    wait_until(lambda: len(site.processes(mark)) == 2, what="both processes")
    site.kill_supervisor(ref)
    assert wait_until(lambda: site.engine.reap(ref), what="an empty tree")
    # The honest limit of the tag: this process left the session and cleaned its environment.
    escaped = site.processes(mark)
    assert len(escaped) == (1 if containment == "tag" else 0)
    for pid in escaped:
        os.kill(pid, signal.SIGKILL)


def test_a_frozen_tree_of_a_killed_supervisor_is_reaped(site, containment, mark):
    ref = site.start_running(f"sleep {mark}; true", containment=containment)
    _apply(site, ref, "freeze")
    site.kill_supervisor(ref)
    assert wait_until(lambda: site.engine.reap(ref), what="an empty tree")
    assert site.processes(mark) == frozenset()


@pytest.mark.parametrize("kind", [kind for kind in possible_containments() if kind != "pidns"])
def test_a_tree_that_cannot_be_ended_is_not_reported_as_reaped(site, kind, monkeypatch, mark):
    ref = site.start_running(f"setsid sleep {mark} & wait", containment=kind)
    wait_until(lambda: site.processes(mark), what="its child")
    with monkeypatch.context() as undying:
        undying.setattr("jobs.launch.cgroup.Cgroup.kill", lambda container: None)
        undying.setattr("jobs.launch.trees.Tag.kill", lambda container: None)
        undying.setattr("jobs.engines.local._REAP_WAIT_S", 0.1)
        site.kill_supervisor(ref)
        assert not site.engine.reap(ref)
        assert site.processes(mark), "and so it is still there"
    assert wait_until(lambda: site.engine.reap(ref), what="an empty tree")
    assert site.processes(mark) == frozenset()


def test_nothing_is_reaped_while_the_supervisor_lives(site, containment):
    ref = site.start_running("sleep 60", containment=containment)
    assert not site.engine.reap(ref)
    assert site.engine.observe(ref).kind == "alive"


def test_a_command_that_ignores_sigterm_is_gone_soon_after_the_grace(site, containment, mark):
    ref = site.start_running(
        f"sleep {mark}; sleep {mark}", first="trap '' TERM", containment=containment
    )
    began = time.monotonic()
    site.engine.control(ref, "stop", grace_s=1.0)
    seen = site.end_of(ref)
    assert 0.9 < time.monotonic() - began < 3.0
    assert (seen.exit["signal"], seen.exit["stopped_by"]) == (signal.SIGKILL, "control")
    assert site.processes(mark) == frozenset()


def test_the_helpers_of_a_stopped_command_keep_the_grace_to_finish(site, containment):
    helper = "(trap 'sleep 0.5; touch saved; exit' TERM; touch ready; while :; do sleep 0.05; done)"
    ref = site.start(f"{helper} & exec sleep 60", containment=containment)
    wait_until((site.home / "ready").exists, what="the helper to have set its trap")
    site.engine.control(ref, "stop", grace_s=10)
    seen = site.end_of(ref)
    assert (site.home / "saved").exists()
    assert seen.exit["signal"] == signal.SIGTERM


def test_a_shorter_grace_can_be_asked_for_later(site):
    ref = site.start_running("while :; do sleep 0.1; done", first="trap '' TERM")
    site.engine.control(ref, "stop", grace_s=600)
    site.engine.control(ref, "stop", grace_s=0)
    assert site.end_of(ref, seconds=5).exit["signal"] == signal.SIGKILL


def test_a_frozen_tree_does_nothing_until_it_is_thawed(site, containment):
    loop = "while :; do echo >> ticks; sleep 0.01; done"
    ref = site.start_running(f"({loop}) & {loop}", containment=containment)
    _apply(site, ref, "freeze")
    still = site.text("ticks")
    assert _is_stopped(site, ref, containment)
    time.sleep(0.3)
    assert site.text("ticks") == still
    _apply(site, ref, "thaw")
    wait_until(lambda: len(site.text("ticks")) > len(still) + 5, what="the tree to run on")


def test_a_frozen_tree_can_be_stopped_and_hears_sigterm(site, containment):
    ref = site.start_running(
        "trap 'touch heard; exit 5' TERM; while :; do sleep 0.05; done", containment=containment
    )
    _apply(site, ref, "freeze")
    site.engine.control(ref, "stop", grace_s=10)
    assert site.end_of(ref).exit["code"] == 5
    assert (site.home / "heard").exists()


def test_a_control_reaches_a_supervisor_that_missed_the_signal(site, monkeypatch):
    ref = site.start_running("sleep 60")
    monkeypatch.setattr("jobs.engines.local._wake_supervisor", lambda directory: None)
    site.engine.control(ref, "stop", grace_s=1)
    assert site.end_of(ref, seconds=5).exit["stopped_by"] == "control"


def test_the_time_limit_ends_the_attempt(site):
    seen = site.run("sleep 60", time_limit_s=0.4, grace_s=5)
    assert (seen.exit["stopped_by"], seen.exit["signal"]) == ("time_limit", signal.SIGTERM)


def test_frozen_time_does_not_count_against_the_time_limit(site):
    ref = site.start_running("sleep 0.6; exit 4", time_limit_s=1.2)
    _apply(site, ref, "freeze")
    time.sleep(1.5)
    site.engine.control(ref, "thaw")
    assert site.end_of(ref).exit["code"] == 4


def test_an_unknown_command_ends_with_a_sentence(site, containment):
    ref = site.start("", argv=("no-such-program",), containment=containment)
    seen = site.end_of(ref)
    assert seen.exit["code"] == 127
    assert f"'no-such-program' was not found in PATH={PATH}" in seen.exit["launch_error"]
    assert seen.exit["launch_error"] in site.log(ref)


def test_a_missing_working_directory_ends_with_a_sentence(site, containment):
    seen = site.run("true", cwd="/no/such/place", containment=containment)
    assert seen.exit["code"] == 126
    assert "'/no/such/place' cannot be entered" in seen.exit["launch_error"]


def test_a_containment_that_cannot_be_had_is_a_sentence_and_runs_nothing(site):
    seen = site.run("touch ran", containment="teapot")
    assert "'teapot' cannot be had" in seen.exit["launch_error"]
    assert (seen.started, (site.home / "ran").exists()) == (None, False)


def test_a_revoked_attempt_never_runs(site):
    attempt = site.launch_of("touch ran")
    assert site.engine.observe(attempt.ref).kind == "unclaimed"
    assert site.engine.revoke(attempt.ref)
    site.engine.start(attempt)
    site.run("true")
    assert site.engine.observe(attempt.ref).kind == "revoked"
    assert site.engine.revoke(attempt.ref), "asked again, the answer is the same"
    assert not (site.home / "ran").exists()


def test_a_running_attempt_cannot_be_revoked(site):
    ref = site.start_running("sleep 60")
    assert not site.engine.revoke(ref)
    assert site.engine.observe(ref).kind == "alive"


def test_another_boot_id_means_that_the_machine_was_restarted(site, monkeypatch, tmp_path):
    ref = site.start_running("sleep 60")
    (tmp_path / "boot_id").write_text("another-boot\n")
    monkeypatch.setattr(procfs, "BOOT_ID_FILE", str(tmp_path / "boot_id"))
    assert site.engine.observe(ref).kind == "rebooted"
    assert site.engine.pids(ref) == frozenset()
    monkeypatch.undo()
    assert site.engine.observe(ref).kind == "alive"


def test_the_end_of_an_attempt_is_known_after_a_restart_of_the_machine(site, monkeypatch, tmp_path):
    ref = site.start("exit 3")
    site.end_of(ref)
    (tmp_path / "boot_id").write_text("another-boot\n")
    monkeypatch.setattr(procfs, "BOOT_ID_FILE", str(tmp_path / "boot_id"))
    assert site.engine.observe(ref).exit["code"] == 3


def test_the_whole_tree_is_listed(site, containment, mark):
    ref = site.start_running(
        f"sleep {mark} & (setsid sleep {mark} &); sleep {mark}; true", containment=containment
    )
    wait_until(lambda: len(site.processes(mark)) == 4, what="bash and three sleeps")
    # The shell that made the second sleep may still be on its way out.
    assert wait_until(lambda: site.engine.pids(ref) == site.processes(mark), what="the tree alone")


def test_the_log_is_read_by_offset(site):
    ref = site.start("echo one; echo two >&2; echo three")
    site.end_of(ref)
    assert site.engine.read_log(ref, 0, 4) == b"one\n"
    assert site.engine.read_log(ref, 4, 100) == b"two\nthree\n"
    assert site.engine.read_log(ref, 14, 100) == b""
    assert site.engine.log_size(ref) == 14


def test_a_flooded_log_keeps_its_first_and_its_last_part(site):
    cap = 2**20
    ref = site.start("seq 2000000", log_cap_bytes=cap)
    site.end_of(ref, seconds=60)
    size = site.engine.log_path(ref).stat()
    assert size.st_blocks * 512 <= cap + 2**20
    assert size.st_size == len("".join(f"{n}\n" for n in range(1, 2000001)))
    assert site.engine.read_log(ref, 0, 6) == b"1\n2\n3\n"
    assert site.engine.read_log(ref, size.st_size - 8, 100) == b"2000000\n"
    hole = site.engine.read_log(ref, 0, cap).index(b"\0")
    assert b"the middle is dropped]\n" in site.engine.read_log(ref, hole - 200, 200)
    after = site.engine.skip_dropped(ref, hole)
    assert after > hole
    assert b"\0" not in site.engine.read_log(ref, after, cap)


def test_a_log_without_a_cap_is_written_by_the_command_itself(site):
    ref = site.start("echo direct", log_cap_bytes=0)
    site.end_of(ref)
    assert site.log(ref) == "direct\n"


def test_a_killed_launcher_disturbs_no_attempt_and_is_started_again(site):
    ref = site.start_running("sleep 0.5; exit 6")
    os.kill(site.engine._launcher._process.pid, signal.SIGKILL)
    wait_until(lambda: site.engine._launcher._process.poll() is not None, what="its death")
    assert site.run("exit 2").exit["code"] == 2
    assert site.end_of(ref).exit["code"] == 6


def test_attempts_go_on_when_the_engine_is_gone_and_another_one_sees_them(site, tmp_path):
    ref = site.start_running("sleep 0.5; exit 6")
    site.engine.close()
    other = LocalEngine(tmp_path)
    assert other.observe(ref).kind == "alive"
    assert site.end_of(ref).exit["code"] == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_the_command_runs_as_the_user_of_the_spec(site, containment):
    site.home.chmod(0o777)
    for folder in site.home.parents:
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o711)
    usage = site.engine.directory(AttemptRef(job_id="other", number=1)) / "sim_usage"
    ref = site.start(
        "id -u; id -g; id -G; echo 1 > $LLAMA_COOP_SIM_USAGE; echo told > /dev/stdout; "
        "ls $(dirname $LLAMA_COOP_SIM_USAGE)",
        ref=AttemptRef(job_id="other", number=1),
        env={"PATH": PATH, "LLAMA_COOP_SIM_USAGE": str(usage)},
        uid=65534, gid=65534, groups=(65534, 1000), containment=containment,
    )  # fmt: skip
    site.end_of(ref)
    told = site.log(ref).splitlines()
    assert told[:4] == ["65534", "65534", "65534 1000", "told"]
    assert "Permission denied" in told[4], "the records of an attempt are not for its job"
    assert usage.read_text() == "1\n"


def _apply(site: LaunchSite, ref: AttemptRef, action: str) -> None:
    site.engine.control(ref, action)

    def applied() -> bool:
        record = site.engine.observe(ref).applied
        return record is not None and record["action"] == action and record["done"]

    wait_until(applied, what=f"{action} to be carried out")


def _is_stopped(site: LaunchSite, ref: AttemptRef, containment: str) -> bool:
    if containment == "cgroup":
        path = site.engine.observe(ref).started["containment"].removeprefix("cgroup:")
        return "frozen 1" in Path(path, "cgroup.events").read_text()
    return all(procfs.read_process(pid).state == "T" for pid in site.engine.pids(ref))
