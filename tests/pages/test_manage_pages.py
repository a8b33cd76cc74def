"""The admins' pages: who may open them, what they change, and what they say of a wrong value."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from gpus.models import Device
from jobs import audit, heartbeats, sitesettings
from jobs.models import Announcement, ApiToken, Attempt, Job, Project, Quota
from jobs.policies import alarm
from jobs.projects import default_project
from jobs.tokens import create_token
from tests.jobs.queueworlds import HOUR
from tests.pages.conftest import signed_in
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin

PAGES = (
    "manage-new-project",
    "manage-settings",
    "manage-cards",
    "manage-quotas",
    "manage-announcements",
    "manage-tokens",
    "manage-audit",
)


@pytest.fixture
def admin(db):
    return signed_in(an_admin())


def text_of(response):
    return response.content.decode()


def send(browser, page, *, status=302, **changes):
    """Show an edited table, change some of its fields, and send all of them, as a browser does."""
    text = text_of(browser.get(reverse(page)))
    (before,) = re.findall(r'name="before" value="([^"]*)"', text)
    fields = json.loads(unescape(before)) | changes
    response = browser.post(reverse(page), fields | {"before": unescape(before)})
    assert response.status_code == status, text_of(response)
    return text_of(response)


# --- who ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_they_are_for_admins(page, client):
    assert client.get(reverse(page)).status_code == 403
    assert signed_in(a_user("lead", role="lead")).get(reverse(page)).status_code == 403
    assert signed_in(an_admin()).get(reverse(page)).status_code == 200


def test_only_an_admin_finds_the_entry(client):
    link = f'href="{reverse("manage-settings")}"'
    assert link not in text_of(client.get("/"))
    assert link in text_of(signed_in(an_admin()).get("/"))


@pytest.mark.parametrize("page", PAGES)
def test_they_have_what_assistive_technology_needs(page, admin):
    a_device()
    default_project()
    text = text_of(admin.get(reverse(page)))
    assert text.count("<h1") == 1
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    labels = set(re.findall(r'<label[^>]* for="([^"]+)"', text))
    inputs = re.findall(r"<(?:input|select)\s([^>]*)>", text)
    shown = [each for each in inputs if 'type="hidden"' not in each and 'class="form-' in each]
    named = [each for each in shown if 'class="form-check' not in each]
    assert all(re.search(r'id="([^"]+)"', each)[1] in labels for each in named), named


# --- settings ------------------------------------------------------------------------------------------


def test_every_setting_has_its_row_with_default_and_what_is_allowed(admin):
    text = unescape(text_of(admin.get(reverse("manage-settings"))))
    for name in sitesettings.NAMES:
        assert f'id="set-{name}"' in text
        assert sitesettings.allowed(name) in text


def test_what_is_changed_is_stored_and_says_by_whom(admin):
    send(admin, "manage-settings", max_workers="5", preemption="false")
    values = sitesettings.current()
    assert (values.max_workers, values.preemption) == (5, False)
    assert [each.what for each in audit.entries(audit.Wanted())] == [
        "preemption = False",
        "max_workers = 5",
    ]
    assert "changed by admin" in text_of(admin.get(reverse("manage-settings")))


def test_what_somebody_else_has_changed_meanwhile_stays(admin):
    text = text_of(admin.get(reverse("manage-settings")))
    before = unescape(re.findall(r'name="before" value="([^"]*)"', text)[0])
    sitesettings.change({"max_workers": 7}, None)
    mine = json.loads(before) | {"mode": "exclusive", "before": before}
    admin.post(reverse("manage-settings"), mine)
    values = sitesettings.current()
    assert (values.max_workers, values.mode) == (7, "exclusive")


def test_a_wrong_value_stays_in_its_field_and_nothing_is_changed(admin):
    text = send(admin, "manage-settings", status=422, max_workers="many", mode="exclusive")
    assert 'name="max_workers" value="many"' in text
    assert "max_workers cannot be &#x27;many&#x27;" in text
    assert "Nothing was changed" in text
    assert sitesettings.current().mode == "smart-queue"


def test_a_setting_goes_back_to_its_default(admin):
    sitesettings.change({"max_workers": 7}, None)
    admin.post(reverse("manage-settings"), {"reset": "max_workers"})
    assert sitesettings.current().max_workers is None
    response = admin.post(reverse("manage-settings"), {"reset": "nothing"}, follow=True)
    assert "There is no setting" in text_of(response)


def test_a_policy_that_fails_is_an_alarm_beside_its_setting(admin):
    sitesettings.change({"policy": "shortest-first"}, None)
    heartbeats.Heartbeat.objects.create(
        name=alarm.NAME,
        at=timezone.now(),
        detail={"policy": "shortest-first", "problem": "does not answer"},
    )
    text = text_of(admin.get(reverse("manage-settings")))
    assert text.count("The policy shortest-first does not answer.") == 2  # on every page, and here
    assert f'href="{reverse("whatif")}"' in text


# --- cards ---------------------------------------------------------------------------------------------


def test_modes_and_weights_are_set_in_the_table(admin):
    device, other = a_device(0), a_device(1)
    changes = {f"mode:{device.pk}": "exclusive", f"weight:{other.pk}": "0.5"}
    send(admin, "manage-cards", **changes)
    found = {each.pk: (each.mode, each.weight) for each in Device.objects.all()}
    assert found == {device.pk: ("exclusive", 1.0), other.pk: ("", 0.5)}


@pytest.mark.parametrize("weight", ["heavy", "0", "nan", ""])
def test_a_wrong_weight_is_marked_and_no_card_is_changed(admin, weight):
    device, other = a_device(0), a_device(1)
    changes = {f"mode:{device.pk}": "exclusive", f"weight:{other.pk}": weight}
    text = send(admin, "manage-cards", status=422, **changes)
    assert f'id="error-{other.pk}"' in text
    assert Device.objects.get(pk=device.pk).mode == ""


def drain(browser, device, **fields):
    address = reverse("manage-card-drain", args=[device.pk])
    return text_of(browser.post(address, {"do": "drain"} | fields, follow=True))


def test_a_card_is_taken_out_of_service_with_a_reason_and_put_back(admin):
    device = a_device()
    assert "Say why" in drain(admin, device, reason="  ")
    assert "new fan" in drain(admin, device, reason="new fan")
    assert Device.objects.get().drained
    drain(admin, device, do="undrain")
    assert not Device.objects.get().drained


def test_clearing_it_now_pauses_what_can_and_says_what_goes_on(admin):
    device = a_device()
    config = {"model_name_or_path": "m", "do_train": True, "dataset": "d"}
    job, attempt = a_running_job("saves", device=device, command=None, llamafactory=config)
    Attempt.objects.filter(pk=attempt.pk).update(saves_itself=True)
    a_running_job("opaque", device=device)
    text = drain(admin, device, reason="new fan", when="now")
    assert "Paused, to be resumed by an admin: saves#1" in text
    assert "opaque#1" in text
    assert Job.objects.get(pk=job.pk).state == "SUSPENDING"


def test_a_whole_machine_is_drained_at_once(admin):
    node = a_device(0).node
    a_device(1)
    address = reverse("manage-node-drain", args=[node.pk])
    admin.post(address, {"do": "drain", "reason": "new driver"})
    assert set(Device.objects.values_list("drain_reason", flat=True)) == {"new driver"}


def test_without_cards_it_says_where_to_look(admin):
    assert "agent.log" in text_of(admin.get(reverse("manage-cards")))


# --- quotas --------------------------------------------------------------------------------------------


@pytest.fixture
def kept_back(db):
    """Two cards; the default project may hold one, and its second job waits for the quota."""
    heartbeats.beat(heartbeats.DISPATCHER)
    a_running_job("runs", device=a_device(0), memory=70 * GIB, est_time=HOUR)
    a_device(1)
    Quota.objects.create(project=default_project(), limit_cards=1)
    return a_job("waits", memory=70 * GIB, est_time=HOUR)


def test_the_effect_is_shown_and_nothing_is_saved(admin, kept_back):
    cell = f"limit_cards:{default_project().pk}"
    text = send(admin, "manage-quotas", status=200, **{cell: "2", "do": "effect"})
    assert "<b>1</b> would start now" in text
    assert "waits#1" in text
    assert f'name="{cell}" value="2"' in text
    assert Quota.objects.get().limit_cards == 1


def test_a_part_with_the_effect_is_fetched_while_one_types(admin, kept_back):
    cell = f"limit_cards:{default_project().pk}"
    before = json.dumps({cell: "1"})
    fields = {"before": before, cell: "2"}
    response = admin.post(reverse("manage-quotas"), fields, headers={"HX-Request": "true"})
    text = text_of(response)
    assert "<html" not in text
    assert "<b>1</b> would start now" in text
    assert Quota.objects.get().limit_cards == 1


def test_many_projects_cost_no_more_queries_than_one(admin, django_assert_max_num_queries):
    for number in range(20):
        project = Project.objects.create(slug=f"team-{number}", name=f"Team {number}")
        Quota.objects.create(project=project, limit_cards=number)
    with django_assert_max_num_queries(25):
        text = text_of(admin.get(reverse("manage-quotas")))
    assert "holds now: cards 0, memory 0 B, jobs 0" in text


def test_what_a_project_holds_stands_beside_its_quota(admin, kept_back):
    text = text_of(admin.get(reverse("manage-quotas")))
    assert "holds now: cards 1, memory 70 GiB, jobs 1" in text


def test_weight_memory_and_hours_are_saved_in_one_table(admin):
    project = default_project()
    cells = {
        "weight": "2.5",
        "guarantee_memory": "80",
        "limit_memory": "1T",
        "limit_gpu_hours": "100.5",
    }
    send(admin, "manage-quotas", **{f"{name}:{project.pk}": text for name, text in cells.items()})
    project.refresh_from_db()
    quota = Quota.objects.get()
    assert project.weight == 2.5
    assert (quota.guarantee_memory, quota.limit_memory) == (80 * GIB, 1024 * GIB)
    assert (quota.limit_gpu_hours, quota.limit_cards) == (100.5, None)
    text = text_of(admin.get(reverse("manage-quotas")))
    assert f'name="limit_memory:{project.pk}" value="1024G"' in text


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"weight": ""}, "a number from 0.01 to 1000"),
        ({"weight": "0"}, "cannot be 0"),
        ({"limit_cards": "1.5"}, "“1.5” cannot stand here"),
        ({"limit_memory": "much"}, "much"),
        ({"limit_cards": "-1"}, "cannot stand here"),
        ({"guarantee_cards": "3", "limit_cards": "2"}, "above its limit"),
    ],
)
def test_a_wrong_amount_is_said_and_nothing_is_saved(admin, cells, said):
    project = default_project()
    changes = {f"{name}:{project.pk}": text for name, text in cells.items()}
    assert said in unescape(send(admin, "manage-quotas", status=422, **changes))
    assert not Quota.objects.exists()


def test_a_project_is_made_and_its_people_can_be_invited(admin):
    fields = {"slug": "vision", "name": "Vision", "description": "pictures"}
    text = text_of(admin.post(reverse("manage-new-project"), fields, follow=True))
    assert "Vision is made." in text
    assert reverse("invitations", args=["vision"]) in text
    entry = next(audit.entries(audit.Wanted()))
    assert (entry.what, entry.verb) == ("vision", "created")


@pytest.mark.parametrize(
    ("slug", "said"), [("default", "already"), ("Großes Team", "valid value"), ("", "required")]
)
def test_a_project_that_cannot_be_is_refused_in_the_form(admin, slug, said):
    default_project()
    response = admin.post(reverse("manage-new-project"), {"slug": slug, "name": "Team"})
    assert response.status_code == 422
    assert said in text_of(response)


# --- announcements, tokens -----------------------------------------------------------------------------


def test_everybody_reads_an_announcement_until_it_is_taken_down(admin, client):
    words = "On Friday at 18:00 all cards go down for an hour."
    admin.post(reverse("manage-announcements"), {"text": words, "level": "warning", "hours": "24"})
    assert words in text_of(client.get(reverse("job-list")))
    made = Announcement.objects.get()
    assert timedelta(hours=23) < made.ends_at - timezone.now() < timedelta(hours=25)
    admin.post(reverse("manage-announcement-end", args=[made.pk]))
    assert words not in text_of(client.get(reverse("job-list")))
    assert words in text_of(admin.get(reverse("manage-announcements")))


def test_an_announcement_of_nothing_is_refused_in_the_form(admin):
    response = admin.post(
        reverse("manage-announcements"), {"text": " ", "level": "info", "hours": "24"}
    )
    assert response.status_code == 422
    assert not Announcement.objects.exists()


def test_tokens_of_everybody_are_listed_and_revoked(admin, member):
    create_token(member, name="CI of the lab", scopes=["read"])
    token = ApiToken.objects.get()
    assert "CI of the lab" in text_of(admin.get(reverse("manage-tokens")))
    admin.post(reverse("manage-token-revoke", args=[token.pk]), follow=True)
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert "CI of the lab" not in text_of(admin.get(reverse("manage-tokens")))
    ended = text_of(admin.get(reverse("manage-tokens"), {"show": "all", "person": "memb"}))
    assert "CI of the lab" in ended
    assert "CI of the lab" not in text_of(
        admin.get(reverse("manage-tokens"), {"show": "all", "person": "somebody"})
    )


# --- the log -------------------------------------------------------------------------------------------


def test_the_log_names_who_did_what_and_is_filtered_in_the_address(admin, member):
    a_job("mine", owner=member)
    sitesettings.change({"max_workers": 5}, an_admin())
    text = text_of(admin.get(reverse("manage-audit")))
    assert "mine#1" in text
    assert "max_workers = 5" in text
    only = text_of(admin.get(reverse("manage-audit"), {"kind": "settings", "person": "adm"}))
    assert "mine#1" not in only
    assert "max_workers = 5" in only


def test_the_log_goes_on_where_a_page_ends(admin, member, monkeypatch):
    monkeypatch.setattr("jobs.views.manage.log.ENTRIES_A_PAGE", 2)
    for number in range(3):
        a_job(f"job-{number}", owner=member)
    text = text_of(admin.get(reverse("manage-audit")))
    assert "job-2#1" in text
    assert "job-0#1" not in text
    older = unescape(re.findall(r'href="(\?before=[^"]+)"', text)[0])
    assert "job-0#1" in text_of(admin.get(reverse("manage-audit") + older))


def test_the_log_as_a_table_opens_in_a_spreadsheet_and_carries_no_formula(admin):
    default_project()
    sitesettings.change({"log_dir": "/srv/日志"}, an_admin())
    a_device(0)
    drain(admin, Device.objects.get(), reason="=1+1")
    text = text_of(admin.get(reverse("manage-audit"), {"format": "csv"}))
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["did"] for row in rows] == ["drained", "set"]
    assert "日志" in rows[1]["details"]
    assert not any(cell.startswith("=") for row in rows for cell in row.values())


def test_a_day_that_is_none_is_said(admin):
    response = admin.get(reverse("manage-audit"), {"from": "yesterday"})
    assert response.status_code == 422
    assert "Write a day as 2026-02-03." in text_of(response)


@pytest.mark.parametrize(
    "given",
    [
        {"before": "2026-02-03T14:05"},
        {"before": "2026-02-03T14:05", "to": "2026-02-04"},
        {"before": "once"},
        {"person": "a\0b"},
        {"kind": "nothing"},
    ],
)
def test_an_odd_address_is_read_as_far_as_it_can_be(admin, given):
    assert admin.get(reverse("manage-audit"), given).status_code == 200


@pytest.mark.parametrize("page", ["manage-settings", "manage-cards", "manage-quotas"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"before": "nonsense"},
        {"before": "[1]"},
        {"before": '{"weight:x": "1"}', "weight:x": "2"},
        {"before": '{"weight:999": "1"}', "weight:999": "2"},
        {"before": '{"secret": ""}', "secret": "x"},
    ],
)
def test_a_form_that_was_never_ours_changes_nothing(admin, page, fields):
    device = a_device()
    assert admin.post(reverse(page), fields).status_code == 302
    assert list(audit.entries(audit.Wanted())) == []
    assert Device.objects.get(pk=device.pk).weight == 1


def test_a_kind_that_has_no_entries_says_what_to_do(admin):
    text = text_of(admin.get(reverse("manage-audit"), {"kind": "tokens"}))
    assert "Leave a filter out" in text
