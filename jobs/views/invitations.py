"""Invitations on the pages: made and revoked by a lead, accepted by whoever has the link."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import BaseUserCreationForm
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from jobs import invitations, permissions
from jobs.models import Invitation, Membership, User
from jobs.tokens import SHARED_ACCOUNT
from jobs.views.projects import project_of
from jobs.views.signedin import viewer_of
from jobs.views.signin import BACKEND, signed_in

_LIVES = [
    (1, gettext_lazy("a day")),
    (7, gettext_lazy("a week")),
    (30, gettext_lazy("30 days")),
]


class InvitationForm(forms.Form):
    """What a new link gives, and how long."""

    note = forms.CharField(label=gettext_lazy("For whom"), max_length=100, required=False)
    role = forms.ChoiceField(
        label=gettext_lazy("As"),
        choices=Membership.Role.choices,
        initial=Membership.Role.MEMBER,
    )
    days = forms.TypedChoiceField(
        label=gettext_lazy("Good for"), choices=_LIVES, coerce=int, initial=7
    )


class NewPersonForm(BaseUserCreationForm):
    """The account of somebody who is new here."""

    class Meta(BaseUserCreationForm.Meta):
        model = User
        fields = ("username",)

    def clean_username(self) -> str:
        """A name that nobody has, and that the service does not need itself."""
        name: str = self.cleaned_data["username"]
        if User.objects.filter(username__iexact=name).exists() or name == SHARED_ACCOUNT:
            raise forms.ValidationError(
                _("“%(name)s” is taken. Choose another name."), params={"name": name}
            )
        return name


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invite(request: HttpRequest, slug: str) -> HttpResponse:
    """The project's open invitations; or a new one, whose link is shown this once."""
    viewer = viewer_of(request)
    project = project_of(viewer, slug)
    if not permissions.can_manage(viewer, project):
        raise PermissionDenied
    form = InvitationForm(request.POST or None)
    context: dict[str, Any] = {"project": project, "form": form}
    status = 200
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        made, path = invitations.invite(
            project,
            viewer,
            role=given["role"],
            lifetime=timedelta(days=given["days"]),
            note=given["note"],
        )
        context |= {"made": made, "link": request.build_absolute_uri(path)}
        status = 201
    elif request.method == "POST":
        status = 422
    context["open"] = invitations.open_ones(project)
    return render(request, "projects/invitations.html", context, status=status)


@require_POST
def revoke(request: HttpRequest, slug: str, invitation_id: int) -> HttpResponse:
    """Make an unused link useless."""
    viewer = viewer_of(request)
    project = project_of(viewer, slug)
    if not permissions.can_manage(viewer, project):
        raise PermissionDenied
    found = get_object_or_404(project.invitations, pk=invitation_id)
    invitations.revoke(found, viewer)
    messages.success(request, _("The link lets nobody in any more."))
    return redirect("invitations", slug)


@login_not_required
@never_cache
@sensitive_post_parameters("password1", "password2")
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """What the link leads to. Opening it only shows a form: mail scanners and previews open links too."""
    found = invitations.found(token)
    if found is None:
        return render(request, "account/invitation.html", {"invitation": None}, status=410)
    if isinstance(request.user, User):
        return _of_somebody_known(request, token, found)
    return _of_somebody_new(request, token, found)


def _of_somebody_known(request: HttpRequest, token: str, found: Invitation) -> HttpResponse:
    if request.method != "POST":
        return render(request, "account/invitation.html", {"invitation": found})
    if invitations.accept(token, viewer_of(request)) is None:
        return render(request, "account/invitation.html", {"invitation": None}, status=410)
    messages.success(request, _("Welcome to %(name)s.") % {"name": found.project.name})
    return redirect("project", found.project.slug)


def _of_somebody_new(request: HttpRequest, token: str, found: Invitation) -> HttpResponse:
    form = NewPersonForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        status = 422 if request.method == "POST" else 200
        context = {"invitation": found, "form": form}
        return render(request, "account/invitation.html", context, status=status)
    name, password = form.cleaned_data["username"], form.cleaned_data["password1"]
    try:
        user = invitations.accept_as_new(token, name, password)
    except IntegrityError:  # somebody took the name at the same moment
        form.add_error("username", _("This name was taken just now. Choose another one."))
        context = {"invitation": found, "form": form}
        return render(request, "account/invitation.html", context, status=422)
    if user is None:
        return render(request, "account/invitation.html", {"invitation": None}, status=410)
    login(request, user, backend=BACKEND)
    messages.success(request, _("Welcome to %(name)s.") % {"name": found.project.name})
    return signed_in(redirect("project", found.project.slug), user)
