"""Uploads go on where they broke off, are refused before a byte is written, and leave nothing when they are wrong."""

from __future__ import annotations

import errno
import json
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from jobs import datasetrules, datasets, datasetstore
from jobs.core.datasetcheck import PREVIEW_ROWS
from jobs.jobfolder import JobFolder
from jobs.models import Dataset, DatasetUpload, Membership, Project
from jobs.projects import default_project, join
from jobs.refusals import Refused
from tests.rows import a_job, a_user, an_admin

pytestmark = pytest.mark.django_db

ROW = {"instruction": "Add 1 and 2.", "input": "", "output": "3"}


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


GOOD = lines(*[ROW | {"output": str(number)} for number in range(9)])
BROKEN = lines(ROW, ROW, ROW | {"output": 5}, ROW)


@pytest.fixture(autouse=True)
def home(tmp_path, settings):
    settings.COOP_HOME = tmp_path
    return tmp_path


def files_below(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def begun(content: bytes = GOOD, **changes):
    given = {"name": "my_data", "filename": "my data.jsonl", "size": len(content)} | changes
    return datasets.begin(a_user(), **given)


def stored(content: bytes = GOOD, user=None, **changes) -> Dataset:
    given = {"name": "my_data", "filename": "my_data.jsonl", "size": len(content)} | changes
    return datasets.store(user or a_user(), chunks=[content], **given)


def refusal(call) -> Refused:
    with pytest.raises(Refused) as refused:
        call()
    assert refused.value.detail
    assert refused.value.hint
    return refused.value


def test_an_upload_in_parts_becomes_a_dataset(home):
    upload = begun()
    for start in range(0, len(GOOD), 100):
        assert datasets.append(upload, start, GOOD[start : start + 100]) == min(
            start + 100, len(GOOD)
        )
    dataset = datasets.finish(upload)
    assert (dataset.name, dataset.version, dataset.rows, dataset.format) == (
        "my_data",
        1,
        9,
        "alpaca",
    )
    assert dataset.columns == ["instruction", "input", "output"]
    assert dataset.size == len(GOOD)
    assert len(dataset.preview) == PREVIEW_ROWS
    assert files_below(home) == [f"datasets/{dataset.sha256}/data.jsonl"]
    path = datasetstore.content_path(dataset.sha256, "jsonl")
    assert path.read_bytes() == GOOD
    assert path.stat().st_mode & 0o777 == 0o444
    assert not DatasetUpload.objects.exists()


def test_a_broken_dataset_is_refused_with_row_and_field_and_leaves_nothing(home):
    found = refusal(lambda: stored(BROKEN))
    assert found.code == "dataset_invalid"
    assert found.detail == "my_data.jsonl: row 3, field 'output': expected text, got a number (5)."
    assert found.problems[0].field == "row 3, output"
    assert files_below(home) == []
    assert not Dataset.objects.exists()
    assert not DatasetUpload.objects.exists()


def test_many_problems_are_counted():
    found = refusal(lambda: stored(lines(*[ROW | {"output": 5}] * 100)))
    assert "at least 19 more problems" in found.detail
    assert found.extra["stopped"] is True


def test_a_part_at_the_wrong_place_is_refused_and_says_where_to_go_on():
    upload = begun()
    datasets.append(upload, 0, GOOD[:50])
    for offset in (0, 49, 51, 10_000):
        found = refusal(lambda at=offset: datasets.append(upload, at, GOOD[50:60]))
        assert (found.status, found.extra["received"]) == (409, 50)
    datasets.append(upload, 50, GOOD[50:])
    assert datasets.finish(upload).rows == 9


def test_more_than_was_announced_is_refused():
    upload = begun(size=10)
    assert refusal(lambda: datasets.append(upload, 0, GOOD)).status == 409
    assert datasets.append(upload, 0, GOOD[:10]) == 10


def test_a_part_above_the_limit_is_refused():
    upload = begun(size=datasets.PART_BYTES * 2)
    assert (
        refusal(lambda: datasets.append(upload, 0, b"x" * (datasets.PART_BYTES + 1))).status == 413
    )


def test_bytes_that_a_crash_left_behind_are_overwritten(home):
    """The file had grown, but the row that says so was not written."""
    upload = begun()
    (home / "uploads" / upload.pk).write_bytes(GOOD[:50] + b"half a part of a dead process")
    datasets.append(upload, 0, GOOD[:50])
    datasets.append(upload, 50, GOOD[50:])
    assert datasets.finish(upload).rows == 9


def test_an_upload_that_is_not_whole_cannot_be_finished():
    upload = begun()
    datasets.append(upload, 0, GOOD[:50])
    found = refusal(lambda: datasets.finish(upload))
    assert (found.code, found.extra["received"]) == ("upload_incomplete", 50)
    assert DatasetUpload.objects.filter(pk=upload.pk).exists()


def test_two_requests_never_work_on_one_upload_at_once():
    upload = begun()
    with datasetstore.alone(upload.pk):
        assert refusal(lambda: datasets.append(upload, 0, GOOD[:5])).code == "upload_busy"
    assert datasets.append(upload, 0, GOOD[:5]) == 5


def test_a_finished_upload_is_gone():
    upload = begun()
    datasets.append(upload, 0, GOOD)
    datasets.finish(upload)
    assert refusal(lambda: datasets.append(upload, 0, GOOD)).status == 404
    assert refusal(lambda: datasets.finish(upload)).status == 404


def test_an_upload_belongs_to_the_one_who_began_it():
    upload = begun()
    assert datasets.upload_of(a_user(), upload.pk) == upload
    assert refusal(lambda: datasets.upload_of(a_user("other"), upload.pk)).status == 404


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "../../etc/passwd"}, "dataset_name_invalid"),
        ({"name": "a/b"}, "dataset_name_invalid"),
        ({"name": ".hidden"}, "dataset_name_invalid"),
        ({"name": ""}, "dataset_name_invalid"),
        ({"name": "x" * 65}, "dataset_name_invalid"),
        ({"name": "a,b"}, "dataset_name_invalid"),
        ({"name": "a\nb"}, "dataset_name_invalid"),
        ({"name": "a\0b"}, "dataset_name_invalid"),
        ({"name": "my_data.jsonl"}, "dataset_name_invalid"),
        ({"name": "dataset_info"}, "dataset_name_invalid"),
        ({"filename": "data.zip"}, "dataset_type_unknown"),
        ({"filename": "json"}, "dataset_type_unknown"),
        ({"filename": "data"}, "dataset_type_unknown"),
        ({"filename": "data.jsonl.exe"}, "dataset_type_unknown"),
        ({"size": 0}, "dataset_empty"),
        ({"size": -1}, "dataset_too_large"),
        ({"size": datasetrules.LARGEST_DATASET + 1}, "dataset_too_large"),
    ],
)
def test_what_cannot_be_accepted_is_refused_before_anything_is_written(home, changes, code):
    assert refusal(lambda: begun(**changes)).code == code
    assert files_below(home) == []


@pytest.mark.parametrize("name", ["my_data", "v1.2-final", "数据集", "7b", "json"])
def test_names_of_many_kinds_are_accepted(name):
    assert stored(name=name).name == name


@pytest.mark.parametrize(
    "filename",
    [
        "../../../etc/cron.d/x.json",
        "/etc/passwd.json",
        "C:\\windows\\x.jsonl",
        "..%2f..%2fx.json",
        "x\0y.json",
        "-rf.json",
        "$(reboot).json",
        "a\u202ejson.json",
    ],
)
def test_what_a_file_is_called_never_becomes_a_path(home, filename):
    dataset = stored(filename=filename)
    assert files_below(home) == [f"datasets/{dataset.sha256}/data.{dataset.extension}"]


def test_the_quota_of_a_project_counts_uploads_under_way(monkeypatch):
    monkeypatch.setattr(datasetrules, "LARGEST_PROJECT", 3 * len(GOOD))
    stored()
    begun(name="second")
    assert refusal(lambda: begun(name="third", size=len(GOOD) + 1)).code == "dataset_quota"
    assert begun(name="third").pk


def test_the_disk_keeps_a_reserve(monkeypatch):
    monkeypatch.setattr(datasetstore, "free_bytes", lambda: datasetrules.DISK_RESERVE + 100)
    begun(size=60)
    assert refusal(lambda: begun(size=60)).code == "disk_full"


def test_one_person_has_a_bounded_number_of_uploads():
    for _ in range(datasetrules.MOST_UPLOADS):
        begun()
    assert refusal(begun).code == "too_many_uploads"


def test_a_stranger_cannot_upload_to_a_project():
    Project.objects.create(slug="secret", name="Secret")
    assert refusal(lambda: begun(project="secret")).status == 403


def test_the_same_content_is_stored_once(home):
    first, second = stored(), stored(name="other")
    assert first.sha256 == second.sha256
    assert first.pk != second.pk
    assert len(files_below(home)) == 1


def test_the_same_content_under_the_same_name_is_the_same_version():
    assert stored().pk == stored().pk


def test_new_content_under_a_name_is_a_new_version():
    assert [stored().version, stored(GOOD[: len(GOOD) // 9]).version] == [1, 2]


def test_content_that_was_deleted_can_come_back_as_a_new_version():
    first = stored()
    datasets.delete(first, first.owner)
    assert stored().version == 2


def test_a_dataset_may_be_given_its_format():
    assert refusal(lambda: stored(dataset_format="sharegpt")).code == "dataset_invalid"
    assert refusal(lambda: stored(dataset_format="parquet")).code == "dataset_format_unknown"
    assert stored(dataset_format="alpaca").format == "alpaca"


def test_a_csv_file_keeps_its_type():
    dataset = stored(b"instruction,input,output\na,,b\n", filename="T.CSV")
    assert (dataset.extension, dataset.format) == ("csv", "alpaca")


def test_people_see_the_datasets_of_their_projects():
    dataset = stored()
    assert list(datasets.visible_to(a_user())) == [dataset]
    assert list(datasets.visible_to(an_admin())) == [dataset]
    assert not datasets.visible_to(a_user("stranger", role=None)).exists()


def test_only_its_owner_or_a_lead_deletes_a_dataset():
    dataset = stored()
    assert refusal(lambda: datasets.delete(dataset, a_user("other"))).status == 403
    assert refusal(lambda: datasets.delete(dataset, a_user("out", role=None))).status == 403
    join(a_user("boss"), default_project(), Membership.Role.LEAD)
    datasets.delete(dataset, a_user("boss", role=None))
    assert not datasets.visible_to(a_user()).exists()


def test_someone_who_left_the_project_cannot_delete_what_was_theirs():
    dataset = stored()
    Membership.objects.filter(user=dataset.owner).delete()
    assert refusal(lambda: datasets.delete(dataset, dataset.owner)).status == 403


# --- what nobody needs any more ---------------------------------------------------------------------

LATER = timedelta(days=2)


def make_old(home: Path) -> None:
    for path in (*home.glob("datasets/*"), *home.glob("uploads/*")):
        os.utime(path, (0, 0))


def test_an_upload_that_nobody_finishes_is_deleted_after_a_day(home):
    upload = begun()
    datasets.append(upload, 0, GOOD[:10])
    datasets.forget_unused(timezone.now())
    assert DatasetUpload.objects.exists()
    datasets.forget_unused(timezone.now() + LATER)
    assert not DatasetUpload.objects.exists()
    assert files_below(home) == []


def test_content_that_a_dataset_or_a_living_job_needs_is_kept(home):
    dataset = stored()
    job = a_job()
    job.datasets.add(dataset)
    make_old(home)
    datasets.forget_unused(timezone.now())
    assert len(files_below(home)) == 1
    datasets.delete(dataset, dataset.owner)
    datasets.forget_unused(timezone.now())
    assert len(files_below(home)) == 1


def test_content_that_nobody_needs_is_deleted(home):
    dataset = stored()
    datasets.delete(dataset, dataset.owner)
    datasets.forget_unused(timezone.now())
    assert len(files_below(home)) == 1, "it was stored a moment ago"
    make_old(home)
    datasets.forget_unused(timezone.now())
    assert files_below(home) == []


def test_a_file_that_no_row_knows_is_deleted(home):
    datasetstore.begin("lost")
    make_old(home)
    datasets.forget_unused(timezone.now())
    assert files_below(home) == []


# --- links in a job's folder ------------------------------------------------------------------------


def test_a_dataset_is_linked_read_only_beside_its_description(tmp_path):
    dataset = stored()
    work = tmp_path / "work"
    work.mkdir()
    assert datasetstore.link_into(work, "data", [dataset]) == ["my_data"]
    data = work / "data"
    assert (data / "my_data").read_bytes() == (data / "my_data.jsonl").read_bytes() == GOOD
    assert (data / "my_data.jsonl").stat().st_mode & 0o777 == 0o444
    assert (data / "my_data.jsonl").samefile(datasetstore.content_path(dataset.sha256, "jsonl"))
    info = json.loads((data / "dataset_info.json").read_text())
    assert info["my_data"]["file_name"] == "my_data.jsonl"
    assert info["my_data"]["columns"] == {
        "prompt": "instruction",
        "query": "input",
        "response": "output",
    }


def test_linking_again_changes_nothing(tmp_path):
    dataset = stored()
    work = tmp_path / "work"
    work.mkdir()
    for _ in range(2):
        datasetstore.link_into(work, "data", [dataset])
    assert sorted(path.name for path in (work / "data").iterdir()) == [
        "dataset_info.json",
        "my_data",
        "my_data.jsonl",
    ]


def test_a_link_that_a_job_planted_is_not_written_through(tmp_path):
    dataset = stored()
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    work.mkdir()
    elsewhere.mkdir()
    (elsewhere / "dataset_info.json").write_text("precious")
    (work / "data").symlink_to(elsewhere)
    datasetstore.link_into(work, "data", [dataset])
    assert not (work / "data").is_symlink()
    assert (elsewhere / "dataset_info.json").read_text() == "precious"
    (work / "data" / "dataset_info.json").unlink()
    (work / "data" / "dataset_info.json").symlink_to(elsewhere / "dataset_info.json")
    datasetstore.link_into(work, "data", [dataset])
    assert (elsewhere / "dataset_info.json").read_text() == "precious"


def test_a_dataset_is_copied_where_it_cannot_be_linked(tmp_path, monkeypatch):
    """COOP_HOME/jobs may lie on another file system, and a file may have only so many names."""
    dataset = stored()
    work = tmp_path / "work"
    work.mkdir()

    def refuse(*args, **kwargs):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    datasetstore.link_into(work, "data", [dataset])
    copied = work / "data" / "my_data.jsonl"
    assert copied.read_bytes() == GOOD
    assert copied.stat().st_mode & 0o777 == 0o444


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with JobFolder.open(tmp_path) as folder, pytest.raises(OSError, match="directory"):
        folder.write("taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_job_without_datasets_gets_no_data_folder(tmp_path):
    assert datasetstore.link_into(tmp_path, "data", []) == []
    assert not (tmp_path / "data").exists()


# --- size -------------------------------------------------------------------------------------------


def test_a_large_upload_needs_little_memory():
    import tracemalloc

    row = lines(ROW | {"output": "x" * 1000})
    part = row * (datasets.PART_BYTES // len(row))
    size = len(part) * 4
    tracemalloc.start()
    stored_one = datasets.store(
        a_user(), name="large", filename="l.jsonl", size=size, chunks=(part for _ in range(4))
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored_one.rows == size // len(row)
    assert peak < 20 * 2**20


@pytest.mark.django_db(transaction=True)
def test_two_people_who_store_one_name_at_once_get_two_versions():
    first, second = a_user("first"), a_user("second")
    contents = {first: GOOD, second: GOOD[: len(GOOD) // 9]}
    results: list[Dataset] = []

    def upload(user):
        from django.db import connection

        try:
            results.append(stored(contents[user], user=user))
        finally:
            connection.close()

    threads = [threading.Thread(target=upload, args=(user,)) for user in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(dataset.version for dataset in results) == [1, 2]
