"""Where each address leads; the views themselves belong to the apps."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("jobs.api.urls")),
    path("", include("gpus.urls")),
    path("", include("jobs.urls")),
    *([path("", include("jobs.sso.urls"))] if settings.COOP_SSO else []),
]
