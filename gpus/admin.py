"""Cards and nodes for admins: mode, weight and service of a card; all that was measured is only shown."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from gpus.models import Device, Node

_MEASURED = ["uuid", "node", "index", "name", "memory_total"]
_BY_PERSONS = ["mode", "weight", "drained", "drain_reason"]


@admin.register(Node)
class NodeAdmin(admin.ModelAdmin):
    """Nodes announce themselves through their agents."""

    list_display = ["name", "source", "driver", "seen_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Node | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Node | None = None) -> bool:
        return False


@admin.register(Device)
class DeviceAdmin(admin.ModelAdmin):
    """An admin sets mode and weight of a card and takes it out of service; its numbers come from the sampler."""

    list_display = [
        "__str__",
        "name",
        "mode",
        "weight",
        "drained",
        "drain_reason",
        "read_at",
        "fault",
    ]
    list_filter = ["node", "drained", "mode"]
    search_fields = ["uuid", "name"]
    fields = [*_MEASURED, *_BY_PERSONS, "fault"]
    readonly_fields = [*_MEASURED, "fault"]

    def save_model(self, request: HttpRequest, obj: Device, form: object, change: bool) -> None:
        """Write what a person may set and nothing else: a booking or a reading may have come meanwhile."""
        obj.save(update_fields=_BY_PERSONS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        return False
