"""The bell, the list behind it, and the pages of channels."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from jobs import lifecycle
from jobs.models import Channel, Notification
from jobs.notify import taking
from jobs.notify.kinds import Kind
from jobs.notify.sealing import Target, seal
from jobs.notify.senders import SENDERS
from jobs.projects import default_project
from tests.pages.conftest import signed_in
from tests.rows import a_job, a_user, an_admin

WECOM = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx-4bc4"


@pytest.fixture
def told(member):
    """The member's one unread line."""
    taking.read_on(timezone.now())
    job = a_job(owner=member)
    lifecycle.cancel(job, an_admin())
    taking.read_on(timezone.now())
    return Notification.objects.get(user=member)


def a_channel(**owner):
    return Channel.objects.create(
        service="wecom",
        name="team",
        sealed=seal(Target(address=WECOM)),
        hint="https://…4bc4",
        **owner,
    )


def filled_in(**changed):
    return {
        "service": "wecom",
        "name": "team",
        "address": WECOM,
        "kinds": ["ended"],
        "rhythm": "now",
    } | changed


def test_the_bell_counts_and_the_line_leads_to_the_job_and_is_read_then(client, told):
    page = client.get(reverse("notifications")).content.decode()
    assert "1 unread notification" in page
    assert "job-1#1 was cancelled by admin." in page
    answer = client.get(reverse("notification", args=[told.pk]))
    assert answer.url == reverse("job", args=[told.job_id])
    assert "unread notification" not in client.get(reverse("part-bell")).content.decode()


def test_nobody_opens_the_line_of_another_one(told):
    other = signed_in(a_user("other"))
    assert other.get(reverse("notification", args=[told.pk])).status_code == 404


def test_all_is_marked_as_read(client, told):
    client.post(reverse("notifications-read"))
    assert not Notification.objects.filter(read_at=None).exists()


def test_a_kind_is_switched_off(client, member):
    kept = [kind.value for kind in Kind if kind != Kind.STARTED]
    client.post(reverse("my-channels"), {"what": "inbox", "kinds": kept})
    member.refresh_from_db()
    assert member.muted_kinds == ["started"]


def test_a_channel_never_shows_its_address_again(client):
    answer = client.post(reverse("my-channels"), filled_in(), follow=True)
    assert "The channel is made" in answer.content.decode()
    channel = Channel.objects.get()
    for name in (reverse("my-channels"), reverse("channel", args=[channel.pk])):
        page = client.get(name).content.decode()
        assert "693a91f6" not in page
        assert "…4bc4" in page


def test_a_webhook_gets_a_secret_that_is_shown_once(client):
    wanted = filled_in(service="webhook", address="https://example.org/hook")
    answer = client.post(reverse("my-channels"), wanted)
    assert answer.status_code == 201
    secret = answer.context["secret"]
    assert secret in answer.content.decode()
    assert secret not in client.get(reverse("my-channels")).content.decode()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"address": "https://evil.example/"}, "must look like https://qyapi"),
        ({"kinds": []}, "required"),
        ({"quiet_from": "22:00"}, "both ends"),
        ({"secret": "x"}, "Only robots of Feishu"),
        ({"service": "email", "address": "a@example.org"}, "Select a valid choice"),
    ],
)
def test_a_wrong_channel_is_refused_with_the_reason(client, changed, words):
    answer = client.post(reverse("my-channels"), filled_in(**changed))
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Channel.objects.exists()


def test_a_test_message_says_what_came_of_it(client, member, monkeypatch):
    sent = []
    monkeypatch.setitem(SENDERS, "wecom", lambda _target, message: sent.append(message))
    channel = a_channel(user=member)
    answer = client.post(reverse("channel-test", args=[channel.pk]), follow=True)
    assert "A test message went to “team”." in answer.content.decode()
    assert "“team” works" in sent[0].title


def test_a_channel_is_switched_off_and_removed_by_its_owner_only(client, member):
    channel = a_channel(user=member)
    stranger = signed_in(a_user("stranger"))
    for name in ("channel-test", "channel-pause", "channel-remove"):
        assert stranger.post(reverse(name, args=[channel.pk])).status_code == 404
    client.post(reverse("channel-pause", args=[channel.pk]))
    channel.refresh_from_db()
    assert channel.paused
    client.post(reverse("channel-remove", args=[channel.pk]))
    assert not Channel.objects.exists()


def test_a_project_s_channels_are_its_leads(client):
    address = reverse("project-channels", args=[default_project().slug])
    assert client.get(address).status_code == 404
    lead = signed_in(a_user("lead", role="lead"))
    assert lead.post(address, filled_in()).url == address
    channel = Channel.objects.get()
    assert channel.project == default_project()
    assert client.get(reverse("channel", args=[channel.pk])).status_code == 404


def test_a_time_zone_is_kept_and_a_wrong_one_refused(client, member):
    client.post(reverse("preferences"), {"timezone": "Asia/Shanghai"})
    member.refresh_from_db()
    assert member.timezone == "Asia/Shanghai"
    assert 'data-zone="Asia/Shanghai"' in client.get(reverse("account")).content.decode()
    assert client.post(reverse("preferences"), {"timezone": "Moon"}).status_code == 400
    client.post(reverse("preferences"), {"timezone": ""})
    member.refresh_from_db()
    assert member.timezone == ""


@pytest.mark.browser
def test_the_bell_rings_by_itself_when_somebody_else_ends_a_job(page, service):
    page.goto("/notifications/")
    service.shell(
        "from jobs import lifecycle\n"
        "from jobs.models import Job, User\n"
        "from jobs.projects import default_project\n"
        "who = User.objects.get(username='researcher')\n"
        "job = Job(owner=who, project=default_project(), task_id='bell', spec={}, content_hash='0', min_memory=1)\n"
        "lifecycle.submit(job, who)\n"
        "lifecycle.cancel(job, User.objects.get(username='admin'))\n"
    )
    expect(page.get_by_role("link", name="1 unread notification")).to_be_visible()
    expect(page.locator("#told")).to_contain_text("bell#1 was cancelled by admin.")
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.get_by_role("link", name="Notifications", exact=True)).to_be_visible()
