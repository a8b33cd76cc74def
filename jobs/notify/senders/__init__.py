"""One module for each way out. Each takes a target and a message, and raises `SendFailed` with a sentence."""

from __future__ import annotations

from collections.abc import Callable

from jobs.models import Channel
from jobs.notify.message import Message
from jobs.notify.sealing import Target
from jobs.notify.senders import bots, mail, services, webhook

SENDERS: dict[str, Callable[[Target, Message], None]] = {
    Channel.Service.EMAIL: mail.send,
    Channel.Service.FEISHU: bots.send_feishu,
    Channel.Service.DINGTALK: bots.send_dingtalk,
    Channel.Service.WECOM: bots.send_wecom,
    Channel.Service.SLACK: services.send,
    Channel.Service.WEBHOOK: webhook.send,
    Channel.Service.APPRISE: services.send,
}
