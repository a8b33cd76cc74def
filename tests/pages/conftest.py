"""Pages as a signed-in person gets them, without collected static files."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from jobs import live, queue
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
