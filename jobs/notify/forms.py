"""Forms of channels and of what the inbox takes. Addresses are checked as far as their text tells, then sealed."""

from __future__ import annotations

import re
import secrets
from typing import Any

from django import forms
from django.core.validators import validate_email
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from jobs.models import Channel, Project, User
from jobs.notify.kinds import LABELS, Kind
from jobs.notify.message import SendFailed
from jobs.notify.sealing import Target, seal
from jobs.notify.senders import mail, services, webhook

_CHOICES = [(kind.value, LABELS[kind]) for kind in Kind]
_USUAL = [Kind.ENDED, Kind.PREEMPTED, Kind.IDLE, Kind.QUOTA]
_HOSTS = {
    Channel.Service.FEISHU: (
        r"https://open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/[\w-]+",
        "https://open.feishu.cn/open-apis/bot/v2/hook/…",
    ),
    Channel.Service.DINGTALK: (
        r"https://oapi\.dingtalk\.com/robot/send\?access_token=\w+",
        "https://oapi.dingtalk.com/robot/send?access_token=…",
    ),
    Channel.Service.WECOM: (
        r"https://qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=[\w-]+",
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…",
    ),
    Channel.Service.SLACK: (
        r"https://hooks\.slack\.com/services/\w+/\w+/\w+",
        "https://hooks.slack.com/services/…",
    ),
}
_SIGNED = {Channel.Service.FEISHU, Channel.Service.DINGTALK}


class ChoicesForm(forms.ModelForm):
    """What a channel is told, and when."""

    kinds = forms.MultipleChoiceField(
        label=_("Tell when"), choices=_CHOICES, widget=forms.CheckboxSelectMultiple, initial=_USUAL
    )

    class Meta:
        model = Channel
        fields = ["name", "kinds", "rhythm", "quiet_from", "quiet_until"]
        labels = {
            "name": _("Name"),
            "rhythm": _("How often"),
            "quiet_from": _("Quiet from"),
            "quiet_until": _("Quiet until"),
        }
        help_texts = {
            "quiet_until": _("Nothing is sent in between; it is told afterwards."),
            "rhythm": _("A digest comes at 09:00, the weekly one on Mondays."),
        }
        widgets = {
            "quiet_from": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
            "quiet_until": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        }

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if (cleaned.get("quiet_from") is None) != (cleaned.get("quiet_until") is None):
            self.add_error("quiet_until", _("Quiet hours need both ends, or none."))
        return cleaned


class ChannelForm(ChoicesForm):
    """A new channel. Its address and secret are never shown again."""

    service = forms.ChoiceField(
        label=pgettext_lazy("the service of a channel", "By"), choices=Channel.Service.choices
    )
    address = forms.CharField(
        label=_("Address"),
        max_length=1000,
        strip=True,
        help_text=_(
            "What the service shows when you make a robot or webhook there; or an e-mail address."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    secret = forms.CharField(
        label=_("Signing secret"),
        max_length=200,
        required=False,
        help_text=_(
            "Of a Feishu or DingTalk robot that asks for signatures. A webhook gets one from here."
        ),
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )

    field_order = ["service", "name", "address", "secret", "kinds", "rhythm"]

    def __init__(self, owner: User | Project, maker: User, data: Any = None) -> None:
        super().__init__(data)
        self._owner, self._maker = owner, maker
        if not mail.is_configured():
            rest = [each for each in Channel.Service.choices if each[0] != Channel.Service.EMAIL]
            self.fields["service"].choices = rest  # type: ignore[attr-defined] # a choice field

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        service, address = cleaned.get("service"), cleaned.get("address")
        if service and address:
            try:
                check_address(service, address)
            except forms.ValidationError as error:
                self.add_error("address", error)
        if cleaned.get("secret") and service not in _SIGNED:
            self.add_error("secret", _("Only robots of Feishu and DingTalk have one."))
        return cleaned

    def create(self) -> tuple[Channel, str]:
        """Make the channel; and the secret of a new webhook, which is shown this once."""
        cleaned = self.cleaned_data
        made = secrets.token_urlsafe(32) if cleaned["service"] == Channel.Service.WEBHOOK else ""
        channel: Channel = self.save(commit=False)
        channel.service = cleaned["service"]
        target = Target(address=cleaned["address"], secret=made or cleaned["secret"])
        channel.sealed, channel.hint = seal(target), hint_of(channel.service, target.address)
        if isinstance(self._owner, User):
            channel.user = self._owner
        else:
            channel.project = self._owner
            channel.language, channel.timezone = get_language() or "", self._maker.timezone
        channel.save()
        return channel, made


class InboxForm(forms.Form):
    """What one's inbox takes."""

    kinds = forms.MultipleChoiceField(
        label=_("Tell me on these pages when"),
        choices=_CHOICES,
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )

    def __init__(self, user: User, data: Any = None) -> None:
        taken = [kind.value for kind in Kind if kind not in user.muted_kinds]
        super().__init__(data, initial={"kinds": taken}, auto_id="id_inbox_%s")
        self._user = user

    def save(self) -> None:
        """Keep the choice."""
        chosen = self.cleaned_data["kinds"]
        self._user.muted_kinds = [kind.value for kind in Kind if kind not in chosen]
        self._user.save(update_fields=["muted_kinds"])


def check_address(service: str, address: str) -> None:
    """Whether a channel of this service may have this address.

    Raises:
        ValidationError: it may not; the text says what it must look like and does not repeat it.
    """
    if service == Channel.Service.EMAIL:
        validate_email(address)
    elif service == Channel.Service.WEBHOOK:
        try:
            webhook.checked(address)
        except (SendFailed, ValueError) as error:
            raise forms.ValidationError(str(error)) from error
    elif service == Channel.Service.APPRISE:
        _check_apprise(address)
    elif not re.fullmatch(_HOSTS[Channel.Service(service)][0], address, re.ASCII):
        raise forms.ValidationError(
            _("The address must look like %(form)s. Copy it where the robot was made."),
            params={"form": _HOSTS[Channel.Service(service)][1]},
        )


def hint_of(service: str, address: str) -> str:
    """What of an address may be shown: for whom it is, and the end by which its owner knows it."""
    if service == Channel.Service.EMAIL:
        return address[:120]
    scheme, _colon, rest = address.partition("://")
    host = rest.partition("/")[0] if scheme.startswith("http") else ""
    return f"{scheme}://{host}/…{address[-4:]}"[:120] if host else f"{scheme}://…"


def _check_apprise(address: str) -> None:
    scheme = address.partition("://")[0].lower()
    if scheme not in services.SCHEMES or not services.is_understood(address):
        raise forms.ValidationError(
            _("The address must be one of Apprise's that begins with %(schemes)s."),
            params={"schemes": ", ".join(f"{each}://" for each in services.SCHEMES)},
        )
