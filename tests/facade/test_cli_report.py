"""What the command line says of a report."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from llama_factory.cli import PROGRAM
from llama_factory.cli.app import app
from tests.facade.fakeservice import Reply, fake_service

LINE = {"name": "ana", "gpu_hours": 2.0, "memory_gib_hours": 28.0, "jobs": 1}
TOLD = {
    "from": "2026-02-01",
    "to": "2026-02-28",
    "total": LINE | {"name": ""},
    "by_user": [LINE],
    "by_day": [LINE | {"name": "2026-02-03"}],
    "waits": [{"priority": "high", "jobs": 1, "median_s": 60.0, "p90_s": 120.0}],
    "waste": [LINE | {"name": "unused", "behind": 1, "largest": []}],
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def call(reply: Reply, *arguments: str):
        with fake_service(reply) as service:
            words = ["report", "--url", service.url, *arguments]
            return service, CliRunner().invoke(app, words, prog_name=PROGRAM)

    return call


def test_a_report_tells_hours_waits_and_waste(run):
    service, answer = run(Reply(body=TOLD), "--from", "2026-02-01", "--user", "ana")
    assert answer.exit_code == 0, answer.output
    for words in ("2.00 GPU-hours", "ana", "median 1m", "unused"):
        assert words in answer.stdout
    assert service.asked[0].path == "/api/v1/reports/usage?from=2026-02-01&user=ana"


def test_a_report_by_day_has_a_line_for_each_day(run):
    _service, answer = run(Reply(body=TOLD), "--by", "day")
    assert "2026-02-03" in answer.stdout


def test_csv_goes_out_as_it_came_without_the_mark_of_excel(run):
    reply = Reply(body=b"\xef\xbb\xbftable,name\r\n", kind="text/csv")
    service, answer = run(reply, "--csv")
    assert answer.stdout.splitlines() == ["table,name"]
    assert service.asked[0].path == "/api/v1/reports/usage?format=csv"
