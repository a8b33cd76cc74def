"""Wake-ups between the processes of one machine: Unix datagrams in `COOP_HOME/run/bus/`.

A message is a hint. It may be lost, so everybody also looks by himself now and then; nothing is ever decided by a
message alone. Standard library only, because supervisors send on it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Message = dict[str, Any]

_ENDING = ".sock"
_LARGEST = 2**18
_MOST_AT_ONCE = 1000
_GONE = frozenset({errno.ECONNREFUSED, errno.ENOENT})
_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})


class Bus:
    """The sockets of one directory. Nothing is opened before the first `listen` or `send`."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)

    def listen(self, role: str) -> Listener:
        """Receive what is sent to a role (letters only), until the listener is closed."""
        if not role.isalpha():
            raise ValueError(
                f"The bus role {role!r} is refused: it names a socket file, so only letters are allowed. "
                "Use dispatcher, web or agent."
            )
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Listener(self._directory, role)

    def send(self, role: str, message: Message, *, patience: float = 0.0) -> int:
        """Send to every living listener of a role; how many got it. Never raises.

        A listener whose queue is full misses the message after `patience` seconds (by default at once).
        """
        try:
            return self._send(role, json.dumps(message).encode(), time.monotonic() + patience)
        except OSError:
            return 0

    def _send(self, role: str, payload: bytes, deadline: float) -> int:
        with _opened(self._directory) as folder, _datagram_socket() as sender:
            names = [name for name in _names_in(folder) if _belongs_to(name, role)]
            return sum(_deliver(sender, folder, name, payload, deadline) for name in names)


class Listener:
    """One receiving socket; a context manager. Its file disappears when it is closed."""

    def __init__(self, directory: Path, role: str) -> None:
        self._directory = directory
        self._socket = _datagram_socket()
        self._name = _bind(self._socket, directory, role)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor that becomes readable when a message is there (for an event loop)."""
        return self._socket.fileno()

    def receive(self, timeout: float) -> list[Message]:
        """All messages that are there; waits at most `timeout` seconds for the first one."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        if not poller.poll(max(0.0, timeout) * 1000):
            return []
        return self._drain()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        with contextlib.suppress(OSError):
            (self._directory / self._name).unlink()

    def _drain(self) -> list[Message]:
        messages: list[Message] = []
        for _ in range(_MOST_AT_ONCE):
            try:
                payload = self._socket.recv(_LARGEST)
            except OSError:  # nothing left
                break
            messages += _parsed(payload)
        return messages


def _parsed(payload: bytes) -> list[Message]:
    try:
        message = json.loads(payload)
    except ValueError:
        return []
    return [message] if isinstance(message, dict) else []


def _datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    made.setblocking(False)
    return made


def _bind(receiver: socket.socket, directory: Path, role: str) -> str:
    """Bind to the first free name `<role>-<pid>[-<n>].sock`; the file is ours alone."""
    with _opened(directory) as folder:
        for number in range(1000):
            name = f"{role}-{os.getpid()}{f'-{number}' if number else ''}{_ENDING}"
            if _bound(receiver, folder, name):
                return name
    raise OSError(errno.EADDRINUSE, f"No free name for a {role} socket in {directory}")


def _bound(receiver: socket.socket, folder: int, name: str) -> bool:
    try:
        receiver.bind(_address(folder, name))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if not _is_dead(folder, name):
            return False
        # Left by a dead process that had our pid.
        os.unlink(name, dir_fd=folder)
        return _bound(receiver, folder, name)
    os.chmod(name, 0o600, dir_fd=folder)
    return True


def _is_dead(folder: int, name: str) -> bool:
    with _datagram_socket() as probe:
        try:
            probe.connect(_address(folder, name))
        except OSError as error:
            return error.errno in _GONE
    return False


def _deliver(sender: socket.socket, folder: int, name: str, payload: bytes, end: float) -> int:
    while True:
        try:
            sender.sendto(payload, _address(folder, name))
        except OSError as error:
            if error.errno in _FULL and time.monotonic() < end:
                time.sleep(0.005)
                continue
            if error.errno == errno.ECONNREFUSED:
                _remove(folder, name)
            return 0
        return 1


def _remove(folder: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)


def _address(folder: int, name: str) -> str:
    # A socket address holds 107 bytes; through the open directory a COOP_HOME of any length is reached.
    return f"/proc/self/fd/{folder}/{name}"


def _belongs_to(name: str, role: str) -> bool:
    return name.startswith(f"{role}-") and name.endswith(_ENDING)


def _names_in(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)
