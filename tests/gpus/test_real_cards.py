"""On a machine with an NVIDIA driver: the real library, through the process that asks it."""

from __future__ import annotations

import pytest

from gpus.probes import probe_from
from gpus.readings import NVML
from tests.waiting import wait_until

pytestmark = pytest.mark.gpu


def test_the_cards_of_this_machine_tell_their_memory():
    probe = probe_from("nvml", list)
    try:
        fleet = wait_until(lambda: (seen := probe.read()).devices and seen, 60, "a reading")
    finally:
        probe.close()

    assert fleet.source == NVML
    assert fleet.driver
    for device in fleet.devices:
        assert device.fault is None
        assert device.uuid.startswith(("GPU-", "MIG-"))
        assert 0 <= device.memory_used <= device.memory_total
