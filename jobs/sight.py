"""What one viewer may know of other people's waiting jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs import permissions, sitesettings
from jobs.models import Project, User


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """The projects whose jobs are seen as they are; of the others only the needs, and the names in an open queue."""

    projects: frozenset[str]  # slugs
    is_open: bool  # the queue shows everybody the name and the owner of every job

    def sees(self, slug: str) -> bool:
        """Whether jobs of this project are seen with everything."""
        return slug in self.projects

    def names(self, slug: str) -> bool:
        """Whether jobs of this project are seen with name and owner."""
        return self.is_open or slug in self.projects


def sight_of(viewer: User) -> Sight:
    """What a signed-in person may know."""
    return sight_within(permissions.projects_visible_to(viewer))


def sight_within(projects: Iterable[Project]) -> Sight:
    """What somebody may know who sees these projects: a token may see fewer than its account."""
    slugs = frozenset(project.slug for project in projects)
    return Sight(projects=slugs, is_open=sitesettings.current().queue_is_open)
