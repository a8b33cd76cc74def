"""The addresses of signing in elsewhere; those to come back to have the names that django-allauth asks for."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings
from django.urls import path

from jobs.sso import views

_OIDC = "oidc"

urlpatterns = [
    path("sso/links/<int:account_id>/remove", views.unlink, name="sso-unlink"),
    path("sso/<str:service>/begin", views.begin, name="sso-begin"),
    path("sso/<str:provider_id>/back", views.openid_callback, name="openid_connect_callback"),
    *(
        path(
            f"sso/{service}/callback",
            import_module(f"allauth.socialaccount.providers.{service}.views").oauth2_callback,
            name=f"{service}_callback",
        )
        for service in settings.COOP_SSO
        if service != _OIDC
    ),
]
