"""Signing in elsewhere (docs/sign-in.md): which services are configured. Where none is, nothing of it is loaded."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from coop_site.env import env_secret, env_str

OIDC = "oidc"
_APPS = {
    OIDC: "openid_connect",
    "feishu": "feishu",
    "dingtalk": "dingtalk",
    "github": "github",
}
_VARIABLES = {
    OIDC: ("COOP_SSO_OIDC_ID", "COOP_SSO_OIDC_SECRET"),
    "feishu": ("COOP_SSO_FEISHU_ID", "COOP_SSO_FEISHU_SECRET"),
    "dingtalk": ("COOP_SSO_DINGTALK_ID", "COOP_SSO_DINGTALK_SECRET"),
    "github": ("COOP_SSO_GITHUB_ID", "COOP_SSO_GITHUB_SECRET"),
}
_NAMES = {"feishu": "Feishu", "dingtalk": "DingTalk", "github": "GitHub"}
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def configured() -> dict[str, str]:
    """The services that people may sign in with: their names on the buttons, by key.

    Raises:
        ImproperlyConfigured: one of them is configured by halves; the text says what is missing.
    """
    found = {key: _name(key) for key in _VARIABLES if _credentials(key) is not None}
    url = env_str("COOP_SSO_OIDC_URL")
    if (OIDC in found) != bool(url):
        raise ImproperlyConfigured(
            "COOP_SSO_OIDC_URL, COOP_SSO_OIDC_ID and COOP_SSO_OIDC_SECRET belong together, but not all of them are set."
            " Set all three, or none."
        )
    if url:
        _check_url(url)
    return found


def apps(services: dict[str, str]) -> list[str]:
    """What of django-allauth is installed for these services."""
    if not services:
        return []
    providers = [f"allauth.socialaccount.providers.{_APPS[key]}" for key in services]
    return ["allauth", "allauth.account", "allauth.socialaccount", *providers]


def providers(services: dict[str, str]) -> dict[str, Any]:
    """The services as django-allauth wants them."""
    return {_APPS[key]: {"APPS": [_app(key, name)]} for key, name in services.items()}


def _app(key: str, name: str) -> dict[str, Any]:
    client_id, secret = _credentials(key) or ("", "")
    app: dict[str, Any] = {"client_id": client_id, "secret": secret, "name": name}
    if key == OIDC:
        url = env_str("COOP_SSO_OIDC_URL").rstrip("/")
        settings = {"server_url": url, "oauth_pkce_enabled": True}
        app |= {"provider_id": OIDC, "settings": settings}
    return app


def _credentials(key: str) -> tuple[str, str] | None:
    id_variable, secret_variable = _VARIABLES[key]
    client_id, secret = env_str(id_variable), env_secret(secret_variable)
    if not client_id and not secret:
        return None
    if client_id and secret:
        return client_id, secret
    raise ImproperlyConfigured(
        f"{id_variable} and {secret_variable} (or {secret_variable}_FILE) belong together, but only one of them is set."
        " Set both, or none."
    )


def _name(key: str) -> str:
    return _NAMES.get(key) or env_str("COOP_SSO_OIDC_NAME", "OpenID Connect")


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
        return
    raise ImproperlyConfigured(
        f"COOP_SSO_OIDC_URL must begin with https://, but is {url!r}. It is the issuer's address, below which"
        " /.well-known/openid-configuration is found. http is taken for localhost only."
    )
