"""What has no page of its own, for admins. Nobody sets a job's state here: deeds go through `jobs/actions.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from jobs import actions, tokens
from jobs.models import (
    ApiToken,
    Dataset,
    Heartbeat,
    Job,
    JobEvent,
    Lease,
    Project,
    SiteSetting,
    User,
)
from jobs.refusals import Refused

admin.site.site_header = "llama-coop"
admin.site.site_title = "llama-coop"
admin.site.index_title = _("Administration")


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that the service itself writes: shown, never touched."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class PersonAdmin(UserAdmin):
    """People and service accounts."""

    list_display = ["username", "email", "is_active", "is_superuser", "is_service", "last_login"]
    fieldsets = (
        *(UserAdmin.fieldsets or ()),
        (_("Pages"), {"fields": ["is_service", "language", "theme"]}),
    )


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):
    """Projects by name; members, quota and share have pages of their own."""

    list_display = ["slug", "name", "weight"]
    search_fields = ["slug", "name"]
    prepopulated_fields = {"slug": ["name"]}
    fields = ["name", "slug", "description"]


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs of everybody, with the deeds that their pages offer."""

    list_display = [
        "__str__",
        "project",
        "owner",
        "state",
        "priority",
        "outcome",
        "reason",
        "submitted_at",
    ]
    list_filter = ["state", "project", "priority"]
    search_fields = ["task_id", "id", "owner__username"]
    date_hierarchy = "submitted_at"
    actions = ["hold", "release", "cancel"]

    @admin.action(description=_("Hold (queued jobs)"))
    def hold(self, request: HttpRequest, queryset: models.QuerySet[Job]) -> None:
        """Keep the chosen jobs from starting."""
        self._each(request, queryset, actions.pause)

    @admin.action(description=_("Release or resume"))
    def release(self, request: HttpRequest, queryset: models.QuerySet[Job]) -> None:
        """Let the chosen jobs go on."""
        self._each(request, queryset, actions.resume)

    @admin.action(description=_("Cancel"))
    def cancel(self, request: HttpRequest, queryset: models.QuerySet[Job]) -> None:
        """End the chosen jobs for good."""
        self._each(request, queryset, actions.cancel)

    def _each(
        self,
        request: HttpRequest,
        queryset: models.QuerySet[Job],
        deed: Callable[[Job, User], Job],
    ) -> None:
        assert isinstance(request.user, User)  # noqa: S101 - the admin site is for staff only
        done = 0
        for job in queryset.select_related("project"):
            try:
                deed(job, request.user)
                done += 1
            except Refused as refusal:
                self.message_user(request, f"{refusal.detail} {refusal.hint}", messages.WARNING)
        self.message_user(request, _("Done for %(count)s jobs.") % {"count": done})


@admin.register(JobEvent)
class JobEventAdmin(ReadOnlyAdmin):
    """What happened, by whom."""

    list_display = ["at", "job", "kind", "old_state", "new_state", "actor", "reason"]
    list_filter = ["kind", "new_state"]
    search_fields = ["job__task_id", "job__id", "actor__username"]
    date_hierarchy = "at"


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Tokens of everybody; made by their owners, ended here."""

    list_display = ["prefix", "user", "name", "project", "expires_at", "last_used_at", "revoked_at"]
    search_fields = ["user__username", "name", "prefix"]
    exclude = ["digest"]
    actions = ["revoke"]

    @admin.action(description=_("Revoke"))
    def revoke(self, request: HttpRequest, queryset: models.QuerySet[ApiToken]) -> None:
        """Make the chosen tokens useless."""
        assert isinstance(request.user, User)  # noqa: S101 - the admin site is for staff only
        for token in queryset:
            tokens.revoke(token, request.user)
        self.message_user(request, _("The tokens are revoked."))


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    """Datasets of all projects."""

    list_display = [
        "__str__",
        "project",
        "owner",
        "format",
        "rows",
        "size",
        "created_at",
        "deleted_at",
    ]
    list_filter = ["project", "format"]
    search_fields = ["name", "sha256"]


@admin.register(SiteSetting)
class SiteSettingAdmin(ReadOnlyAdmin):
    """Settings changed while the site runs; the settings page and `PATCH /api/v1/settings` change them."""

    list_display = ["name", "value", "changed_at", "changed_by"]


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """When each service last showed that it lives."""

    list_display = ["name", "at", "pid"]


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    """Who decides now."""

    list_display = ["name", "holder", "generation", "expires_at"]
