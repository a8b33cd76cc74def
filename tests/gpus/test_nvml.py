"""The real binding over a fake library: every figure on its own, defects of one card, advice on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynvml
import pytest

from gpus.nvml import NvmlCards
from gpus.nvmladvice import has_nvidia_card
from gpus.readings import CardsUnavailable, DeviceReading, ProcessReading
from tests.gpus.fakenvml import GIB, FakeCard, FakeLibrary, FakeProcess, a_card, installed


@contextmanager
def nvml(*cards: FakeCard, absent: tuple[str, ...] = (), starts: int = 0) -> Iterator[NvmlCards]:
    with installed(FakeLibrary(*cards, absent=absent, starts=starts)):
        yield NvmlCards()


def read(*cards: FakeCard, absent: tuple[str, ...] = ()) -> list[DeviceReading]:
    with nvml(*cards, absent=absent) as driver:
        return [driver.read(uuid) for uuid in driver.begin(())]


def test_a_healthy_card_tells_everything():
    card = a_card(
        used=14 * GIB, busy=73, processes=[FakeProcess(pid=4242, memory=14 * GIB, busy=70)]
    )

    (reading,) = read(card)

    assert reading == DeviceReading(
        uuid="GPU-0",
        index=0,
        name="NVIDIA A100-SXM4-80GB",
        memory_total=80 * GIB,
        memory_used=14 * GIB + GIB // 2,
        memory_reserved=GIB // 2,
        busy=0.73,
        temperature=40.0,
        power_watts=60.0,
        power_limit_watts=400.0,
        processes=(ProcessReading(pid=4242, memory=14 * GIB, busy=0.7),),
    )


def test_the_driver_is_named():
    with nvml(a_card()) as driver:
        assert driver.driver == "570.124.06"


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetPowerUsage", "power_watts"),
        ("nvmlDeviceGetEnforcedPowerLimit", "power_limit_watts"),
        ("nvmlDeviceGetUtilizationRates", "busy"),
    ],
)
@pytest.mark.parametrize(
    "code",
    [
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_UNKNOWN,
    ],
)
def test_what_one_call_cannot_tell_hides_nothing_else(function, field, code):
    (reading,) = read(a_card(used=GIB, errors={function: code}))

    assert getattr(reading, field) is None
    assert reading.memory_used == GIB + GIB // 2
    assert reading.fault is None


def test_an_old_driver_without_the_new_memory_call_counts_its_reserve_as_used():
    (reading,) = read(a_card(used=GIB), absent=("nvmlDeviceGetMemoryInfo_v2",))

    assert (reading.memory_used, reading.memory_reserved) == (GIB + GIB // 2, None)


def test_an_old_driver_tells_temperature_and_processes_by_its_old_calls():
    absent = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetComputeRunningProcesses_v3")

    (reading,) = read(a_card(processes=[FakeProcess(pid=7, memory=GIB)]), absent=absent)

    assert reading.temperature == 40.0
    assert reading.processes == (ProcessReading(pid=7, memory=GIB),)


def test_a_driver_that_lists_no_processes_at_all_cannot_tell_them():
    absent = tuple(
        f"nvmlDeviceGet{kind}RunningProcesses_v{version}"
        for kind in ("Compute", "Graphics", "MPSCompute")
        for version in (2, 3)
    )

    (reading,) = read(a_card(), absent=absent)

    assert reading.processes is None


def test_a_process_whose_memory_is_not_available_has_none():
    (reading,) = read(a_card(processes=[FakeProcess(pid=7, memory=None)]))

    assert reading.processes == (ProcessReading(pid=7, memory=None),)


def test_a_process_that_computes_and_draws_is_counted_once():
    both = [FakeProcess(pid=7, memory=GIB), FakeProcess(pid=7, memory=GIB, graphics=True)]

    (reading,) = read(a_card(processes=both))

    assert reading.processes == (ProcessReading(pid=7, memory=GIB),)


def test_a_lost_card_is_a_fault_of_that_card_only():
    lost = a_card(0, errors={"*": pynvml.NVML_ERROR_GPU_IS_LOST})
    with installed(FakeLibrary(a_card(0), a_card(1))) as _:
        driver = NvmlCards()
        driver.begin(())
        driver.read("GPU-0")
        pynvml.nvmlLib.cards[0] = lost
        readings = [driver.read(uuid) for uuid in driver.begin(())]

    assert [reading.uuid for reading in readings] == ["GPU-0", "GPU-1"]
    assert "fallen off the bus" in readings[0].fault
    assert readings[0].memory_total == 80 * GIB
    assert readings[1].fault is None


def test_a_card_that_was_lost_before_the_start_is_told_in_words():
    lost = a_card(0, errors={"*": pynvml.NVML_ERROR_GPU_IS_LOST})

    with nvml(lost, a_card(1)) as driver:
        assert driver.begin(()) == ["GPU-1"]
        assert driver.notice.startswith("Card 0 cannot be used: The card has fallen off the bus.")


def test_a_card_whose_memory_cannot_be_asked_at_all_has_a_fault():
    errors = dict.fromkeys(
        ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"), pynvml.NVML_ERROR_UNKNOWN
    )

    (reading,) = read(a_card(errors=errors))

    assert reading.memory_used is None
    assert "unknown error" in reading.fault


def test_a_card_in_mig_mode_is_its_instances():
    instances = [
        FakeCard(uuid=f"MIG-{number}", name="NVIDIA A100 MIG 3g.40gb", total=40 * GIB, used=GIB)
        for number in range(2)
    ]

    readings = read(a_card(0), a_card(1, instances=instances, power=90_000))

    assert [(each.uuid, each.index) for each in readings] == [
        ("GPU-0", 0),
        ("MIG-0", 110),
        ("MIG-1", 111),
    ]
    assert readings[1].memory_total == 40 * GIB
    assert readings[1].power_watts == 90.0


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "Reboot this machine"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "/dev/nvidia"),
        (pynvml.NVML_ERROR_MEMORY, "Check that `nvidia-smi` works"),
    ],
)
def test_a_driver_that_cannot_be_asked_gives_advice(code, advice):
    with (
        pytest.raises(CardsUnavailable, match=advice) as raised,
        nvml(a_card(), starts=code),
    ):
        pass
    assert not raised.value.no_driver


def test_a_machine_without_the_library_has_no_driver(monkeypatch):
    def missing(*_args: object) -> None:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    monkeypatch.setattr(pynvml, "CDLL", missing)
    with installed(None), pytest.raises(CardsUnavailable, match="no NVIDIA driver") as raised:
        NvmlCards()
    assert raised.value.no_driver


def test_a_driver_that_is_not_loaded_is_one_where_a_card_is_plugged_in(tmp_path):
    for name, vendor, kind in [("a", "0x8086", "0x030000"), ("b", "0x10de", "0x030200")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")

    assert has_nvidia_card(tmp_path)
    assert not has_nvidia_card(tmp_path / "nowhere")


def test_a_driver_that_goes_away_while_it_runs_is_told():
    with nvml(a_card()) as driver:
        driver.begin(())
        pynvml.nvmlLib.cards[0].errors = {"*": pynvml.NVML_ERROR_DRIVER_NOT_LOADED}
        with pytest.raises(CardsUnavailable, match="kernel module"):
            driver.read("GPU-0")


def test_a_driver_without_cards_is_told():
    with nvml() as driver:
        driver.begin(())
        assert "lists no card" in driver.notice


def test_in_a_container_with_its_own_process_numbers_no_process_is_taken_for_a_job(tmp_path):
    namespace = tmp_path / "pid"
    namespace.symlink_to("pid:[4026532999]")
    card = a_card(processes=[FakeProcess(pid=7, memory=GIB)])

    with installed(FakeLibrary(card)):
        driver = NvmlCards(pid_namespace=namespace)
        (reading,) = [driver.read(uuid) for uuid in driver.begin(())]

        assert reading.processes is None
        assert "--pid=host" in driver.notice


def test_the_host_sees_processes_by_their_numbers(tmp_path):
    namespace: Path = tmp_path / "pid"
    namespace.symlink_to("pid:[4026531836]")

    with installed(FakeLibrary(a_card())):
        driver = NvmlCards(pid_namespace=namespace)
        driver.begin(())
        assert driver.notice is None
