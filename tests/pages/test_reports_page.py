"""The reports' page and address: who may, what it shows, what it says of a wrong or empty period."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from jobs.api.reports import ReportOut
from jobs.models import Project
from tests.jobs.apicalls import by_token, fits, problem
from tests.pages.conftest import signed_in
from tests.rows import GIB, a_device, a_past_run, a_user, an_admin

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
PERIOD = {"from": "2026-02-01", "to": "2026-02-10"}
ADDRESS = "/api/v1/reports/usage?from=2026-02-01&to=2026-02-10"


@pytest.fixture
def lead(db):
    return a_user("lead", role="lead")


@pytest.fixture
def past(lead):
    """Two hours of the lead's project, and one of a project that the lead knows nothing of."""
    other = Project.objects.create(slug="hidden-team", name="Hidden team")
    device, until = a_device(), NOON + timedelta(hours=2)
    a_past_run("ours", device=device, begun=NOON, ended=until, owner=lead, peak=4 * GIB)
    stranger = a_user("stranger", role=None)
    later = until + timedelta(hours=1)
    a_past_run("secret", device=device, begun=until, ended=later, project=other, owner=stranger)
    return other


def text_of(response):
    return response.content.decode()


def test_a_lead_sees_the_own_project_and_nothing_of_others(lead, past):
    text = text_of(signed_in(lead).get(reverse("reports"), PERIOD))
    assert "<b>2.0</b> GPU-hours" in text
    assert "ours#1" in text
    for name in ("hidden-team", "secret", "stranger", "Entitled and received"):
        assert name not in text


def test_an_admin_sees_all_and_the_shares(past):
    text = text_of(signed_in(an_admin()).get(reverse("reports"), PERIOD))
    assert "<b>3.0</b> GPU-hours" in text
    assert "hidden-team" in text
    assert "Entitled and received" in text


def test_a_member_has_no_reports_and_no_link_to_them(client):
    assert client.get(reverse("reports")).status_code == 403
    assert reverse("reports") not in text_of(client.get(reverse("project-list")))


def test_a_lead_finds_the_reports_in_the_navigation(lead):
    assert f'href="{reverse("reports")}"' in text_of(signed_in(lead).get(reverse("overview")))


def test_an_empty_period_tells_the_next_step(lead):
    assert "Choose a longer period" in text_of(signed_in(lead).get(reverse("reports")))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"from": "soon"}, "which is no day"),
        ({"from": "2026-02-30"}, "which is no day"),
        ({"from": "2026-02-04", "to": "2026-02-03"}, "cannot be reported"),
        ({"from": "2024-01-01", "to": "2026-02-03"}, "at most 366 days"),
        ({"project": "hidden-team"}, "There is no project"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(lead, past, given, words):
    response = signed_in(lead).get(reverse("reports"), given)
    assert response.status_code == 422
    assert words in text_of(response)


def test_the_table_for_excel_is_the_same_address_and_never_a_formula(lead):
    device, owner = a_device(), a_user("=1+1")
    a_past_run(device=device, begun=NOON, ended=NOON + timedelta(hours=1), owner=owner)
    response = signed_in(lead).get(reverse("reports"), PERIOD | {"format": "csv"})
    assert response.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(response.content.decode("utf-8-sig").splitlines()))
    assert rows[0][:3] == ["table", "name", "gpu_hours"]
    assert ["user", "'=1+1", "1.0", "0.0", "14.0", "1"] in rows


def test_the_workbook_has_a_sheet_for_each_table_and_chinese_names_intact(lead):
    owner = a_user("=李雷")
    a_past_run(device=a_device(), begun=NOON, ended=NOON + timedelta(hours=1), owner=owner)
    response = signed_in(lead).get(reverse("reports"), PERIOD | {"format": "xlsx"})
    assert "report-2026-02-01-2026-02-10.xlsx" in response["Content-Disposition"]
    book = zipfile.ZipFile(io.BytesIO(response.content))
    assert "=李雷" in book.read("xl/sharedStrings.xml").decode()
    sheets = re.findall(r'<sheet name="([^"]+)"', book.read("xl/workbook.xml").decode())
    assert sheets[:5] == ["total", "user", "project", "card", "day"]
    assert not any(b"<f>" in book.read(name) for name in book.namelist() if "sheets/" in name)


def test_a_year_is_drawn_with_at_most_120_points_a_line(lead, past):
    period = {"from": "2025-06-01", "to": "2026-05-31"}
    text = text_of(signed_in(an_admin()).get(reverse("reports"), period))
    figures = [json.loads(html.unescape(f)) for f in re.findall(r'data-figure="([^"]+)"', text)]
    assert len(figures) == 5
    assert max(len(trace["x"]) for figure in figures for trace in figure["data"]) <= 120


def test_the_api_tells_the_same_figures(lead, past):
    told = fits(ReportOut, by_token(lead).get(ADDRESS))
    assert told["total"]["gpu_hours"] == 2.0
    assert told["waste"][0]["largest"][0]["name"] == "ours#1"
    assert told["fairness"] is None
    assert len(told["by_day"]) == 10
    assert told["cards"] is None


def test_a_token_of_one_project_reports_that_one_only(past):
    told = by_token(an_admin(), "read", "admin", project=past).get(ADDRESS).json()
    assert (told["projects"], told["total"]["gpu_hours"]) == (["hidden-team"], 1.0)
    assert told["fairness"] is None


def test_the_api_refuses_a_wrong_period(lead):
    problem(by_token(lead).get("/api/v1/reports/usage?from=soon"), 422, "request_invalid")
    problem(by_token(a_user("member")).get("/api/v1/reports/usage"), 403, "forbidden")
