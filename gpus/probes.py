"""The probe that a setting names."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from gpus.fleetspec import source_of
from gpus.isolated import DEFAULT_PATIENCE, IsolatedProbe, Patience, cards_command
from gpus.readings import Holding, Probe


def probe_from(
    spec: str,
    holdings: Callable[[], Iterable[Holding]],
    *,
    node: str = "",
    scenario: Path | None = None,
    patience: Patience = DEFAULT_PATIENCE,
) -> Probe:
    """The probe for `auto`, `nvml` or `simulated:2xA100-80G,1xRTX4090-24G`.

    Its readings say where they come from (`FleetReading.source`): `auto` simulates cards where the machine has no
    NVIDIA driver. Simulated cards follow `holdings`; their UUIDs follow from `node`, by default this machine's name.

    Raises:
        FleetSpecError: `spec` names no cards.
    """
    source_of(spec)
    return IsolatedProbe(
        cards_command(spec, node or socket.gethostname(), scenario), holdings, patience
    )
