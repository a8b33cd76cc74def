"""Forms of the pages that are more than a text: tokens and members. A job's form is `jobs/views/draft.py`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from jobs import tokens
from jobs.models import Membership, Project, User
from jobs.views.clock import zones

_SCOPES = [
    (tokens.READ, _("read")),
    (tokens.SUBMIT, _("submit")),
    (tokens.CONTROL, _("control jobs")),
    (tokens.ADMIN, _("administer")),
]
_LIVES = [(7, _("a week")), (30, _("30 days")), (90, _("90 days"))]


class TokenForm(forms.Form):
    """What a new API token is for."""

    name = forms.CharField(
        label=_("Name"), max_length=80, help_text=_("What will use it, such as “CI”.")
    )
    scopes = forms.MultipleChoiceField(
        label=_("It may"),
        choices=_SCOPES,
        widget=forms.CheckboxSelectMultiple,
        initial=[tokens.READ, tokens.SUBMIT, tokens.CONTROL],
    )
    project = forms.ModelChoiceField(
        label=_("Only in the project"),
        queryset=Project.objects.none(),
        required=False,
        empty_label=_("all of mine"),
    )
    days = forms.TypedChoiceField(label=_("Ends after"), choices=_LIVES, coerce=int, initial=90)

    def __init__(self, user: User, data: Any = None) -> None:
        super().__init__(data)
        self._user = user
        mine = Project.objects.all() if user.is_superuser else user.projects.all()
        self.fields["project"].queryset = mine  # type: ignore[attr-defined] # a ModelChoiceField
        if not user.is_superuser:
            self.fields["scopes"].choices = _SCOPES[:-1]  # type: ignore[attr-defined] # a choice field

    def create(self) -> str:
        """Make the token; its text, which is never to be had again."""
        cleaned = self.cleaned_data
        return tokens.create_token(
            self._user,
            name=cleaned["name"],
            scopes=cleaned["scopes"],
            project=cleaned["project"],
            lifetime=timedelta(days=cleaned["days"]),
        )


class PreferencesForm(forms.Form):
    """How the pages speak and look to one person."""

    language = forms.ChoiceField(label=_("Language"), choices=settings.LANGUAGES)
    theme = forms.ChoiceField(label=_("Theme"), choices=User.Theme.choices)
    timezone = forms.ChoiceField(
        label=_("Time zone"), choices=[("", _("that of this browser")), *((n, n) for n in zones())]
    )


class MemberForm(forms.Form):
    """A person to add to a project, or whose role to change."""

    username = forms.CharField(label=_("User name"), max_length=150)
    role = forms.ChoiceField(
        label=_("Role"), choices=Membership.Role.choices, initial=Membership.Role.MEMBER
    )

    def clean_username(self) -> User:
        """The person of that name."""
        name = self.cleaned_data["username"].strip()
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise forms.ValidationError(
                _("There is no account “%(name)s”. An admin makes accounts, under Administration."),
                params={"name": name},
            )
        return user
