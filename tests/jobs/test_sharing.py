"""What this machine can do to share cards is said by name, with the reason where it cannot."""

from __future__ import annotations

import pytest

from jobs import health, mps, sharing, torchversion
from jobs.trainer import Trainer
from tests.rows import a_device

pytestmark = pytest.mark.django_db

NAMES = ["soft", "mps", "dmem", "mig", "swap-out"]


@pytest.fixture
def real(settings, tmp_path, monkeypatch):
    """A machine whose cards are real, with a driver that can swap, and nothing else."""
    settings.COOP_HOME = tmp_path
    device = a_device()
    device.node.source, device.node.driver = "nvml", "580.1"
    device.node.save()
    trainer = Trainer(argv=("llamafactory-cli",), folder="")
    monkeypatch.setattr(sharing, "find_trainer", lambda: trainer)
    monkeypatch.setattr(sharing, "of_trainer", lambda _trainer: (2, 9))
    monkeypatch.setattr(mps, "has_control", lambda: False)
    monkeypatch.setattr(sharing.swapability, "_has_cuda_core", lambda: False)
    return device


def said() -> dict[str, sharing.Ability]:
    return {each.name: each for each in sharing.abilities()}


def test_simulated_cards_can_do_nothing_of_it():
    device = a_device()
    device.node.source = "simulated"
    device.node.save()
    assert list(said()) == NAMES
    assert {(each.can, each.why) for each in said().values()} == {
        (False, "the cards are simulated")
    }


def test_without_cards_there_is_nothing_to_say():
    assert sharing.abilities() == []


def test_each_no_has_its_reason(real):
    found = said()
    assert not any(each.can for each in found.values())
    assert "2.9; it needs 2.10" in found["soft"].why
    assert mps.CONTROL in found["mps"].why
    assert "dmem" in found["dmem"].why
    assert "MIG mode" in found["mig"].why
    assert "cuda-core" in found["swap-out"].why


def test_what_is_there_is_found(real, monkeypatch):
    monkeypatch.setattr(sharing, "of_trainer", lambda _trainer: torchversion.Version((2, 10)))
    monkeypatch.setattr(mps, "has_control", lambda: True)
    monkeypatch.setattr(sharing.swapability, "_has_cuda_core", lambda: True)
    a_device(1, node=real.node)
    type(real).objects.filter(index=1).update(uuid="MIG-1")
    assert {name for name, each in said().items() if each.can} == set(NAMES) - {"dmem"}


def test_the_kernels_controller_alone_does_not_make_dmem_ours(tmp_path):
    (tmp_path / "controllers").write_text("cpu io memory dmem")
    assert "does not set its limits yet" in sharing._no_dmem(tmp_path / "controllers")


def test_doctor_and_health_page_get_it_without_alarm(real):
    checks = {check.name: check for check in health.checks()}
    assert {checks[name].status for name in NAMES} == {"ok"}
    assert checks["mps"].detail.startswith("cannot: ")
