"""Messages as they arrive at real servers on this machine that stand in for the services."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from django.core import mail as outbox
from django.test import override_settings

from jobs import sitesettings
from jobs.notify.message import Message, SendFailed
from jobs.notify.sealing import Target
from jobs.notify.senders import bots, mail, services, webhook
from tests.rows import an_admin
from tests.standin import Answer, StandIn

pytestmark = pytest.mark.django_db
MESSAGE = Message(
    title="job-1#1 has failed",
    text="http://coop/jobs/x/",
    kind="ended",
    items=({"kind": "ended"},),
    id="m1",
)
SECRET = "a-secret-of-the-robot"


def answering(body=None, status=200, **headers):
    return StandIn(lambda _request: Answer(json.dumps(body or {}).encode(), status, dict(headers)))


@pytest.fixture
def private_allowed():
    sitesettings.change({"private_webhooks": True}, an_admin())


def test_feishu_gets_a_text_that_is_signed():
    with answering({"code": 0}) as server:
        bots.send_feishu(Target(address=server.url, secret=SECRET), MESSAGE)
    body = json.loads(server.requests[0].body)
    assert body["content"]["text"] == "job-1#1 has failed\nhttp://coop/jobs/x/"
    assert body["sign"] == bots.feishu_signature(SECRET, int(body["timestamp"]))


def test_dingtalk_gets_its_signature_in_the_address():
    with answering({"errcode": 0}) as server:
        target = Target(address=f"{server.url}/robot/send?access_token=abc", secret=SECRET)
        bots.send_dingtalk(target, MESSAGE)
    query = server.requests[0].query
    assert query["access_token"] == "abc"
    assert query["sign"] == bots.dingtalk_signature(SECRET, int(query["timestamp"]))


@pytest.mark.parametrize(
    ("send", "answer"),
    [
        (bots.send_feishu, {"code": 19021, "msg": "sign match fail"}),
        (bots.send_dingtalk, {"errcode": 310000, "errmsg": "sign not match"}),
        (bots.send_wecom, {"errcode": 93000, "errmsg": "invalid webhook url"}),
        (bots.send_wecom, {}),
    ],
)
def test_a_refusal_with_status_200_is_none_the_less_one(send, answer):
    with answering(answer) as server, pytest.raises(SendFailed, match="refused"):
        send(Target(address=server.url), MESSAGE)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_another_status_is_a_failure_and_no_redirect_is_followed(status):
    with (
        answering({"code": 0}) as elsewhere,
        answering({"code": 0}, status, Location=elsewhere.url) as server,
        pytest.raises(SendFailed, match=str(status)),
    ):
        bots.send_feishu(Target(address=server.url), MESSAGE)
    assert elsewhere.requests == []


def test_what_cannot_be_reached_is_said_without_the_address():
    with pytest.raises(SendFailed, match="ConnectionError") as failed:
        bots.send_feishu(Target(address="http://127.0.0.1:1/hook/token-token"), MESSAGE)
    assert "token-token" not in str(failed.value)


def test_slack_is_sent_by_apprise_and_its_refusal_is_told(monkeypatch):
    import requests

    asked = []
    with answering({}, 403) as server:
        real = requests.request

        def to_the_stand_in(method, url, **kwargs):
            asked.append(url)
            return real(method, server.url, **kwargs)

        monkeypatch.setattr(requests, "request", to_the_stand_in)
        target = Target(address="https://hooks.slack.com/services/T0123ABCD/B0123ABCD/" + "a" * 24)
        with pytest.raises(SendFailed, match="403"):
            services.send(target, MESSAGE)
    assert asked[0].startswith("https://hooks.slack.com/services/")
    assert b"job-1#1 has failed" in server.requests[0].body


def test_a_webhook_is_signed_over_its_time_and_its_body(private_allowed):
    with answering() as server:
        webhook.send(Target(address=f"{server.url}/hook?a=b", secret=SECRET), MESSAGE)
    [request] = server.requests
    timestamp = request.headers["x-llama-coop-timestamp"]
    signed = f"{timestamp}.".encode() + request.body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert request.headers["x-llama-coop-signature"] == f"sha256={expected}"
    assert (request.path, request.query) == ("/hook", {"a": "b"})
    assert json.loads(request.body)["items"] == [{"kind": "ended"}]


def test_a_webhook_does_not_follow_a_redirect(private_allowed):
    with (
        answering() as elsewhere,
        answering({}, 307, Location=elsewhere.url) as server,
        pytest.raises(SendFailed, match="307"),
    ):
        webhook.send(Target(address=server.url, secret=SECRET), MESSAGE)
    assert elsewhere.requests == []


def test_without_the_setting_no_connection_is_made(monkeypatch):
    with answering() as server:
        port = server.url.rpartition(":")[2]
        with pytest.raises(SendFailed, match="private address"):
            webhook.send(Target(address=f"https://localhost:{port}/", secret=SECRET), MESSAGE)
    assert server.requests == []


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(monkeypatch):
    """The connection goes to the address that was checked; the name is not looked up again."""
    import socket

    looked_up, connected = [], []

    def lookup(host, port, **_kwargs):
        looked_up.append(host)
        public = len(looked_up) == 1
        return [(2, 1, 6, "", ("93.184.215.14" if public else "127.0.0.1", port))]

    def connect(address, _timeout=None, *_more):
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(SendFailed, match="ConnectionRefusedError"):
        webhook.send(Target(address="https://rebinding.example/", secret=SECRET), MESSAGE)
    assert (looked_up, connected) == (["rebinding.example"], [("93.184.215.14", 443)])


def test_a_mail_goes_to_one_address():
    with override_settings(EMAIL_HOST="mail.example.org"):
        mail.send(Target(address="a@example.org"), MESSAGE)
    [sent] = outbox.outbox
    assert (sent.to, sent.subject) == (["a@example.org"], "[llama-coop] job-1#1 has failed")


def test_without_a_mail_server_a_mail_says_what_to_do():
    with pytest.raises(SendFailed, match="COOP_SMTP_URL"):
        mail.send(Target(address="a@example.org"), MESSAGE)
