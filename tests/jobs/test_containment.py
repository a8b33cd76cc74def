"""Containers: which can be had, what they count, and that no stranger is ever signalled."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from jobs import containment
from jobs.launch import cgroup, procfs, signals
from jobs.launch.trees import Identity, PidNamespace, Tag, own_identity
from tests.jobs.launching import possible_containments
from tests.waiting import wait_until


@pytest.fixture
def sleeper():
    """A process that is not in any container."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_the_tag_can_be_had_everywhere():
    assert possible_containments()[-1] == "tag"
    assert set(possible_containments()) <= set(containment.KINDS)


def test_auto_takes_the_best_kind_that_works(monkeypatch):
    monkeypatch.setattr(containment, "_possible", {"pidns": "", "tag": ""})
    assert containment.choose("auto", "job-1").label == "pidns"
    monkeypatch.setattr(
        containment, "_possible", {"cgroup": "/sys/fs/cgroup/llama-coop", "tag": ""}
    )
    assert containment.choose("auto", "job-1").label == "cgroup:/sys/fs/cgroup/llama-coop/job-1"


def test_a_kind_that_cannot_be_had_is_refused_with_what_can(monkeypatch):
    monkeypatch.setattr(containment, "_possible", {"tag": ""})
    with pytest.raises(containment.NotPossibleError, match="possible are: auto, tag"):
        containment.choose("cgroup", "job-1")


def test_a_recorded_container_is_found_again():
    started = {"pid": 5, "pid_start_ticks": 6, "supervisor_pid": 7, "supervisor_start_ticks": 8}
    kinds = {label: containment.recorded("job-1", started | {"containment": label}) for label in
             ("cgroup:/sys/fs/cgroup/x", "pidns", "tag")}  # fmt: skip
    assert kinds["cgroup:/sys/fs/cgroup/x"].path == "/sys/fs/cgroup/x"
    assert (type(kinds["pidns"]), type(kinds["tag"])) == (PidNamespace, Tag)


def test_a_signal_goes_to_members_only(sleeper):
    signals.signal_all(lambda: frozenset({sleeper.pid}), signal.SIGTERM)
    assert sleeper.wait(5) == -signal.SIGTERM


def test_a_pid_that_was_given_to_a_stranger_meanwhile_is_not_signalled(sleeper):
    answers = [
        frozenset({sleeper.pid}),
        frozenset(),
    ]  # a member when listed, no member when looked at again
    signals.signal_all(lambda: answers.pop(0), signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_namespace_whose_first_process_is_gone_is_empty_even_if_its_pid_lives_again(sleeper):
    ticks = procfs.read_process(sleeper.pid).start_ticks
    assert not PidNamespace(Identity(sleeper.pid, ticks)).empty()
    reused = PidNamespace(Identity(sleeper.pid, ticks - 1))
    assert reused.empty()
    reused.kill()
    assert sleeper.poll() is None


def test_a_tagged_tree_without_its_supervisor_spares_whoever_has_the_pids_now(sleeper):
    reused = Tag("job-1", Identity(sleeper.pid, 1), Identity(sleeper.pid, 2))
    assert reused.members() == frozenset()
    reused.kill()
    assert sleeper.poll() is None


def test_a_tagged_process_of_a_dead_supervisor_is_found_with_its_session():
    token = f"tagged-{uuid.uuid4().hex}"
    env = {"PATH": os.environ["PATH"], "LLAMA_COOP_ATTEMPT": token}
    command = ["bash", "-c", "env -i sleep 60 & wait"]
    with subprocess.Popen(command, env=env, start_new_session=True) as leader:
        orphaned = Tag(token, Identity(1, 0))
        wait_until(lambda: len(orphaned.members()) == 2, what="bash and its cleaned child")
        orphaned.kill()
        leader.wait()
        wait_until(orphaned.empty, what="the end of both")


def test_a_longer_token_is_not_taken_for_a_shorter_one():
    token = f"tagged-{uuid.uuid4().hex}"
    env = {"PATH": os.environ["PATH"], "LLAMA_COOP_ATTEMPT": f"{token}7"}
    with subprocess.Popen(["sleep", "60"], env=env) as other:
        longer = Tag(f"{token}7", Identity(1, 0))
        wait_until(lambda: other.pid in longer.members(), what="its environment")
        assert Tag(token, Identity(1, 0)).members() == frozenset()
        other.kill()


def test_a_supervisors_own_tree_is_everything_below_it():
    assert own_identity().lives
    with subprocess.Popen(["bash", "-c", "sleep 60 & wait"]) as child:
        mine = Tag("job-1", own_identity())
        wait_until(lambda: len(mine.members() & _family_of(child.pid)) == 2, what="bash and sleep")
        for pid in _family_of(child.pid):
            os.kill(pid, signal.SIGKILL)


def _family_of(pid: int) -> frozenset[int]:
    return procfs.descendants(pid, procfs.all_processes()) | {pid}


needs_cgroup = pytest.mark.skipif(
    "cgroup" not in possible_containments(), reason="no control group can be had"
)


@pytest.fixture
def group():
    """A control group that nobody uses, below the one of this machine's supervisors."""
    code = "from jobs.launch import cgroup; print(cgroup.find_group())"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    made = cgroup.Cgroup(f"{answer.stdout.strip()}/test-{os.getpid()}")
    yield made
    made.kill()
    wait_until(made.empty, what="an empty group")
    made.remove()


def fork_a_sleeper(container: cgroup.Cgroup) -> int:
    child = container.fork()
    if child == 0:
        os.execv("/bin/sleep", ["sleep", "60"])
    return child


@needs_cgroup
@pytest.mark.parametrize("with_clone3", [True, False])
def test_a_child_is_born_into_the_group(group, monkeypatch, with_clone3):
    def not_known(_group: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    if not with_clone3:
        monkeypatch.setattr(cgroup.kernel, "fork_into_cgroup", not_known)
    child = fork_a_sleeper(group)
    assert group.members() == {child}
    group.kill()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@needs_cgroup
def test_a_fork_that_the_kernel_refuses_is_an_error_and_leaves_this_process_whole(group):
    with pytest.raises(OSError, match="Bad file descriptor"):
        cgroup.kernel.fork_into_cgroup(9999)
    assert group.empty()


@needs_cgroup
def test_a_group_with_groups_below_it_is_counted_killed_and_removed(group):
    outer = fork_a_sleeper(group)
    below = Path(group.path, "made-by-the-job")
    below.mkdir()
    with subprocess.Popen(["sleep", "60"]) as inner:
        Path(below, "cgroup.procs").write_text(str(inner.pid))
        assert group.members() == {outer, inner.pid}
        with pytest.raises(OSError, match="busy"):
            group.remove()
        group.kill()
    os.waitpid(outer, 0)
    wait_until(group.empty, what="an empty group")
    group.remove()
    assert not Path(group.path).exists()
    assert (group.empty(), group.members()) == (True, frozenset())


def test_a_machine_without_control_groups_offers_none(monkeypatch):
    monkeypatch.setattr(cgroup, "_mount_point", lambda: None)
    assert cgroup.find_group() is None


def test_only_groups_that_may_be_written_to_are_candidates(monkeypatch, tmp_path):
    service = tmp_path / "user.slice" / "service"
    service.mkdir(parents=True)
    (service / "cgroup.procs").touch()
    monkeypatch.setattr(cgroup, "_mount_point", lambda: str(tmp_path))
    monkeypatch.setattr(cgroup, "_own_group", lambda: "/user.slice/service")
    assert cgroup._candidates() == [str(service)]
