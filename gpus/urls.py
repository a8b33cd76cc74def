"""The pages of single cards, and the charts of all."""

from __future__ import annotations

from django.urls import path

from gpus import views

urlpatterns = [
    path("gpus/charts", views.fleet_charts, name="fleet-charts"),
    path("gpus/<str:uuid>/", views.device_page, name="device"),
    path("gpus/<str:uuid>/charts", views.device_charts, name="device-charts"),
]
