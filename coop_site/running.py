"""One run of the service: take the place, prepare, start the four services, announce, keep alive, stop.

One per COOP_HOME: a second start finds the first, prints a new sign-in link and ends with 0. Jobs belong to none of the
services; they outlive a stop, and the next start takes them up again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from coop_site.announcement import Announcement, way_in
from coop_site.binding import Binding, listen
from coop_site.installation import prepare
from coop_site.instance import Instance, end_leftovers, write_private
from coop_site.logfiles import last_lines, trim
from coop_site.processes import four_services
from coop_site.readiness import why_not_ready
from coop_site.services import Keeper, Service

READY_WITHIN_S = 120.0
START_WITHIN_S = 15.0
TRIM_EVERY_S = 60.0
GROUPS = Path("run") / "services.json"
"""Below COOP_HOME: the process group of each service, for whoever has to end what a killed run left."""


def serve(binding: Binding) -> int:
    """Run in the foreground until told to stop; the exit code."""
    home: Path = settings.COOP_HOME
    instance = Instance(home)
    if not instance.take():
        return _point_to(instance)
    for warning in binding.warnings:
        say(warning)
    end_leftovers(home / GROUPS)
    with listen(binding) as listener:
        say("Preparing the database and the pages.")
        prepare()
        port = listener.getsockname()[1]
        _tell_services(binding, port)
        services = four_services(home, listener=listener.fileno(), token=binding.token)
        return _Run(home, binding.url(port), services).until_stopped(instance)


def stop() -> int:
    """Stop the service that runs; the exit code."""
    instance = Instance(settings.COOP_HOME)
    if instance.running() is None:
        print("No service runs here.")
        return 0
    if instance.stop():
        print("Stopped. Running jobs go on; the next start takes them up again.")
        return 0
    logs = settings.COOP_HOME / "logs"
    print(f"llama-coop: it did not stop within 30 s. See {logs}.", file=sys.stderr)
    return 1


def wait() -> int:
    """Wait for a service that somebody has started or is about to start; 0 when it is ready."""
    instance = Instance(settings.COOP_HOME)
    started = instance.wait_until(lambda seen: seen is not None, START_WITHIN_S)
    if started is None or _ready(instance) is None:
        print("llama-coop: no service is ready here.", file=sys.stderr)
        return 1
    return 0


def say(sentence: str) -> None:
    """One line to whoever watches. A terminal that is gone must not end the service."""
    with suppress(OSError):
        print(f"{time.strftime('%H:%M:%S')} {sentence}", flush=True)


def _point_to(instance: Instance) -> int:
    """What a second start does: a new sign-in link for the service that runs."""
    url = _ready(instance)
    if url is None:
        say("Another start of this service did not get ready. Stop it with --stop, then try again.")
        return 1
    print(f"llama-coop runs already at {url}/\n{way_in()}")
    return 0


def _ready(instance: Instance) -> str | None:
    """The address of the service that runs, when it is ready; None where it is gone or takes too long."""
    seen = instance.wait_until(lambda seen: seen is None or seen.url is not None, READY_WITHIN_S)
    return seen.url if seen else None


def _tell_services(binding: Binding, port: int) -> None:
    """Put what all services are told into their environment, and take out what only one may know."""
    os.environ.update(binding.environment(port, os.environ))
    for name in ("COOP_AUTH_TOKEN", "COOP_AUTH_TOKEN_FILE"):
        os.environ.pop(name, None)


class _Run:
    def __init__(self, home: Path, url: str, services: Sequence[Service]) -> None:
        self._url = url
        self._logs = home / "logs"
        self._logs.mkdir(mode=0o700, exist_ok=True)
        self._keeper = Keeper(
            services,
            logs=self._logs,
            directory=settings.BASE_DIR,
            say=say,
            changed=lambda pids: write_private(home / GROUPS, pids),
        )
        self._stop_signals = {
            number
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN  # nohup, or started by a script with &
        }
        self._trimmed_at = time.monotonic()

    def until_stopped(self, instance: Instance) -> int:
        """Start the services, announce them, keep them alive."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {*self._stop_signals, signal.SIGCHLD})
        say("Starting web, dispatcher, agent and q2.")
        announcement = Announcement(self._url, instance)
        try:
            if self._become_ready():
                announcement.publish()
                while not self._told_to_stop():
                    announcement.renew()
        except TimeoutError as late:
            say(str(late))
            return 1
        finally:
            say("Stopping the services; running jobs go on.")
            announcement.withdraw()
            self._keeper.stop()
            instance.release()
        return 0

    def _become_ready(self) -> bool:
        """True when ready, False when told to stop before."""
        deadline = time.monotonic() + READY_WITHIN_S
        while problem := why_not_ready(self._url):
            if self._told_to_stop(at_most_s=0.2):
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(self._why_late(problem))
        return True

    def _told_to_stop(self, at_most_s: float = 1.0) -> bool:
        """Look after the services once, then sleep until something happens; whether that is a stop."""
        self._keeper.step()
        self._trim_logs()
        pause = min(at_most_s, self._keeper.next_due_s())
        happened = signal.sigtimedwait({*self._stop_signals, signal.SIGCHLD}, pause)
        return happened is not None and happened.si_signo in self._stop_signals

    def _trim_logs(self) -> None:
        if time.monotonic() - self._trimmed_at > TRIM_EVERY_S:
            self._trimmed_at = time.monotonic()
            trim(self._logs)

    def _why_late(self, problem: str) -> str:
        ends = [f"--- end of {log}\n{last_lines(log)}" for log in sorted(self._logs.glob("*.log"))]
        return "\n".join([f"Not ready after {READY_WITHIN_S:.0f} s: {problem}", *ends])
