"""Robots of group chats in Feishu, DingTalk and WeCom: one POST each, signed where the robot asks for it.

Written here because Apprise's Feishu cannot sign, and because all three answer a refusal with status 200: only the code
in the body tells, and Apprise does not read it for DingTalk and WeCom.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

import requests
from django.utils.translation import gettext as _

from jobs.notify.message import Message, SendFailed
from jobs.notify.sealing import Target

TIMEOUT_S = 10
_MOST_BYTES = 18_000  # Feishu and DingTalk take 20 kB a request
_WECOM_BYTES = 2_000  # its text takes 2,048


def send_feishu(target: Target, message: Message) -> None:
    """A custom bot of Feishu or Lark.

    Raises:
        SendFailed: it did not arrive, or the robot refused it.
    """
    body: dict[str, Any] = {
        "msg_type": "text",
        "content": {"text": shortened(message.whole, _MOST_BYTES)},
    }
    if target.secret:
        now = int(time.time())
        body |= {"timestamp": str(now), "sign": feishu_signature(target.secret, now)}
    answer = _post(target, body)
    _check(answer.get("code", answer.get("StatusCode")), answer.get("msg"))


def send_dingtalk(target: Target, message: Message) -> None:
    """A custom robot of DingTalk.

    Raises:
        SendFailed: it did not arrive, or the robot refused it.
    """
    body = {"msgtype": "text", "text": {"content": shortened(message.whole, _MOST_BYTES)}}
    signed: dict[str, str] = {}
    if target.secret:
        now = int(time.time() * 1000)
        signed = {"timestamp": str(now), "sign": dingtalk_signature(target.secret, now)}
    answer = _post(target, body, signed)
    _check(answer.get("errcode"), answer.get("errmsg"))


def send_wecom(target: Target, message: Message) -> None:
    """A group robot of WeCom.

    Raises:
        SendFailed: it did not arrive, or the robot refused it.
    """
    body = {"msgtype": "text", "text": {"content": shortened(message.whole, _WECOM_BYTES)}}
    answer = _post(target, body)
    _check(answer.get("errcode"), answer.get("errmsg"))


def feishu_signature(secret: str, timestamp: int) -> str:
    """Feishu's: the text is the key, and what is signed is empty."""
    digest = hmac.new(f"{timestamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def dingtalk_signature(secret: str, timestamp: int) -> str:
    """DingTalk's: the secret is the key; the timestamp is in milliseconds."""
    signed = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()


def shortened(text: str, most: int) -> str:
    """At most so many bytes, whole characters, with a sign where something was cut off."""
    raw = text.encode()
    if len(raw) <= most:
        return text
    return raw[: most - 3].decode(errors="ignore") + "…"


def _post(
    target: Target, body: Mapping[str, Any], query: Mapping[str, str] | None = None
) -> dict[str, Any]:
    try:
        answer = requests.post(
            target.address, json=body, params=query, timeout=TIMEOUT_S, allow_redirects=False
        )
    except requests.RequestException as error:
        # its own text has the address in it
        words = _("The service could not be reached (%(error)s).")
        raise SendFailed(words % {"error": type(error).__name__}) from None
    if answer.status_code != requests.codes.ok:
        raise SendFailed(
            _("The service answered with status %(status)s.") % {"status": answer.status_code}
        )
    try:
        parsed = answer.json()
    except requests.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise SendFailed(_("The service answered something that is not JSON."))
    return parsed


def _check(code: object, words: object) -> None:
    if code != 0:
        raise SendFailed(
            _("The robot refused the message: %(words)s (code %(code)s).")
            % {"words": str(words)[:150], "code": code}
        )
