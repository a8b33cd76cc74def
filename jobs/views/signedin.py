"""The signed-in reader of a page. The middleware lets nobody else through to a view that does not say so."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from jobs.models import Job, User


def viewer_of(request: HttpRequest) -> User:
    """Whose page this is."""
    assert isinstance(request.user, User)  # noqa: S101 - LoginRequiredMiddleware
    return request.user


def job_for(request: HttpRequest, job_id: str) -> Job:
    """A job that the reader may see.

    Raises:
        Http404: there is none; a job of a project that one does not belong to does not exist, for one.
    """
    found = Job.objects.visible_to(viewer_of(request)).select_related("project", "owner")
    job = found.filter(pk=job_id).first()
    if job is None:
        raise Http404(_("There is no job “%(id)s” that you may see.") % {"id": job_id})
    return job
