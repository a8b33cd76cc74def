"""Signing in elsewhere, in the browser: a real service and a provider that stands in for a real one."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from playwright.sync_api import expect

from tests.pages.conftest import watch
from tests.pages.service import Service, sign_in
from tests.pages.test_accessibility import SMALL_TARGETS, found_by_axe
from tests.standin_oidc import CLIENT_ID, CLIENT_SECRET, Provider
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def provider():
    provider = Provider()
    with provider.server:
        yield provider


@pytest.fixture(scope="module")
def sso_site(tmp_path_factory, provider):
    site = Service(
        tmp_path_factory.mktemp("sso"),
        COOP_SSO_OIDC_URL=provider.url,
        COOP_SSO_OIDC_ID=CLIENT_ID,
        COOP_SSO_OIDC_SECRET=CLIENT_SECRET,
        COOP_SSO_OIDC_NAME="Team ID",
    )
    site.start()
    site.make_person("linked")
    yield site
    site.stop()


@pytest.fixture(autouse=True)
def a_plain_provider(provider):
    provider.person = {"sub": "u-1", "name": "Li Na", "preferred_username": "lina"}
    provider.info = provider.signing_key = None
    provider.audience = CLIENT_ID


@pytest.fixture
def visitor(browser, sso_site, complaints):
    context = browser.new_context(base_url=sso_site.url, locale="en")
    page = context.new_page()
    watch(page, complaints)
    yield page
    context.close()


def come_in(page):
    page.goto("/signin/?next=/jobs/")
    page.get_by_role("link", name="Sign in with Team ID").click()


def allow(site, **values):
    site.shell(f"from jobs import sitesettings; sitesettings.change({values!r}, None)")


def test_nobody_gets_an_account_unless_the_site_says_so(visitor, sso_site, complaints):
    allow(sso_site, signup="nobody")
    come_in(visitor)
    expect(visitor.locator("main")).to_contain_text("this site makes none by itself")
    assert "403" in complaints.pop()


def test_a_verified_address_of_an_allowed_domain_gets_an_account_in_the_project(
    visitor, sso_site, provider, complaints
):
    allow(sso_site, signup="domains", signup_domains=["example.org"], signup_project="default")
    provider.person |= {"email": "lina@example.org", "email_verified": False}
    come_in(visitor)
    expect(visitor.locator("main")).to_contain_text("verified e-mail addresses at example.org")
    assert "403" in complaints.pop()
    provider.person |= {"email_verified": True}
    come_in(visitor)
    visitor.wait_for_url(f"{sso_site.url}/jobs/")
    expect(visitor.get_by_role("button", name="Menu of lina")).to_be_visible()
    visitor.goto("/projects/default/")
    expect(visitor.locator("h1")).to_have_text("default", ignore_case=True)


def test_an_account_is_never_found_by_an_address_or_a_name(visitor, sso_site, provider):
    allow(sso_site, signup="everybody")
    sso_site.shell(
        "from jobs.models import User; User.objects.filter(username='linked').update(email='x@y.org')"
    )
    provider.person = {
        "sub": "u-2",
        "preferred_username": "linked",
        "email": "x@y.org",
        "email_verified": True,
    }
    come_in(visitor)
    expect(visitor.get_by_role("button", name="Menu of linked-2")).to_be_visible()


def test_a_person_links_the_service_comes_in_with_it_and_takes_it_away(
    browser, visitor, sso_site, provider
):
    allow(sso_site, signup="nobody")
    provider.person = {"sub": "u-3", "name": "Somebody"}
    own = sign_in(browser, sso_site, "linked")
    page = own.new_page()
    page.goto("/account/")
    assert found_by_axe(page) == []
    page.get_by_role("link", name="Link Team ID").click()
    expect(page.locator("#messages")).to_contain_text("You can sign in with Team ID from now on.")
    come_in(visitor)
    expect(visitor.get_by_role("button", name="Menu of linked")).to_be_visible()
    page.get_by_role("button", name="Take Team ID away").click()
    expect(page.locator("#messages")).to_contain_text("your only way to sign in")
    sso_site.shell(
        "from jobs.models import User\n"
        "u = User.objects.get(username='linked'); u.set_password('odd-and-long-7'); u.save()"
    )
    back = sign_in(browser, sso_site, "linked").new_page()
    back.goto("/account/")
    back.get_by_role("button", name="Take Team ID away").click()
    expect(back.locator("#messages")).to_contain_text("Team ID does not sign you in any more.")
    back.context.close()
    own.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"signing_key": rsa.generate_private_key(65537, 2048)},
        {"audience": "somebody-else"},
        {"info": {"sub": "another", "name": "Another"}},
    ],
    ids=["signature", "audience", "subject"],
)
def test_an_answer_that_is_not_right_signs_nobody_in(
    visitor, sso_site, provider, wrong, complaints
):
    allow(sso_site, signup="everybody")
    for name, value in wrong.items():
        setattr(provider, name, value)
    come_in(visitor)
    expect(visitor.get_by_role("heading", name="You are not signed in")).to_be_visible()
    assert complaints.pop().startswith("Failed to load resource")


def test_an_answer_that_nobody_asked_for_signs_nobody_in(visitor, complaints):
    visitor.goto("/sso/oidc/back?code=x&state=y")
    expect(visitor.get_by_role("heading", name="You are not signed in")).to_be_visible()
    assert complaints.pop().startswith("Failed to load resource")


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_sign_in_with_its_buttons_has_no_barrier_and_fits_a_phone(browser, sso_site, look):
    phone = {"width": 375, "height": 812}
    context = browser.new_context(base_url=sso_site.url, color_scheme=look, viewport=phone)
    page = context.new_page()
    page.goto("/signin/")
    assert found_by_axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.evaluate(SMALL_TARGETS) == []
    context.close()


def test_the_throttle_holds_over_a_restart_of_the_web_process(browser, sso_site):
    context = browser.new_context(base_url=sso_site.url)
    page = context.new_page()

    def guess():
        page.goto("/signin/")
        page.fill("#id_username", "admin")
        page.fill("#id_password", "wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("[role=alert]")).to_be_visible()
        return page.locator("[role=alert]").inner_text()

    for _try in range(5):
        assert "quarter of an hour" not in guess()
    before = sso_site.pids()["web"]
    sso_site.kill("web")
    wait_until(lambda: sso_site.pids().get("web") not in {before, None}, 30, "another web process")
    sso_site.run("-m", "coop_site.serve", "--wait")
    assert "quarter of an hour" in guess()
    context.close()
