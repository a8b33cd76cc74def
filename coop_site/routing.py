"""The WebSocket addresses."""

from __future__ import annotations

from django.urls import path

from jobs.consumers import FleetConsumer, JobConsumer, JobsConsumer

websocket_urlpatterns = [
    path("ws/fleet", FleetConsumer.as_asgi()),
    path("ws/jobs", JobsConsumer.as_asgi()),
    path("ws/jobs/<str:id>", JobConsumer.as_asgi()),
]
