"""The alarm that the site's policy does not work: raised once, seen by admins and monitors, gone when it works."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from jobs import context_processors, health, heartbeats, metrics, sitesettings
from jobs.policies import alarm
from jobs.policies.alarm import AlarmKeeper
from tests.rows import a_device, a_user, an_admin

pytestmark = pytest.mark.django_db

PROBLEM = "raised ZeroDivisionError: division by zero (line 7, in schedule)"
SENTENCE = f"The policy fifo {PROBLEM}. The default order is used."


def host(problem: str | None = PROBLEM, setting: str = "fifo") -> SimpleNamespace:
    return SimpleNamespace(setting=setting, problem=problem)


@pytest.fixture
def keeper() -> AlarmKeeper:
    sitesettings.change({"policy": "fifo"}, None)
    return AlarmKeeper()


def test_an_alarm_stands_until_the_policy_works_again(keeper):
    assert alarm.standing() is None
    keeper.keep(host())
    assert alarm.standing().sentence == SENTENCE
    keeper.keep(host(""))
    assert alarm.standing() is None


def test_nothing_is_asked_while_nothing_changes(keeper, django_assert_num_queries):
    for problem in (PROBLEM, ""):
        keeper.keep(host(problem))
        with django_assert_num_queries(0):
            keeper.keep(host(problem))


def test_a_new_dispatcher_takes_an_old_alarm_back_only_when_it_knows(keeper):
    keeper.keep(host())
    successor = AlarmKeeper()
    successor.keep(host(None))
    assert alarm.standing() is not None
    successor.keep(host(""))
    assert alarm.standing() is None


def test_another_problem_of_the_same_policy_does_not_begin_the_alarm_anew(keeper):
    keeper.keep(host())
    since = alarm.standing().since
    keeper.keep(host("took longer than 5 s"))
    assert (alarm.standing().since, alarm.standing().problem) == (since, "took longer than 5 s")


def test_an_alarm_about_another_policy_is_a_new_one(keeper):
    keeper.keep(host())
    since = alarm.standing().since
    sitesettings.change({"policy": "shortest-first"}, None)
    keeper.keep(host(setting="shortest-first"))
    assert alarm.standing().policy == "shortest-first"
    assert alarm.standing().since > since


def test_an_alarm_about_a_policy_that_is_not_used_any_more_is_not_shown(keeper):
    keeper.keep(host())
    sitesettings.change({"policy": ""}, None)
    assert alarm.standing() is None


def test_the_policy_of_the_environment_is_meant_too(settings):
    settings.COOP_POLICY = "nowhere.py:Mine"
    AlarmKeeper().keep(host(setting="nowhere.py:Mine"))
    assert alarm.standing().policy == "nowhere.py:Mine"


def the_check() -> health.Check:
    (check,) = [each for each in health.checks() if each.name == "policy"]
    return check


def test_doctor_tells_it_with_what_to_do(keeper):
    assert (the_check().status, the_check().detail) == ("ok", "fifo")
    keeper.keep(host())
    assert (the_check().status, the_check().detail) == ("error", SENTENCE)
    assert "`default`" in the_check().hint


def test_a_site_without_a_policy_of_its_own_is_well(db):
    assert (the_check().status, the_check().detail) == ("ok", "default")


def test_a_failing_policy_does_not_make_the_service_unready(keeper):
    for name in (heartbeats.DISPATCHER, f"{heartbeats.AGENT}:node-a"):
        heartbeats.beat(name)
    a_device()
    keeper.keep(host())
    assert health.readyz(RequestFactory().get("/readyz")).status_code == 200
    assert alarm.NAME not in {life.name for life in heartbeats.lives()}


def test_monitors_see_it(keeper):
    def lines() -> list[str]:
        return metrics.exposition(metrics.collect()).splitlines()

    assert "llama_coop_policy_failing 0" in lines()
    keeper.keep(host())
    assert "llama_coop_policy_failing 1" in lines()
    assert not any('service="policy"' in line for line in lines())


def page(user, settings) -> str:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    browser = Client()
    browser.force_login(user)
    return browser.get(reverse("account")).content.decode()


def test_admins_see_it_on_every_page_and_others_do_not(keeper, settings):
    keeper.keep(host())
    assert SENTENCE in page(an_admin(), settings)
    assert "ZeroDivisionError" not in page(a_user(), settings)
    keeper.keep(host(""))
    assert "ZeroDivisionError" not in page(an_admin(), settings)


def test_the_notice_is_grave(keeper):
    keeper.keep(host())
    request = RequestFactory().get("/")
    request.user = an_admin()
    notices = context_processors.site(request)["site_notices"]
    (notice,) = [each for each in notices if "fifo" in each.text]
    assert notice.grave
