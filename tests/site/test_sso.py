"""Which services to sign in with are configured, and what is said where one is by halves."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from coop_site import sso
from coop_site.mail import mail_server

ALL = {
    "COOP_SSO_OIDC_URL": "https://id.example.org/realms/team/",
    "COOP_SSO_OIDC_ID": "coop",
    "COOP_SSO_OIDC_SECRET": "s1",
    "COOP_SSO_OIDC_NAME": "Keycloak",
    "COOP_SSO_GITHUB_ID": "gh",
    "COOP_SSO_GITHUB_SECRET": "s2",
    "COOP_SSO_FEISHU_ID": "cli_1",
    "COOP_SSO_FEISHU_SECRET": "s3",
    "COOP_SSO_DINGTALK_ID": "ding1",
    "COOP_SSO_DINGTALK_SECRET": "s4",
}


def given(monkeypatch, values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_a_site_without_services_loads_nothing_of_the_library():
    assert sso.configured() == {} == settings.COOP_SSO
    assert sso.apps({}) == []
    assert not any("allauth" in name for name in (*settings.INSTALLED_APPS, *settings.MIDDLEWARE))


def test_each_service_has_its_button_and_its_app(monkeypatch):
    given(monkeypatch, ALL)
    services = sso.configured()
    assert services == {
        "oidc": "Keycloak",
        "feishu": "Feishu",
        "dingtalk": "DingTalk",
        "github": "GitHub",
    }
    assert "allauth.socialaccount.providers.openid_connect" in sso.apps(services)
    [app] = sso.providers(services)["openid_connect"]["APPS"]
    assert app["settings"] == {
        "server_url": "https://id.example.org/realms/team",
        "oauth_pkce_enabled": True,
    }


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("COOP_SSO_GITHUB_SECRET", "COOP_SSO_GITHUB_ID and COOP_SSO_GITHUB_SECRET"),
        ("COOP_SSO_FEISHU_ID", "COOP_SSO_FEISHU_ID and"),
        ("COOP_SSO_OIDC_URL", "Set all three, or none"),
    ],
)
def test_half_a_configuration_is_refused_with_what_is_missing(monkeypatch, missing, words):
    given(monkeypatch, {name: value for name, value in ALL.items() if name != missing})
    with pytest.raises(ImproperlyConfigured, match=words):
        sso.configured()


def test_a_provider_is_reached_by_https_only(monkeypatch):
    given(monkeypatch, ALL | {"COOP_SSO_OIDC_URL": "http://id.example.org"})
    with pytest.raises(ImproperlyConfigured, match="must begin with https"):
        sso.configured()


def test_a_mail_server_is_one_address():
    found = mail_server("smtps://me%40example.org:p%3Aw@mail.example.org")
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.example.org", 465)
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("me@example.org", "p:w")
    assert mail_server(None) == {"EMAIL_HOST": ""}


def test_a_wrong_mail_server_is_refused_without_its_password():
    with pytest.raises(ImproperlyConfigured, match="COOP_SMTP_URL") as refused:
        mail_server("http://me:topsecret@mail.example.org")
    assert "topsecret" not in str(refused.value)
