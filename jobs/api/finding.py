"""Objects by their public names, always through what the caller may see."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.translation import gettext as _

from jobs.api.auth import grant
from jobs.api.problems import NotFound
from jobs.core.problems import shortened
from jobs.models import Job, Project
from jobs.refusals import Refused
from jobs.tokens import Grant


def find_job(request: HttpRequest, job_id: str) -> Job:
    """The job with this public id.

    Raises:
        NotFound: there is none, or the caller may not know of it.
    """
    job = grant(request).jobs().filter(pk=job_id).select_related("project", "owner").first()
    if job is None:
        raise NotFound(_("There is no job %(id)s.") % {"id": shortened(job_id)})
    return job


def find_project(request: HttpRequest, slug: str) -> Project:
    """The project with this slug.

    Raises:
        NotFound: there is none, or the caller may not know of it.
    """
    for project in grant(request).projects():
        if project.slug == slug:
            return project
    raise NotFound(_("There is no project %(slug)s.") % {"slug": shortened(slug)})


def project_to_use(caller: Grant, wanted: str | None) -> str | None:
    """The project to hand something in to: the one wanted, or the only one that a bound token opens.

    Raises:
        Refused: the token is bound to another one.
    """
    if caller.project is None:
        return wanted
    bound: str = caller.project.slug
    if wanted in {None, bound}:
        return bound
    raise Refused(
        code="project_not_open_to_you",
        title=_("You cannot submit to this project"),
        detail=_("This token is bound to the project “%(bound)s”, and this is for “%(wanted)s”.")
        % {"bound": bound, "wanted": wanted},
        hint=_("Use a token of that project, or leave the project out."),
        status=403,
    )
