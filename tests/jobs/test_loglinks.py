from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from jobs import loglinks, rundir, sitesettings
from tests.rows import a_device, a_started_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A log_dir of the site, not made yet."""
    wanted = tmp_path / "coop_logs"
    sitesettings.change({"log_dir": str(wanted)}, None)
    return wanted


def log_of(job_id: str, number: int) -> Path:
    return rundir.attempt_directory(settings.COOP_HOME, job_id, number) / rundir.LOG


def test_a_link_points_at_the_log_of_the_attempt(directory: Path) -> None:
    job, attempt = a_started_job("sft", device=a_device())
    loglinks.link([attempt])
    assert (directory / "sft-1.log").readlink() == log_of(job.pk, 1)


def test_the_link_follows_the_latest_attempt(directory: Path) -> None:
    job, attempt = a_started_job("sft", device=a_device())
    loglinks.link([attempt])
    attempt.number = 2
    loglinks.link([attempt])
    assert (directory / "sft-1.log").readlink() == log_of(job.pk, 2)
    assert [path.name for path in directory.iterdir()] == ["sft-1.log"]


def test_a_file_of_that_name_is_somebodys_and_stays(directory: Path, caplog) -> None:
    _job, attempt = a_started_job("sft", device=a_device())
    directory.mkdir()
    (directory / "sft-1.log").write_text("mine", encoding="utf-8")
    loglinks.link([attempt])
    assert (directory / "sft-1.log").read_text(encoding="utf-8") == "mine"
    assert "is a file" in caplog.text


def test_a_directory_that_cannot_be_made_stops_nothing(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").touch()
    sitesettings.change({"log_dir": str(tmp_path / "file" / "logs")}, None)
    _job, attempt = a_started_job("sft", device=a_device())
    loglinks.link([attempt])
    assert "No link to the log of sft" in caplog.text


def test_without_a_log_dir_no_link_is_made(django_assert_num_queries) -> None:
    _job, attempt = a_started_job("sft", device=a_device())
    with django_assert_num_queries(1):
        loglinks.link([attempt])
    with django_assert_num_queries(0):
        loglinks.link([])
