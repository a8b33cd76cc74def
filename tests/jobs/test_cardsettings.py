"""What an admin sets on cards: mode, weight, service; and what becomes of the jobs on a card that is cleared."""

from __future__ import annotations

import pytest

from gpus.models import Device
from jobs import audit, cardsettings, cardviews
from jobs.core.states import JobState
from jobs.models import Attempt, Job
from jobs.refusals import Refused
from tests.rows import GIB, a_device, a_running_job, an_admin

pytestmark = pytest.mark.django_db
TRAINING = {
    "command": None,
    "llamafactory": {"model_name_or_path": "m", "do_train": True, "dataset": "d"},
}


def view_of(device):
    return next(view for view in cardviews.device_views() if view.uuid == device.uuid)


def test_mode_and_weight_are_what_placement_sees_from_then_on():
    device = a_device()
    cardsettings.change(device, {"mode": "exclusive", "weight": 2.0}, an_admin())
    view = view_of(device)
    assert (view.max_holders, view.weight) == (1, 2.0)
    entry = next(audit.entries(audit.Wanted()))
    assert entry.values["before"] == {"mode": "", "weight": 1.0}


def test_a_change_touches_no_booking_that_came_meanwhile():
    device = a_device()
    a_running_job("runs", device=device)
    cardsettings.change(device, {"weight": 2.0}, an_admin())
    cardsettings.drain([device], "new fan", an_admin())
    assert Device.objects.get().booked == 14 * GIB


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mode": "fastest"}, "dynamic-sharding"),
        ({"weight": 0}, "0.01 to 1000"),
        ({"weight": float("nan")}, "0.01 to 1000"),
        ({"weight": "heavy"}, "0.01 to 1000"),
        ({"weight": True}, "0.01 to 1000"),
    ],
)
def test_what_a_card_cannot_be_is_refused_with_what_it_can(values, said):
    device = a_device()
    with pytest.raises(Refused) as caught:
        cardsettings.change(device, values, an_admin())
    assert said in caught.value.hint
    assert (Device.objects.get().mode, Device.objects.get().weight) == ("", 1.0)


def test_drained_cards_take_nothing_and_come_back():
    devices = [a_device(0), a_device(1)]
    cardsettings.drain(devices, "new fan", an_admin())
    assert [view.drained for view in cardviews.device_views()] == [True, True]
    assert view_of(devices[0]).drain_reason == "new fan"
    cardsettings.undrain(devices, an_admin())
    assert [view.drain_reason for view in cardviews.device_views()] == ["", ""]


def test_clearing_a_card_pauses_what_can_save_and_names_what_cannot():
    device, other = a_device(0), a_device(1)
    can, attempt = a_running_job("can", device=device, **TRAINING)
    Attempt.objects.filter(pk=attempt.pk).update(saves_itself=True)
    a_running_job("cannot", device=device)
    elsewhere, _attempt = a_running_job("elsewhere", device=other, **TRAINING)
    cleared = cardsettings.clear([device], an_admin())
    assert [job.pk for job in cleared.paused] == [can.pk]
    (refused,) = cleared.refused
    assert "cannot#1" in refused.detail
    assert Job.objects.get(pk=can.pk).state == JobState.SUSPENDING
    assert Job.objects.get(pk=elsewhere.pk).state == JobState.RUNNING
