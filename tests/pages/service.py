"""A real service of its own for the browser: all processes, simulated cards, a fresh COOP_HOME, any free port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Playwright

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Service:
    """`python -m coop_site.serve` in a folder of its own."""

    def __init__(
        self, home: Path, cards: str = "simulated:1xA100-80G,1xRTX4090-24G", **more: str
    ) -> None:
        self.home = home
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("COOP_", "LLAMA_COOP_", "DJANGO_"))
        }
        self.environment = kept | {
            "COOP_HOME": str(home),
            "COOP_GPUS": cards,
            "COOP_PORT": str(self.port),
            "COOP_WORKDIR": str(ROOT / "examples/article"),
            "COOP_JOB_PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "XDG_STATE_HOME": str(home / "state"),
            **more,
        }

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.output = (self.home / "serve.out").open("wb")
        command = [sys.executable, "-m", "coop_site.serve"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=self.output, stderr=subprocess.STDOUT
        )
        self.run("-m", "coop_site.serve", "--wait")

    def stop(self) -> None:
        """End the jobs that still run, then the service."""
        self.end_all_jobs()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.output.close()

    def end_all_jobs(self) -> None:
        """Cancel what waits and runs, and see it end: for who needs cards with nobody else on them."""
        self.shell(_END_ALL_JOBS)

    def run(self, *command: str) -> str:
        """What a command of this checkout prints, in the environment of the service."""
        answer = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    def shell(self, code: str) -> str:
        """Run Python in the service's Django, such as for making people."""
        return self.run("manage.py", "shell", "--no-imports", "-v0", "-c", code)

    def make_person(self, name: str, role: str = "member", project: str = "default") -> None:
        """An account with a role in a project, which is made where there is none."""
        self.shell(_MAKE_PERSON.format(name=name, role=role, project=project))

    def signin_path(self, name: str) -> str:
        """A one-time link of this account."""
        found = re.search(r"(/signin/\S+)", self.run("manage.py", "signinlink", name))
        assert found
        return found.group(1)

    def kill(self, name: str) -> None:
        """Kill one of the services outright."""
        os.kill(self.pids()[name], signal.SIGKILL)

    def pids(self) -> dict[str, int]:
        """The processes of the services by name."""
        pids: dict[str, int] = json.loads((self.home / "run/services.json").read_text())
        return pids


def open_browser(playwright: Playwright) -> Browser:
    """Debian's Chromium, without a display."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def sign_in(browser: Browser, service: Service, name: str, **context: Any) -> BrowserContext:
    """A context in which this person is signed in, by a one-time link as a person would."""
    opened = browser.new_context(base_url=service.url, locale="en", **context)
    page = opened.new_page()
    page.goto(service.signin_path(name))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{service.url}/")
    page.close()
    return opened


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait_for_rest(service: Service) -> None:
    """Wait until no process of a job is left."""
    wait_until(lambda: not _has_open_attempts(service), 40, "the end of all jobs")


def _has_open_attempts(service: Service) -> bool:
    code = "from jobs.models import Attempt; print('open', Attempt.objects.open().count())"
    return "open 0" not in service.shell(code)


_MAKE_PERSON = """
from jobs.models import Project, User
from jobs.projects import join
user, _ = User.objects.get_or_create(username={name!r})
if {role!r} == "admin":
    User.objects.filter(pk=user.pk).update(is_superuser=True, is_staff=True)
else:
    join(user, Project.objects.get_or_create(slug={project!r}, defaults={{"name": {project!r}}})[0], {role!r})
"""

_END_ALL_JOBS = """
import time
from jobs import actions
from jobs.models import Attempt, Job, User
admin, _ = User.objects.get_or_create(username="end-all", defaults={"is_superuser": True})
for job in Job.objects.active():
    actions.cancel(job, admin)
deadline = time.monotonic() + 60
while Attempt.objects.open().exists() and time.monotonic() < deadline:
    time.sleep(0.2)
"""
