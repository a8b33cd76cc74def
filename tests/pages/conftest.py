"""Pages as a signed-in person gets them, without collected static files."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client
from playwright.sync_api import expect, sync_playwright

from jobs import live, queue
from tests.pages.service import Service, open_browser, sign_in
from tests.rows import a_user


@pytest.fixture(autouse=True)
def plain_pages(settings):
    """Names of static files as they are in the checkout; nothing that an earlier test left in memory."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    live.LATEST.readings = None
    queue.forget()
    cache.clear()


@pytest.fixture
def member(db):
    return a_user("member")


@pytest.fixture
def client(member):
    """The browser of a member of the project `default`."""
    return signed_in(member)


def signed_in(user):
    browser = Client()
    browser.force_login(user)
    return browser


# --- in a browser, before a real service -------------------------------------------------------------------------


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("home"))
    service.start()
    service.make_person("researcher")
    service.make_person("neighbour", project="elsewhere")
    service.make_person("admin", role="admin")
    service.make_person("lead", role="lead")
    yield service
    service.stop()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = open_browser(playwright)
        expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def contexts(service, browser):
    return {name: sign_in(browser, service, name) for name in ("researcher", "neighbour", "admin")}


@pytest.fixture
def complaints():
    """What the browser complained of: errors of scripts and the security policy; a test ends with none."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def page(contexts, complaints):
    page = contexts["researcher"].new_page()
    watch(page, complaints)
    yield page
    page.close()


def watch(page, complaints):
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
