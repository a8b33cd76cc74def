"""Cards and nodes as they are stored, for admins. What persons set has a page of its own; all else is measured."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from gpus.models import Device, Node


class ShownAdmin(admin.ModelAdmin):
    """Rows that are shown here and changed elsewhere."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Node)
class NodeAdmin(ShownAdmin):
    """Nodes announce themselves through their agents."""

    list_display = ["name", "source", "driver", "seen_at"]


@admin.register(Device)
class DeviceAdmin(ShownAdmin):
    """Cards; their numbers come from the sampler."""

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
