"""What every engine offers: start an attempt once, say what is proven about it, end the whole of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from jobs.rundir import Observation

FREEZE, THAW, STOP, SAVE = "freeze", "thaw", "stop", "save"
"""SAVE is a stop that asks only the training's workers, which then write a checkpoint and end."""
ACTIONS = frozenset({FREEZE, THAW, STOP, SAVE})

DEFAULT_GRACE_S = 30.0
DEFAULT_LOG_CAP_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class AttemptRef:
    """Names one attempt of one job; its token is the fencing token of the launch protocol."""

    job_id: str
    number: int

    @property
    def token(self) -> str:
        return f"{self.job_id}-{self.number}"


@dataclass(frozen=True, kw_only=True)
class AttemptLaunch:
    """Everything that a supervisor needs to know to run one attempt. Nothing is inherited from the service."""

    ref: AttemptRef
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The complete environment; the supervisor adds only LLAMA_COOP_ATTEMPT."""
    cwd: str
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    grace_s: float = DEFAULT_GRACE_S
    """Seconds between SIGTERM and SIGKILL when the time limit ends the attempt."""
    log_cap_bytes: int = DEFAULT_LOG_CAP_BYTES
    """Disk that the log may take; 0 = no limit."""
    containment: str = "auto"
    time_limit_s: float | None = None
    """Seconds of running, frozen time not counted; None = no limit."""

    def spec(self, *, wake: str) -> dict[str, Any]:
        """The spec record; `wake` is the bus directory in which the dispatcher listens."""
        spec = asdict(self)
        del spec["ref"]
        return {"token": self.ref.token, **spec, "env": dict(self.env), "wake": wake}


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an engine can do, so that pages and the cycle promise no more."""

    can_freeze: bool = True
    shares_devices: bool = True
    chooses_nodes: bool = False
    isolates_users: bool = False
    gang_native: bool = False


class Engine(Protocol):
    """Runs attempts. No method waits for a job; all but `start` may be called by any process of the service."""

    capabilities: Capabilities

    def start(self, attempt: AttemptLaunch) -> None:
        """Have the attempt run, at most once however often this is called. Returns before it runs."""

    def observe(self, ref: AttemptRef) -> Observation:
        """What is proven about the attempt now."""
        ...

    def revoke(self, ref: AttemptRef) -> bool:
        """Win the claim, so that the attempt never runs; False if a supervisor has won it."""
        ...

    def reap(self, ref: AttemptRef) -> bool:
        """End what a dead supervisor left; True when nothing is left, verified. False while a supervisor lives."""
        ...

    def control(self, ref: AttemptRef, action: str, grace_s: float = DEFAULT_GRACE_S) -> None:
        """Have the attempt frozen, thawed, stopped, or stopped after it has saved.

        Level-triggered: say it every cycle until it is observed.
        """

    def read_log(self, ref: AttemptRef, offset: int, limit: int) -> bytes:
        """At most `limit` bytes of the output from `offset`; empty at its present end."""
        ...

    def log_size(self, ref: AttemptRef) -> int:
        """The offset of the output's present end."""
        ...

    def pids(self, ref: AttemptRef) -> frozenset[int]:
        """The living processes of the attempt's whole tree, as the host numbers them."""
        ...
