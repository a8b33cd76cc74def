"""The tasks of admins and leads in a browser, with their clicks counted, and their pages against axe-core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.pages.conftest import watch
from tests.pages.service import sign_in
from tests.pages.test_accessibility import SMALL_TARGETS, found_by_axe

pytestmark = pytest.mark.browser
PAGES = {
    "settings": "/manage/settings",
    "cards": "/manage/cards",
    "quotas": "/manage/quotas",
    "new-project": "/manage/projects/new",
    "announcements": "/manage/announcements",
    "tokens": "/manage/tokens",
    "log": "/manage/log",
    "requests": "/requests/",
    "shares": "/shares/",
    "members": "/projects/default/quota",
    "invitations": "/projects/default/invitations",
    "project": "/projects/default/",
}


class Clicks:
    """A page on which every click is counted; typing is not one."""

    def __init__(self, page: Page) -> None:
        self.page, self.count = page, 0

    def click(self, what: Locator) -> None:
        what.click()
        self.count += 1

    def choose(self, what: Locator, label: str) -> None:
        what.select_option(label=label)
        self.count += 1

    def follow(self, *links: str) -> None:
        for link in links:
            self.click(self.page.get_by_role("link", name=link, exact=True))

    def press(self, button: str) -> None:
        self.click(self.page.get_by_role("button", name=button, exact=True))


@pytest.fixture(scope="module")
def site(service):
    """A job that holds the large card, one that waits for it, a project's limit, and things to look at."""
    service.end_all_jobs()
    service.shell(_FILL)
    yield service
    service.end_all_jobs()
    service.shell(_CLEAR)


@pytest.fixture(scope="module")
def viewers(site, browser):
    phone = {"viewport": {"width": 375, "height": 812}}
    looks = {"light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"}, "phone": phone}
    found = {name: sign_in(browser, site, "admin", **look) for name, look in looks.items()}
    found["lead"] = sign_in(browser, site, "lead")
    found["researcher"] = sign_in(browser, site, "researcher")
    yield found
    for context in found.values():
        context.close()


@pytest.fixture
def at(viewers, complaints) -> Iterator[object]:
    """Opens the overview as somebody."""
    opened = []

    def open_as(name: str) -> Clicks:
        page = viewers[name].new_page()
        watch(page, complaints)
        page.goto("/")
        opened.append(page)
        return Clicks(page)

    yield open_as
    for page in opened:
        page.close()


# --- tasks -----------------------------------------------------------------------------------------------


def test_an_admin_drains_a_card_in_four_clicks(at):
    browser = at("light")
    browser.follow("Admin", "Cards")
    page = browser.page
    row = page.get_by_role("row").filter(has_text="RTX 4090")
    browser.click(row.locator("summary"))
    row.get_by_label("Why?").fill("new fan")
    browser.click(row.get_by_role("button", name="Take out of service"))
    expect(page.get_by_text("Out of service:")).to_be_visible()
    expect(row).to_contain_text("new fan")
    assert browser.count == 4
    row.get_by_role("button", name="Put back").click()
    expect(row.locator("summary")).to_be_visible()


def test_an_admin_sees_the_effect_of_a_quota_and_saves_it_in_three_clicks(at):
    browser = at("light")
    browser.follow("Admin", "Quota and share")
    page = browser.page
    cell = page.get_by_label("elsewhere: at most, cards")
    cell.fill("1")
    effect = page.locator("#effect")
    expect(effect).to_contain_text("would start now")
    expect(effect.get_by_role("row").filter(has_text="kept-back")).to_contain_text("start now")
    assert found_by_axe(page) == []
    expect(cell).to_be_focused()
    browser.press("Save")
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert browser.count == 3
    page.get_by_label("elsewhere: at most, cards").fill("0")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.")).to_be_visible()


def test_an_admin_changes_a_setting_in_two_clicks_and_finds_it_in_the_log(at):
    browser = at("light")
    browser.follow("Admin")
    page = browser.page
    page.get_by_label("Most jobs at once", exact=True).fill("50")
    browser.click(page.get_by_role("button", name="Save", exact=True).first)
    expect(page.get_by_text("Changed: Most jobs at once.")).to_be_visible()
    assert browser.count == 2
    browser.follow("Log of changes")
    expect(page.get_by_role("row").filter(has_text="max_workers = 50")).to_contain_text("admin")
    page.goto("/manage/settings")
    page.get_by_role("button", name="Use the default of Most jobs at once").click()
    expect(page.get_by_label("Most jobs at once", exact=True)).to_have_value("")


def test_the_enter_key_in_a_field_saves_and_resets_nothing(at):
    page = at("light").page
    page.goto("/manage/settings")
    page.get_by_label("Most jobs at once", exact=True).fill("40")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Changed: Most jobs at once.")).to_be_visible()
    page.get_by_label("Most jobs at once", exact=True).fill("")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Most jobs at once", exact=True)).to_have_value("")


def test_an_admin_changes_somebodys_priority_with_a_reason_in_four_clicks(at):
    browser = at("light")
    browser.follow("Jobs")
    page = browser.page
    browser.click(page.get_by_role("link", name="held-long#1"))
    browser.choose(page.get_by_label("Set it to"), "low")
    page.get_by_label("Why? Its owner reads it.").fill("the review is over")
    browser.press("Set priority")
    expect(page.get_by_text("the review is over")).to_be_visible()
    assert browser.count == 4


def test_everybody_reads_an_announcement_after_three_clicks(at):
    browser = at("light")
    browser.follow("Admin", "Announcements")
    page = browser.page
    page.get_by_label("What everybody should know").fill("All cards go down on Friday.")
    browser.press("Announce")
    expect(page.get_by_role("region", name="About this site")).to_contain_text("on Friday")
    assert browser.count == 3
    expect(at("researcher").page.get_by_text("All cards go down on Friday.")).to_be_visible()
    page.get_by_role("button", name="Take down").click()
    expect(page.get_by_role("region", name="About this site")).not_to_contain_text("on Friday")


def test_a_lead_invites_and_somebody_new_is_in(at, browser, service):
    lead = at("lead")
    lead.follow("Projects")
    lead.click(lead.page.get_by_role("link", name="Default", exact=True))
    lead.follow("Invite")
    lead.press("Make a link")
    link = lead.page.locator("#invitation-link").inner_text()
    assert lead.count == 4
    assert found_by_axe(lead.page) == []
    context = browser.new_context(base_url=service.url, locale="en")
    newcomer = Clicks(context.new_page())
    newcomer.page.goto(link)
    assert found_by_axe(newcomer.page) == []
    newcomer.page.get_by_label("Username").fill("newcomer")
    newcomer.page.get_by_label("Password", exact=True).fill("a long password of mine")
    newcomer.page.get_by_label("Password confirmation").fill("a long password of mine")
    newcomer.press("Make my account")
    expect(newcomer.page.get_by_text("Welcome to Default.")).to_be_visible()
    assert newcomer.count == 1
    newcomer.page.goto(link)
    expect(newcomer.page.get_by_text("does not work any more")).to_be_visible()
    context.close()


def test_a_member_asks_to_go_ahead_and_a_lead_approves_in_two_clicks(at):
    member = at("researcher")
    member.follow("Jobs")
    page = member.page
    member.click(page.get_by_role("link", name="held-long#1"))
    member.click(page.get_by_text("Ask that it goes ahead"))
    page.get_by_label("Why must it go ahead?").fill("results for the review")
    member.press("Ask")
    expect(page.get_by_text("A lead of the project or an admin decides.").first).to_be_visible()
    assert member.count == 4
    lead = at("lead")
    lead.follow("Answer")
    expect(lead.page.get_by_text("results for the review")).to_be_visible()
    lead.press("Approve held-long#1")
    expect(lead.page.get_by_text("goes ahead.")).to_be_visible()
    assert lead.count == 2


def test_a_lead_asks_for_more_weight_until_a_deadline_and_an_admin_gives_it(at):
    lead = at("lead")
    lead.follow("Projects", "Default")
    page = lead.page
    lead.click(page.get_by_text("Ask for more weight"))
    page.get_by_label("Weight").fill("3")
    page.get_by_label("Why must it go ahead?").fill("the deadline of the paper")
    assert found_by_axe(page) == []
    lead.press("Ask")
    expect(page.get_by_text("asks for weight 3:")).to_be_visible()
    assert lead.count == 4
    admin = at("light")
    admin.follow("Answer")
    admin.press("Approve default")
    expect(admin.page.get_by_text("goes ahead.")).to_be_visible()
    assert admin.count == 2


def test_the_fair_share_is_two_clicks_away(at):
    browser = at("lead")
    browser.follow("Projects", "Fair share")
    picture = browser.page.get_by_role("img", name="entitled", exact=False).first
    expect(picture).to_be_visible()
    assert browser.count == 2


# --- for everybody ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_barrier(viewers, complaints, name, look):
    page = viewers[look].new_page()
    watch(page, complaints)
    page.goto(PAGES[name])
    assert found_by_axe(page) == []
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone(viewers, name):
    page = viewers["phone"].new_page()
    page.goto(PAGES[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.evaluate(SMALL_TARGETS) == []
    page.close()


_FILL = """
from jobs import actions
from jobs.models import Project, Quota, User
from jobs.submission import submit
from jobs.tokens import create_token
TASK = "task_id: {}\\nresources:\\n  min_memory: {}\\ncommand: sleep 600\\n"
researcher, neighbour = User.objects.get(username="researcher"), User.objects.get(username="neighbour")
actions.pause(submit(TASK.format("held-long", "1G"), researcher).job, researcher)
create_token(researcher, name="CI", scopes=["read"])
Quota.objects.update_or_create(
    project=Project.objects.get(slug="elsewhere"), user=None, defaults={"limit_cards": 0}
)
submit(TASK.format("kept-back", "2G"), neighbour, keep_impossible=True)
"""

_CLEAR = """
from jobs.models import PriorityRequest, Project, Quota
Quota.objects.all().delete()
PriorityRequest.objects.all().delete()
Project.objects.update(weight=1)
"""
