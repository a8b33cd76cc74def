"""Who decides the language: the profile, else the cookie, else the browser; and what a Chinese reader then gets."""

from __future__ import annotations

import re

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from jobs import tokens
from tests.rows import a_user

CHINESE, ENGLISH = "zh-hans", "en"


def browser_of(user, *, says, cookie=""):
    browser = Client(headers={"accept-language": says})
    browser.force_login(user)
    if cookie:
        browser.cookies[settings.LANGUAGE_COOKIE_NAME] = cookie
    return browser


def language_of(browser):
    page = browser.get(reverse("overview"))
    return re.search(r'<html lang="([\w-]+)"', page.content.decode())[1]


@pytest.mark.parametrize(
    ("profile", "cookie", "says", "gets"),
    [
        ("", "", "zh-CN,zh;q=0.9", CHINESE),
        ("", "", "de,en;q=0.5", ENGLISH),
        ("", ENGLISH, "zh-CN", ENGLISH),
        ("", CHINESE, "en", CHINESE),
        (CHINESE, ENGLISH, "en", CHINESE),
        (ENGLISH, CHINESE, "zh-CN", ENGLISH),
    ],
)
@pytest.mark.django_db
def test_the_profile_decides_then_the_cookie_then_the_browser(profile, cookie, says, gets):
    user = a_user("reader")
    user.language = profile
    user.save()
    assert language_of(browser_of(user, says=says, cookie=cookie)) == gets


@pytest.mark.django_db
def test_a_choice_on_the_account_page_holds_on_every_device():
    user = a_user("reader")
    here, elsewhere = (browser_of(user, says="en") for _ in range(2))
    here.post(reverse("preferences"), {"language": CHINESE})
    assert language_of(here) == language_of(elsewhere) == CHINESE


@pytest.mark.django_db
def test_a_chinese_page_says_its_things_in_chinese():
    page = browser_of(a_user("reader"), says="zh-CN").get("/jobs/").content.decode()
    assert "任务" in page
    assert "Skip to the content" not in page


@pytest.mark.django_db
def test_the_sign_in_is_in_the_language_of_the_browser():
    page = Client(headers={"accept-language": "zh-CN"}).get(reverse("signin"))
    assert "登录" in page.content.decode()
    assert page.headers["Content-Language"] == CHINESE


@pytest.mark.django_db
def test_an_error_of_the_api_is_in_the_language_that_the_program_asks_for():
    secret = tokens.create_token(a_user("program"), name="ci", scopes=["read"])
    program = {"Authorization": f"Bearer {secret}"}
    texts = [
        Client().get("/api/v1/jobs/none", headers=program | {"Accept-Language": says}).json()
        for says in ("zh-CN", "en")
    ]
    assert [text["title"] for text in texts] == ["未找到", "Not found"]
    assert texts[0]["code"] == texts[1]["code"]
