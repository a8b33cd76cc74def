"""The whole service, really started: found, killed piece by piece, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import ROOT
from tests.waiting import wait_until

SERVE = [sys.executable, "-m", "coop_site.serve"]
SLOW_S = 90
CANCEL_ALL = """
from jobs import actions
from jobs.models import Job, User
admin = User.objects.get(username="admin")
for job in Job.objects.active():
    actions.cancel(job, admin)
"""


class Site:
    """A COOP_HOME and what runs in it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.state = folder / "state"
        self.output = folder / "output"
        self.environ = {
            **os.environ,
            "COOP_HOME": str(self.home),
            "COOP_GPUS": "simulated:2xA100-80G,1xRTX4090-24G",
            "COOP_SIM_SCENARIO": str(ROOT / "examples/demo/scenario.yaml"),
            "COOP_WORKDIR": str(ROOT / "examples/article"),
            "XDG_STATE_HOME": str(self.state),
        }

    def start(self, *flags: str) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [*SERVE, "--port", "0", *flags],
                env=self.environ,
                cwd=ROOT,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = (
            [sys.executable, *arguments] if arguments[0] == "manage.py" else [*SERVE, *arguments]
        )
        return subprocess.run(
            command, env=self.environ, cwd=ROOT, capture_output=True, text=True, check=False
        )

    @property
    def record(self) -> dict[str, object]:
        return json.loads((self.state / "llama-coop" / "local.json").read_text())

    @property
    def services(self) -> dict[str, int]:
        return json.loads((self.home / "run" / "services.json").read_text())

    def cancel_jobs(self) -> None:
        """End what the tests left running; a stop of the service would not."""
        self.run("manage.py", "shell", "-c", CANCEL_ALL)
        wait_until(lambda: not supervisors(self), SLOW_S, what="the end of all jobs")

    def status(self, path: str, **headers: str) -> int:
        request = urllib.request.Request(f"{self.record['url']}{path}", headers=headers)
        with contextlib.suppress(OSError):
            try:
                return urllib.request.urlopen(request, timeout=10).status
            except urllib.error.HTTPError as error:
                error.close()
                return error.code
        return 0

    def is_ready(self) -> bool:
        return self.status("/readyz") == 200


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """A running service; the tests of this file share it, in their order."""
    site = Site(tmp_path_factory.mktemp("site"))
    process = site.start()
    try:
        assert site.run("--wait").returncode == 0, site.output.read_text()
        yield site
        site.cancel_jobs()
    finally:
        process.terminate()
        process.wait(SLOW_S)


def test_it_prints_the_address_and_a_one_time_link(site):
    wait_until(lambda: "Stop with" in site.output.read_text(), what="the last line")
    text = site.output.read_text()
    assert f"runs at {site.record['url']}/" in text
    assert f"{site.record['url']}/signin/" in text
    assert "2 x NVIDIA A100" in text
    assert "simulated" in text


def test_secrets_are_readable_by_their_owner_alone(site):
    private = [
        site.home / "secret_key",
        site.home / "db.sqlite3",
        site.home / "run" / "serve.lock",
        site.state / "llama-coop" / "local.json",
    ]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in private} == {
        path.name: "0o600" for path in private
    }
    assert (site.home / "logs").stat().st_mode & 0o077 == 0


def test_the_local_token_opens_the_api_and_no_token_does_not(site):
    token = site.record["token"]
    assert site.status("/api/v1/whoami", Authorization=f"Bearer {token}") == 200
    assert site.status("/api/v1/whoami") == 401


def test_a_second_start_finds_the_first_and_prints_a_new_link(site):
    second = site.run("--port", "0")
    assert second.returncode == 0
    assert f"runs already at {site.record['url']}/" in second.stdout
    link = second.stdout.strip().splitlines()[-1].strip()
    assert link.startswith(f"{site.record['url']}/signin/")
    assert link not in site.output.read_text()


def test_a_link_for_somebody_names_the_running_service(site):
    made = site.run("manage.py", "signinlink")
    assert made.stdout.startswith(f"{site.record['url']}/signin/")
    unknown = site.run("manage.py", "signinlink", "nobody-here")
    assert unknown.returncode == 1
    assert "Known: admin." in unknown.stderr


def test_the_demo_fills_it_with_jobs_in_every_lasting_state_and_may_be_repeated(site):
    first = site.run("manage.py", "coopdemo")
    assert first.returncode == 0, first.stderr
    states = {line.rpartition(": ")[2] for line in first.stdout.splitlines() if "#" in line}
    lasting = {"QUEUED", "HELD", "RUNNING", "SUSPENDED", "SUCCEEDED", "FAILED", "CANCELLED"}
    assert states == lasting
    assert site.run("manage.py", "coopdemo").stdout.count("#1: ") == first.stdout.count("#1: ")


@pytest.mark.parametrize("service", ["web", "dispatcher", "agent", "q2"])
def test_a_killed_service_comes_back_and_no_job_ends_for_it(site, service):
    running_before = supervisors(site)
    killed = site.services[service]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: site.services.get(service) not in {killed, None}, what=f"a new {service}")
    wait_until(site.is_ready, SLOW_S, what="readiness")
    assert running_before
    assert supervisors(site) == running_before


def supervisors(site: Site) -> set[str]:
    """The attempts whose supervisors hold their locks, by their folders."""
    return {
        str(lock.parent)
        for lock in site.home.glob("jobs/*/attempts/*/lock")
        if (lock.parent / "started").exists() and not (lock.parent / "exit").exists()
    }


def test_after_kill_9_nothing_of_it_stays_and_the_next_start_goes_on(tmp_path):
    site = Site(tmp_path)
    process = site.start()
    assert site.run("--wait").returncode == 0, site.output.read_text()
    services = site.services
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_alive, services.values())), what="the end of all services")
    successor = site.start()
    try:
        assert site.run("--wait").returncode == 0, site.output.read_text()
        assert site.record["pid"] == successor.pid
        assert set(site.services.values()).isdisjoint(services.values())
        assert site.run("--stop").returncode == 0
        assert successor.wait(SLOW_S) == 0
        assert not (site.state / "llama-coop" / "local.json").exists()
        assert local_tokens(site) == 0
    finally:
        successor.kill()
        successor.wait()


def local_tokens(site: Site) -> int:
    with contextlib.closing(sqlite3.connect(site.home / "db.sqlite3")) as database:
        return database.execute("select count(*) from jobs_apitoken").fetchone()[0]


def test_stopping_what_does_not_run_is_no_error(tmp_path):
    stopped = Site(tmp_path).run("--stop")
    assert (stopped.returncode, stopped.stdout) == (0, "No service runs here.\n")


def test_a_wrong_setting_is_a_sentence_and_no_trace(tmp_path):
    site = Site(tmp_path)
    site.environ["COOP_PORT"] = "many"
    refused = site.run("--host", "127.0.0.1")
    assert refused.returncode == 1
    assert refused.stderr.startswith("llama-coop: The port is 'many'.")
    assert "Traceback" not in refused.stderr
