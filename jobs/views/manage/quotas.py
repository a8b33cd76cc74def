"""All projects in one table: weight, guarantees, limits; what a change would do is shown before it is saved."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jobs.models import Project
from jobs.views import quotatable
from jobs.views.manage.access import for_admins
from jobs.views.quotatable import Table, Typed

PROJECTS_A_PAGE = 20  # nine fields each; Django takes 200


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
