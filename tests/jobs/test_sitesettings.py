from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from jobs import sitesettings
from jobs.core.scheduling.rules import Rules
from jobs.models import Project
from jobs.sitesettings import SettingRefused, SiteSettings
from tests.rows import an_admin

pytestmark = pytest.mark.django_db


def test_a_fresh_site_has_the_defaults() -> None:
    values = sitesettings.current()
    assert (values.mode, values.max_workers, values.max_jobs_per_card) == ("smart-queue", None, 8)
    assert (values.threshold("smart-queue"), values.threshold("dynamic-sharding")) == (0.9, 0.95)


def test_what_is_not_named_does_not_change() -> None:
    sitesettings.change({"max_workers": 5}, an_admin())
    values = sitesettings.change({"memory_threshold": 0.8}, an_admin())
    assert (values.max_workers, values.memory_threshold) == (5, 0.8)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("memory_threshold", 1.5, "above 0 and at most 1"),
        ("memory_threshold", True, "above 0 and at most 1"),
        ("max_workers", 0, "whole number from 1"),
        ("max_workers", "5", "whole number from 1"),
        ("mode", "fast", "smart-queue"),
        ("policy", None, "fifo, shortest-first"),
        ("policy", "fastest", "there is no policy of the name 'fastest'. Allowed: default, fifo"),
        ("policy", "nowhere/policy.py:Mine", "nowhere/policy.py cannot be read"),
        ("threshold", 0.8, "memory_threshold"),
        ("preemption", None, "true, or false"),
        ("min_run_minutes", -1, "0 to 10080"),
        ("min_run_minutes", True, "0 to 10080"),
        ("half_life_hours", 0, "1 to 8760"),
        ("half_life_hours", float("nan"), "1 to 8760"),
        ("placement", "worst-fit", "best-fit, fragmentation"),
        ("signup", "friends", "nobody, domains, everybody"),
        ("signup_domains", ["Example Org"], "a list of domains"),
        ("signup_domains", "example.org", "a list of domains"),
        ("signup_project", "nowhere", "the slug of a project"),
        ("signup_project", "a\0b", "the slug of a project"),
        ("private_webhooks", 1, "true, or false"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(
    name: str, value: object, allowed: str
) -> None:
    with pytest.raises(SettingRefused, match=allowed):
        sitesettings.change({name: value}, None)


def test_one_wrong_value_keeps_the_others_from_being_stored() -> None:
    with pytest.raises(SettingRefused):
        sitesettings.change({"max_workers": 5, "memory_threshold": 7}, None)
    assert sitesettings.current().max_workers is None


def test_the_queue_is_open_while_there_is_one_project() -> None:
    Project.objects.create(slug="a", name="A")
    assert sitesettings.current().queue_is_open
    Project.objects.create(slug="b", name="B")
    assert not sitesettings.current().queue_is_open
    sitesettings.change({"open_queue": True}, None)
    assert sitesettings.current().queue_is_open


def test_a_policy_is_chosen_by_name_or_by_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.py"
    file.write_text("class Mine: pass\nraise SystemExit('not executed')\n", encoding="utf-8")
    for policy in ("fifo", f"{file}:Mine", ""):
        assert sitesettings.change({"policy": policy}, None).policy == policy
    with pytest.raises(SettingRefused, match="has no class Other; it has Mine"):
        sitesettings.change({"policy": f"{file}:Other"}, None)


def test_every_setting_has_a_check() -> None:
    assert set(sitesettings.NAMES) == {field.name for field in fields(SiteSettings)}


def test_a_limit_can_be_switched_off() -> None:
    sitesettings.change({"max_jobs_per_card": None}, None)
    assert sitesettings.current().max_jobs_per_card is None


def test_without_a_change_the_schedulers_numbers_are_the_built_in_ones() -> None:
    assert sitesettings.rules() == Rules()


def test_an_admin_changes_the_schedulers_numbers() -> None:
    sitesettings.change(
        {
            "preemption": False,
            "min_run_minutes": 10,
            "half_life_hours": 48,
            "placement": "fragmentation",
        },
        an_admin(),
    )
    assert sitesettings.rules() == Rules(
        preemption=False, min_run=600, half_life=172800, placement="fragmentation"
    )


def test_a_request_reads_the_settings_once_and_sees_its_own_change(db, django_assert_num_queries):
    with sitesettings.read_once():
        with django_assert_num_queries(1):
            assert [sitesettings.current().max_workers for _ in range(3)] == [None] * 3
        sitesettings.change({"max_workers": 5}, None)
        assert sitesettings.current().max_workers == 5
