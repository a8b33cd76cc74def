"""Signing in and one's own account."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from jobs import signin, tokens
from jobs.models import ApiToken, User
from jobs.views import throttle
from tests.rows import a_user

PASSWORD = "a-long-and-odd-one-7"


@pytest.fixture
def person(db):
    user = a_user("person")
    user.set_password(PASSWORD)
    user.save()
    return user


def sign_in(browser, password=PASSWORD, **more):
    return browser.post(reverse("signin"), {"username": "person", "password": password, **more})


def test_a_password_signs_in_and_the_session_ends_with_the_browser(person):
    browser = Client()
    assert sign_in(browser).url == reverse("overview")
    assert browser.session.get_expire_at_browser_close()
    assert browser.get(reverse("overview")).status_code == 200


def test_staying_signed_in_lasts_two_weeks(person):
    browser = Client()
    sign_in(browser, remember="yes")
    assert not browser.session.get_expire_at_browser_close()


def test_after_five_wrong_passwords_even_the_right_one_has_to_wait(person):
    browser = Client()
    for _try in range(throttle.MOST_FAILURES):
        assert sign_in(browser, "wrong").status_code == 422
    response = sign_in(browser)
    assert response.status_code == 422
    assert "quarter of an hour" in response.content.decode()
    again = sign_in(browser, "wrong").content.decode()
    assert "quarter of an hour" in again
    assert "Please enter a correct" not in again


def test_a_wrong_name_and_a_wrong_password_read_the_same(person):
    one = sign_in(Client(), "wrong").content.decode()
    other = (
        Client()
        .post(reverse("signin"), {"username": "nobody", "password": "wrong"})
        .content.decode()
    )
    assert "Please enter a correct" in one
    assert ("Please enter a correct" in other) is True


def test_signing_in_leads_nowhere_else(person):
    browser = Client()
    response = browser.post(
        reverse("signin"),
        {"username": "person", "password": PASSWORD, "next": "https://evil.example/"},
    )
    assert response.url == reverse("overview")


def test_a_link_shows_a_button_and_works_once(person):
    address, browser = signin.create_link(person), Client()
    assert "Sign in as person" in browser.get(address).content.decode()
    assert "Sign in as person" in browser.get(address).content.decode()
    assert browser.post(address).url == reverse("overview")
    assert browser.get(reverse("overview")).status_code == 200
    assert Client().get(address).status_code == 410
    assert Client().post(address).status_code == 410


def test_a_link_that_never_was_says_what_to_do(db):
    response = Client().get(reverse("signin-link", args=["nonsense"]))
    assert response.status_code == 410
    assert "Have a new one made" in response.content.decode()


def test_signing_out_is_a_post(client):
    assert client.get(reverse("signout")).status_code == 405
    client.post(reverse("signout"))
    assert client.get(reverse("overview")).status_code == 302


def test_a_token_is_shown_once(client, member):
    response = client.post(
        reverse("token-create"),
        {"name": "CI", "scopes": ["read", "submit"], "project": "", "days": "30"},
    )
    assert response.status_code == 201
    secret = next(
        part
        for part in response.content.decode().split()
        if part.startswith('class="code-block">lcp_')
    )
    text = secret.split(">")[1].split("<")[0]
    grant = tokens.recognise(text)
    assert grant.user == member
    assert grant.scopes == {"read", "submit"}
    assert text not in client.get(reverse("account")).content.decode()


def test_a_token_without_a_name_or_with_a_foreign_scope_is_not_made(client):
    assert (
        client.post(reverse("token-create"), {"scopes": ["read"], "days": "30"}).status_code == 422
    )
    answer = client.post(reverse("token-create"), {"name": "x", "scopes": ["admin"], "days": "30"})
    assert answer.status_code == 422
    assert not ApiToken.objects.exists()


def test_a_revoked_token_opens_nothing_and_only_its_owner_revokes(client, member):
    row, text = tokens.issue(member, name="CI", scopes=["read"])
    other, _text = tokens.issue(a_user("other"), name="theirs", scopes=["read"])
    assert client.post(reverse("token-revoke", args=[other.pk])).status_code == 404
    client.post(reverse("token-revoke", args=[row.pk]))
    assert tokens.recognise(text) is None


def test_whoever_has_no_password_sets_one_without_an_old_one(client, member):
    member.set_unusable_password()
    member.save()
    client.force_login(member)
    assert "Old password" not in client.get(reverse("password")).content.decode()
    response = client.post(
        reverse("password"), {"new_password1": PASSWORD, "new_password2": PASSWORD}
    )
    assert response.url == reverse("account")
    assert client.get(reverse("account")).status_code == 200


def test_a_weak_password_is_refused_with_the_reason(client, member):
    member.set_password(PASSWORD)
    member.save()
    client.force_login(member)
    answer = client.post(
        reverse("password"),
        {"old_password": PASSWORD, "new_password1": "12345", "new_password2": "12345"},
    )
    assert answer.status_code == 422
    assert "too short" in answer.content.decode()


def test_theme_and_language_are_kept_with_the_account(client, member):
    client.post(reverse("preferences"), {"theme": "dark"})
    assert (
        'data-bs-theme="dark" data-theme-choice="dark"'
        in client.get(reverse("account")).content.decode()
    )
    response = client.post(
        reverse("preferences"), {"language": "zh-hans", "next": reverse("account")}
    )
    assert response.url == reverse("account")
    assert User.objects.get(pk=member.pk).language == "zh-hans"
    assert 'lang="zh-hans"' in client.get(reverse("account")).content.decode()


@pytest.mark.parametrize("data", [{"theme": "neon"}, {"language": "xx"}])
def test_an_unknown_preference_is_refused(client, data):
    assert client.post(reverse("preferences"), data).status_code == 400


def test_a_preference_never_leads_away(client):
    response = client.post(
        reverse("preferences"), {"theme": "dark", "next": "https://evil.example/"}
    )
    assert response.url == "/"
