"""All projects in one table: weight, guarantees, limits; what a change would do is shown before it is saved."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jobs import projects
from jobs.models import Project
from jobs.refusals import Refused
from jobs.views import quotatable
from jobs.views.manage.access import for_admins
from jobs.views.quotatable import Table, Typed
from jobs.views.signedin import viewer_of

PROJECTS_A_PAGE = 20  # nine fields each; Django takes 200


class ProjectForm(forms.Form):
    """A new project."""

    slug = forms.RegexField(
        label=gettext_lazy("Short name"),
        regex=r"^[a-z0-9][a-z0-9-]{0,49}$",
        help_text=gettext_lazy("Small letters, digits and hyphens; it stands in task files."),
    )
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    description = forms.CharField(
        label=gettext_lazy("What it is for"), max_length=2000, required=False
    )

    def create(self, request: HttpRequest) -> Project | None:
        """Make the project; None where that is refused, and the form says why."""
        try:
            return projects.create(by=viewer_of(request), **self.cleaned_data)
        except Refused as refused:
            self.add_error("slug", f"{refused.detail} {refused.hint}")
            return None


@for_admins
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def new_project(request: HttpRequest) -> HttpResponse:
    """Make a project; then people can be added to it or invited."""
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = form.create(request)
        if project is not None:
            messages.success(request, _("%(name)s is made.") % {"name": project.name})
            return redirect("project", project.slug)
    context: dict[str, Any] = {"form": form}
    status = 422 if request.method == "POST" else 200
    return render(request, "manage/new_project.html", context, status=status)


@for_admins
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def quotas(request: HttpRequest) -> HttpResponse:
    """Show the table, show what a change would do, or save it."""
    pages = Paginator(Project.objects.order_by("slug"), PROJECTS_A_PAGE)
    page = pages.get_page(request.GET.get("page"))

    def table(typed: Typed) -> Table:
        return quotatable.of_projects(page, typed)

    answer = quotatable.answer(
        request, table, "manage/quotas.html", {"page": page}, ("manage-quotas",)
    )
    if answer.status_code == 302:
        messages.success(request, _("Saved. It holds from the next look at the queue on."))
    return answer
