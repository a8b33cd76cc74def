"""A project's quota divided among its members: by a lead, with what it would do to the queue shown first."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jobs import permissions
from jobs.models import User
from jobs.views import quotatable
from jobs.views.projects import project_of
from jobs.views.quotatable import Table, Typed
from jobs.views.signedin import viewer_of

MEMBERS_A_PAGE = 40  # four fields each; Django takes 200


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def member_quotas(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the table, show what a change would do, or save it."""
    viewer = viewer_of(request)
    project = project_of(viewer, slug)
    if not permissions.can_manage(viewer, project):
        raise PermissionDenied
    members = User.objects.filter(memberships__project=project).order_by("username")
    page = Paginator(members, MEMBERS_A_PAGE).get_page(request.GET.get("page"))

    def table(typed: Typed) -> Table:
        return quotatable.of_members(project, page, typed)

    context = {"page": page, "project": project}
    answer = quotatable.answer(
        request, table, "quota/members.html", context, ("member-quotas", slug)
    )
    if answer.status_code == 302:
        messages.success(request, _("Saved. It holds from the next look at the queue on."))
    return answer
