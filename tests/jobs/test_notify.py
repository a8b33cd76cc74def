"""What happens to jobs is told: once in the inbox, and in one message outside."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone, translation
from django_q.models import OrmQ
from hypothesis import given
from hypothesis import strategies as st

from jobs import lifecycle, sitesettings, tasks
from jobs.core.ending import Ending
from jobs.core.plan import PreemptionRule
from jobs.core.states import Outcome, Reason
from jobs.models import Channel, Delivery, Job, JobEvent, Membership, Notification, Quota
from jobs.notify import composing, inbox, pump, sending, sentences, taking, telling, watching
from jobs.notify.forms import ChannelForm, check_address, hint_of
from jobs.notify.kinds import Fact, Kind
from jobs.notify.message import Message, SendFailed
from jobs.notify.sealing import Target, seal, unseal
from jobs.notify.senders import SENDERS, bots, webhook
from jobs.notify.timing import due, is_quiet
from jobs.projects import default_project, join
from tests.rows import a_device, a_job, a_running_job, a_user, an_admin

pytestmark = pytest.mark.django_db
SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture
def member():
    taking.read_on(timezone.now())  # a place to read on from
    return a_user()


@pytest.fixture
def sent(monkeypatch):
    """What would have been sent to Slack, and what is raised instead of sending."""
    messages: list[Message] = []

    def send(target, message):
        assert target.address == "https://hooks.slack.com/services/T/B/secretsecret"
        messages.append(message)

    monkeypatch.setitem(SENDERS, "slack", send)
    return messages


def a_channel(owner=None, project=None, **fields):
    return Channel.objects.create(
        user=owner,
        project=project,
        service="slack",
        name="chat",
        sealed=seal(Target(address="https://hooks.slack.com/services/T/B/secretsecret")),
        hint="…",
        **{"kinds": [kind.value for kind in Kind]} | fields,
    )


def read_on():
    return taking.read_on(timezone.now())


def told_to(user):
    rows = Notification.objects.filter(user=user).order_by("pk").select_related("job")
    return [each.sentence for each in sentences.in_words(rows, Job.objects.visible_to(user))]


def ended(job, attempt, outcome=Outcome.FAILED, reason=Reason.GPU_OUT_OF_MEMORY, detail="Out."):
    assert lifecycle.finish(attempt, Ending(outcome=outcome, reason=reason, detail=detail))


def all_is_due():
    past = timezone.now() - timedelta(minutes=1)
    Delivery.objects.filter(done_at=None).update(due_at=past)
    Channel.objects.update(next_at=None)


# --- from events to the inbox ---------------------------------------------------------------------


def test_a_start_and_an_end_are_told_to_the_owner_with_the_cause(member):
    job, attempt = a_running_job(device=a_device(), owner=member)
    ended(job, attempt, detail="The card has 80 GiB, the job wanted more.")
    read_on()
    started, failed = told_to(member)
    assert started == "job-1#1 has started."
    assert failed.startswith("job-1#1 has failed after")
    assert failed.endswith("The card has 80 GiB, the job wanted more.")


def test_each_event_is_told_once_however_often_somebody_reads(member):
    a_running_job(device=a_device(), owner=member)
    first, second = read_on(), read_on()
    assert (first, second) == (3, 0)
    assert Notification.objects.count() == 1


def test_an_event_that_shows_late_is_told_and_none_twice(member):
    a_running_job(device=a_device(), owner=member)
    newest = JobEvent.objects.order_by("-pk").first()
    JobEvent.objects.filter(pk=newest.pk).update(kind="priority")
    late = JobEvent.objects.get(pk=newest.pk)
    JobEvent.objects.filter(pk=newest.pk).delete()
    JobEvent.objects.create(
        pk=newest.pk + 1, job=late.job, at=late.at, kind="priority", new_state="running"
    )
    read_on()
    assert told_to(member) == []
    late.kind, late.old_state = "run", "starting"
    late.save(force_insert=True)
    read_on()
    read_on()
    assert told_to(member) == ["job-1#1 has started."]


def test_nobody_is_told_what_they_did_themselves(member):
    job = a_job(owner=member)
    lifecycle.cancel(job, member)
    other = a_job("job-2", owner=member)
    lifecycle.cancel(other, an_admin())
    read_on()
    assert told_to(member) == ["job-2#1 was cancelled by admin."]


def test_a_cancel_that_took_a_while_is_still_the_owners_own(member):
    job, attempt = a_running_job(device=a_device(), owner=member)
    member.muted_kinds = ["started"]
    member.save()
    lifecycle.cancel(job, member)
    ended(job, attempt, Outcome.CANCELLED, Reason.USER, "")
    read_on()
    assert told_to(member) == []


def test_a_pause_by_somebody_else_is_told_with_the_name(member):
    lifecycle.hold(a_job(owner=member), an_admin(), by_admin=True)
    read_on()
    assert told_to(member) == ["job-1#1 was paused by admin."]


def test_a_preemption_is_told_with_the_other_job_only_to_who_may_know_it(member):
    stranger = a_user("stranger", role=None)
    mine, attempt = a_running_job(device=a_device(), owner=member)
    theirs = a_job("their-secret", owner=stranger)
    other = type(default_project()).objects.create(slug="other", name="Other")
    Job.objects.filter(pk=theirs.pk).update(project=other)
    rule = PreemptionRule.PRIORITY
    lifecycle.preempt(mine, attempt, beneficiary=theirs.pk, rule=rule, lost=300.0)
    read_on()
    [_started, preempted] = told_to(member)
    assert "another project's job" in preempted
    assert "their-secret" not in preempted
    join(member, other, Membership.Role.VIEWER)
    assert "their-secret#1" in told_to(member)[1]


def test_a_muted_kind_stays_out_of_the_inbox(member):
    member.muted_kinds = ["started"]
    member.save()
    a_running_job(device=a_device(), owner=member)
    read_on()
    assert told_to(member) == []


def test_whoever_left_the_project_hears_nothing_more(member):
    a_running_job(device=a_device(), owner=member)
    member.memberships.all().delete()
    read_on()
    assert told_to(member) == []


def test_a_thousand_endings_are_one_line_and_one_message(member, sent):
    a_channel(member)
    job = a_job(owner=member)
    now = timezone.now()
    facts = [
        Fact(
            kind=Kind.ENDED,
            key=f"event:{1000 + n}",
            at=now,
            project=job.project_id,
            users=frozenset({member.pk}),
            job=job,
            data={"state": "FAILED" if n % 100 == 0 else "SUCCEEDED", "detail": "x"},
        )
        for n in range(1_000)
    ]
    for first in range(0, 1_000, 250):
        telling.tell(facts[first : first + 250], now)
    assert told_to(member) == ["1,000 jobs ended: 990 succeeded, 10 failed."]
    assert inbox.unread(member.pk) == 1
    all_is_due()
    assert sending.send_due() == 1
    [message] = sent
    assert message.title == "1,000 jobs ended: 990 succeeded, 10 failed."
    assert message.text.count("has failed") == 10
    assert "and 990 more" in message.text
    assert len(message.items) == composing.MOST_ITEMS


def test_a_trickle_of_endings_folds_too(member):
    job, now = a_job(owner=member), timezone.now()
    for n in range(40):
        fact = Fact(
            kind=Kind.ENDED,
            key=f"event:{n}",
            at=now,
            project=job.project_id,
            users=frozenset({member.pk}),
            job=job,
            data={"state": "SUCCEEDED"},
        )
        telling.tell([fact], now)
    lines = told_to(member)
    assert len(lines) == inbox.MOST_SINGLE + 1
    assert lines[-1] == "30 jobs ended: 30 succeeded."


def test_a_sentence_is_in_the_language_of_its_reader(member, sent, monkeypatch):
    asked = []
    a_channel(member)
    member.language = "zh-hans"
    member.save()
    a_running_job(device=a_device(), owner=member)
    read_on()
    real = sentences.in_words
    monkeypatch.setattr(
        sentences, "in_words", lambda *a: asked.append(translation.get_language()) or real(*a)
    )
    all_is_due()
    sending.send_due()
    assert (asked, len(sent)) == (["zh-hans"], 1)


# --- idle, quota, soon ----------------------------------------------------------------------------


def test_an_idle_stretch_is_told_once(member):
    job, _attempt = a_running_job(device=a_device(), owner=member)
    now = timezone.now()
    for _again in range(2):
        telling.warn_idle(job, since=now - timedelta(minutes=30), now=now)
    assert told_to(member) == ["job-1#1 has kept its cards idle for 30m."]
    telling.warn_idle(job, since=now - timedelta(minutes=5), until=now, now=now)
    assert "It may keep them until" in told_to(member)[1]


def test_a_quota_that_is_nearly_used_up_is_told_to_the_leads_once(member, monkeypatch):
    lead = a_user("lead", role="lead")
    Quota.objects.create(project=default_project(), limit_gpu_hours=1.0)
    _job, attempt = a_running_job(device=a_device(), owner=member)
    begun = timezone.now() - timedelta(hours=2)
    type(attempt).objects.filter(pk=attempt.pk).update(started_at=begun, created_at=begun)
    monkeypatch.setattr(watching, "_starts", lambda *_: iter(()))
    now = max(timezone.now(), begun)
    for _again in range(2):
        watching.look(now)
    told = told_to(lead)
    assert len(told) == (1 if timezone.localtime(begun).month == now.month else len(told))
    assert "GPU-hours of this month" in told[0]
    assert told_to(member) == []


# --- channels -------------------------------------------------------------------------------------


def test_a_projects_channel_is_told_of_everybodys_jobs_in_it(member, sent):
    a_channel(project=default_project(), kinds=["started"])
    a_running_job(device=a_device(), owner=member)
    read_on()
    all_is_due()
    assert sending.send_due() == 1
    assert sent[0].title == "job-1#1 has started."
    assert sent[0].items[0]["job"]["owner"] == "member"


def test_what_failed_is_tried_again_and_given_up_in_the_end_with_the_reason_shown(
    member, monkeypatch, caplog
):
    def refuse(target, _message):
        raise SendFailed(f"No such hook {target.address}")

    monkeypatch.setitem(SENDERS, "slack", refuse)
    channel = a_channel(member)
    a_running_job(device=a_device(), owner=member)
    read_on()
    caplog.set_level(logging.DEBUG)
    for _try in range(sending.MOST_ATTEMPTS + 2):
        all_is_due()
        assert sending.send_due() == 0
    channel.refresh_from_db()
    delivery = channel.deliveries.get()
    assert (delivery.attempts, delivery.given_up) == (sending.MOST_ATTEMPTS, True)
    assert channel.last_error.startswith("No such hook")
    assert "secretsecret" not in channel.last_error + caplog.text


def test_a_failure_is_not_tried_again_at_once(member, monkeypatch):
    monkeypatch.setitem(SENDERS, "slack", lambda *_: (_ for _ in ()).throw(ValueError("odd")))
    channel = a_channel(member)
    a_running_job(device=a_device(), owner=member)
    read_on()
    all_is_due()
    sending.send_due()
    assert not sending.is_due(timezone.now())
    channel.refresh_from_db()
    assert channel.last_error == "It could not be sent (ValueError)."


def test_a_sender_that_died_leaves_its_claim_for_a_minute_only(member, sent):
    channel = a_channel(member)
    a_running_job(device=a_device(), owner=member)
    read_on()
    all_is_due()
    Channel.objects.update(claimed_until=timezone.now() + timedelta(seconds=30))
    assert sending.send_due() == 0
    Channel.objects.filter(pk=channel.pk).update(claimed_until=timezone.now())
    assert sending.send_due() == 1
    assert len(sent) == 1


def test_an_address_is_stored_sealed_and_only_its_end_is_shown(member):
    form = ChannelForm(
        member,
        member,
        {
            "service": "wecom",
            "name": "team",
            "address": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx-4bc4",
            "kinds": ["ended"],
            "rhythm": "now",
        },
    )
    assert form.is_valid(), form.errors
    channel, _secret = form.create()
    stored = json.dumps(list(Channel.objects.values("sealed", "hint", "name")))
    assert "693a91f6" not in stored
    assert channel.hint == "https://qyapi.weixin.qq.com/…4bc4"
    assert unseal(channel.sealed).address.endswith("693a91f6-7xxx-4bc4")
    assert "693a91f6" not in repr(unseal(channel.sealed))


@pytest.mark.parametrize(
    ("service", "address"),
    [
        ("feishu", "https://open.feishu.cn.evil.example/open-apis/bot/v2/hook/x"),
        ("slack", "http://127.0.0.1/services/T/B/x"),
        ("dingtalk", "https://oapi.dingtalk.com/robot/send?access_token=a&x=http://b"),
        ("wecom", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key="),
        ("webhook", "http://example.org/hook"),
        ("webhook", "https://user:password@example.org/hook"),
        ("apprise", "json://127.0.0.1/"),
        ("apprise", "file:///etc/passwd"),
        ("email", "nobody"),
    ],
)
def test_an_address_that_leads_elsewhere_is_refused(service, address):
    with pytest.raises(ValidationError):
        check_address(service, address)


def test_the_hint_of_an_address_without_a_host_shows_its_kind_only():
    assert hint_of("apprise", "tgram://123456:token/chat") == "tgram://…"


# --- signatures -----------------------------------------------------------------------------------


def test_the_signatures_are_those_that_the_vendors_describe():
    """Computed once with openssl from the vendors' own descriptions."""
    feishu = "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
    dingtalk = "eblRZvilBzXa6Ce18IeBM4pMy1rYNWKicaCg6VMwQe0="
    assert bots.feishu_signature("demo", 1599360473) == feishu
    assert bots.dingtalk_signature("demo", 1599360473000) == dingtalk


def test_a_long_message_keeps_whole_characters():
    text = bots.shortened("任务" * 1_000, 2_000)
    assert len(text.encode()) <= 2_000
    assert text.endswith("…")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_a_private_address_is_none_that_a_webhook_reaches(address):
    assert not webhook.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is(address):
    assert webhook.is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433", "[::1]"])
def test_every_way_to_write_this_machine_is_refused(host):
    target = Target(address=f"https://{host}/hook", secret="s")
    with pytest.raises(SendFailed, match="private address"):
        webhook.send(target, Message(title="x", text="", kind="test"))


def test_private_webhooks_are_a_setting():
    sitesettings.change({"private_webhooks": True}, an_admin())
    assert webhook.checked("http://10.0.0.1/hook").hostname == "10.0.0.1"


# --- when -----------------------------------------------------------------------------------------

ANY_TIME = st.times().map(lambda t: t.replace(second=0, microsecond=0))
MOMENTS = st.integers(0, 700 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(MOMENTS, ANY_TIME, ANY_TIME, st.sampled_from(["now", "daily", "weekly"]))
def test_nothing_is_sent_in_quiet_hours_nor_more_than_a_week_and_a_day_late(now, a, b, rhythm):
    at = due(now, rhythm, (a, b), SHANGHAI)
    local = at.astimezone(SHANGHAI)
    assert at >= now
    assert not is_quiet(local.time(), (a, b))
    assert at - now <= timedelta(days={"now": 1, "daily": 2, "weekly": 8}[rhythm], minutes=1)


def test_a_weekly_digest_comes_on_monday_morning_where_its_reader_lives():
    friday = datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert due(friday, "weekly", None, SHANGHAI) == datetime(2026, 11, 30, 9, tzinfo=SHANGHAI)


def test_quiet_hours_may_go_over_midnight():
    late = datetime(2026, 11, 27, 23, 30, tzinfo=SHANGHAI)
    quiet = (time(22), time(8))
    assert due(late, "now", quiet, SHANGHAI) == datetime(2026, 11, 28, 8, tzinfo=SHANGHAI)


# --- who does it ----------------------------------------------------------------------------------


def test_the_web_process_asks_the_background_to_send_and_does_not_flood_it(member, sent):
    a_channel(member)
    a_running_job(device=a_device(), owner=member)
    for _look in range(pump.MOST_QUEUED + 5):
        pump.pump()
        all_is_due()
    assert OrmQ.objects.count() == pump.MOST_QUEUED
    assert sent == []
    tasks.send_messages()
    assert [each.title for each in sent] == ["job-1#1 has started."]


def test_the_background_does_all_of_it_where_no_web_process_does(member, sent):
    a_channel(member)
    a_running_job(device=a_device(), owner=member)
    read_on()
    all_is_due()
    tasks.notify()
    assert told_to(member) == ["job-1#1 has started."]
    assert len(sent) == 1


def test_what_is_old_is_forgotten(member):
    a_channel(member)
    a_running_job(device=a_device(), owner=member)
    read_on()
    Delivery.objects.update(done_at=timezone.now())
    later = timezone.now() + timedelta(days=91)
    inbox.forget_old(later)
    sending.forget_old(later)
    assert not Notification.objects.exists()
    assert not Delivery.objects.exists()
