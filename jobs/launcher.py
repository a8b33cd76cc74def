"""The launcher: a small process with everything a supervisor needs already loaded, which forks one per request.

A fresh interpreter would cost each job some 30 ms of processor time; a fork costs half a millisecond. The supervisor is
forked twice and leads its own session, so it is nobody's child: neither the launcher's death nor the dispatcher's ends
a job. The launcher itself ends when the dispatcher does.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys

from jobs import containment
from jobs.launch.crashpoints import crash_point
from jobs.supervisor import run_detached

LONGEST_REQUEST = 65536


def main() -> None:
    """Serve the socket whose descriptor number is the first argument: a request is an attempt's directory."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    # A supervisor may be signalled before it has set its own handlers; the default would end it.
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    containment.find_possible()
    # Objects that the collector never touches stay shared between all supervisors.
    gc.collect()
    gc.freeze()
    gc.disable()
    while request := channel.recv(LONGEST_REQUEST):
        crash_point("launcher.before_fork")
        launch(os.fsdecode(request), channel)


def launch(directory: str, channel: socket.socket) -> None:
    """Fork a supervisor for the attempt in this directory and forget it."""
    try:
        child = os.fork()
    except (
        OSError
    ) as error:  # too many processes: nothing is claimed, so the dispatcher tries again
        sys.stderr.write(f"The launcher cannot fork a supervisor for {directory}: {error}\n")
        return
    if child == 0:
        _detach_and_supervise(directory, channel)
    os.waitpid(child, 0)


def _detach_and_supervise(directory: str, channel: socket.socket) -> None:
    try:
        channel.close()
        os.setsid()
        if os.fork() == 0:
            run_detached(directory)
    finally:
        os._exit(0)
