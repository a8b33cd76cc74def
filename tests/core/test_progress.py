"""Progress is read from a log that grows, breaks off, begins anew and repeats itself."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.progress import (
    Progress,
    ProgressFollower,
    clock_seconds,
    loss_points,
    parse_line,
)


def line(step: int, total: int = 100, **more: object) -> bytes:
    return json.dumps({"current_steps": step, "total_steps": total} | more).encode() + b"\n"


def followed(*feeds: tuple[float, bytes]) -> Progress:
    follower = ProgressFollower()
    for at, data in feeds:
        follower.feed(data, at)
    assert follower.progress is not None
    return follower.progress


def test_nothing_is_known_before_the_first_whole_line():
    follower = ProgressFollower()
    assert not follower.feed(b"", 0)
    assert not follower.feed(line(1)[:10], 1)
    assert follower.progress is None
    assert follower.feed(line(1)[10:], 2)
    assert follower.progress == Progress(step=1, total=100)
    assert follower.offset == len(line(1))


def test_the_values_of_a_line_are_taken_over():
    values = {"loss": 1.5, "lr": 0.001, "epoch": 0.5, "throughput": 12.5}
    progress = followed((0, line(10, **values)))
    assert progress.as_dict() == {"step": 10, "total": 100} | values


def test_the_last_line_of_a_run_keeps_the_loss_that_it_does_not_repeat():
    progress = followed((0, line(100, loss=0.7)), (1, line(100, epoch=3.0)))
    assert (progress.loss, progress.epoch, progress.eta_s) == (0.7, 3.0, 0.0)


def test_the_eta_comes_from_the_observed_rate():
    progress = followed(*((10.0 * number, line(number)) for number in range(1, 11)))
    assert progress.rate == pytest.approx(0.1)
    assert progress.eta_s == pytest.approx(900)


def test_the_remaining_time_of_the_log_is_ignored():
    feeds = ((float(at), line(at, remaining_time="9:59:59")) for at in (1, 2, 3))
    assert followed(*feeds).eta_s == pytest.approx(97)


def test_frozen_time_does_not_slow_the_rate():
    """The clock that is handed in stands still meanwhile; the log's own runs on."""
    feeds = [(1, line(1, elapsed_time="0:00:01")), (2, line(2, elapsed_time="0:00:02"))]
    frozen_for_an_hour = (3, line(3, elapsed_time="1:00:03"))
    assert followed(*feeds, frozen_for_an_hour).rate == pytest.approx(1.0)


def test_a_log_read_for_the_first_time_has_a_rate_at_once():
    data = b"".join(line(step, elapsed_time=f"0:00:{step // 2:02d}") for step in range(10, 100, 10))
    assert followed((0, data)).rate == pytest.approx(2.0)


def test_a_resumed_run_is_measured_anew():
    """Elapsed time begins at 0 again while the steps go on: the truth is 0.5 steps a second."""
    before = b"".join(line(step, elapsed_time=f"0:{step:02d}:00") for step in range(1, 50))
    after = line(50, elapsed_time="0:00:02") + line(51, elapsed_time="0:00:04")
    assert followed((0, before + after)).rate == pytest.approx(0.5)


def test_steps_that_repeat_after_a_resume_count_from_the_checkpoint():
    progress = followed((1, line(50, loss=1.0)), (2, line(51)), (5, line(41)), (6, line(42)))
    assert (progress.step, progress.loss) == (42, None)
    assert progress.rate == pytest.approx(1.0)


def test_a_log_that_begins_anew_is_read_from_its_beginning():
    follower = ProgressFollower()
    follower.feed(line(90, loss=1.0) + b'{"current', 1)
    follower.start_over()
    assert follower.offset == 0
    follower.feed(line(1, loss=5.0), 2)
    assert follower.progress is not None
    assert (follower.progress.step, follower.progress.loss) == (1, 5.0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"current_steps": "three"}',
        b'{"current_steps": -1}',
        b'{"current_steps": true}',
        b"[" * 100_000,
        b'{"current_steps": 1, "x": "' + b"x" * 100_000 + b'"}',
    ],
)
def test_lines_that_say_nothing_are_skipped(raw):
    assert followed((0, line(7) + raw + b"\n")).step == 7


def test_a_loss_that_is_no_number_is_not_known():
    raw = b'{"current_steps": 3, "total_steps": 9, "loss": NaN, "lr": Infinity}\n'
    assert followed((0, raw)).as_dict() == {"step": 3, "total": 9}


def test_only_a_change_is_reported():
    follower = ProgressFollower()
    assert follower.feed(line(1, loss=1.0), 0)
    assert not follower.feed(line(1, loss=1.0), 1)
    assert not follower.feed(b"", 2)


@given(st.lists(st.integers(0, 200), max_size=30), st.integers(1, 50))
def test_it_does_not_matter_how_the_log_is_cut(steps, size):
    data = b"".join(line(step, loss=step / 7) for step in steps)
    whole, cut = ProgressFollower(), ProgressFollower()
    whole.feed(data, 0)
    for start in range(0, len(data), size):
        cut.feed(data[start : start + size], 0)
    assert cut.offset == whole.offset == len(data)
    assert (cut.progress and cut.progress.step) == (whole.progress and whole.progress.step)
    assert (cut.progress and cut.progress.loss) == (whole.progress and whole.progress.loss)


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data):
    follower = ProgressFollower()
    follower.feed(data, 0)
    assert follower.offset == len(data)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:00:05", 5),
        ("12:34:56", 45296),
        ("1 day, 0:00:01", 86401),
        ("2 days, 3:04:05", 183845),
        ("soon", None),
        ("1:2", None),
        (7, None),
    ],
)
def test_clocks_are_read_as_python_writes_them(text, seconds):
    assert clock_seconds(text) == seconds


# --- the loss curve ---------------------------------------------------------------------------------


def test_the_curve_is_drawn_by_step_and_the_latest_line_counts():
    lines = [line(1, loss=3.0), line(3, loss=9.0), line(2, loss=2.0), line(3, loss=1.0)]
    assert [(point.step, point.loss) for point in loss_points(lines)] == [
        (1, 3.0),
        (2, 2.0),
        (3, 1.0),
    ]


def test_an_evaluation_belongs_to_the_step_that_was_trained():
    (point,) = loss_points([line(5, loss=1.0, elapsed_time="0:00:09"), line(5, eval_loss=1.5)])
    assert (point.loss, point.eval_loss, point.elapsed_s) == (1.0, 1.5, 9.0)


def test_lines_without_a_measure_are_no_points():
    assert loss_points([line(5, epoch=1.0), b"{half a li"]) == []


def test_only_later_points_are_asked_for():
    lines = [line(step, loss=1.0) for step in range(10)]
    assert [point.step for point in loss_points(lines, after=7)] == [8, 9]


def test_a_long_curve_is_thinned_and_keeps_its_ends_and_its_peak():
    lines = [
        line(step, loss=100.0 if step == 3333 else 1.0 + step % 7 / 10) for step in range(10_000)
    ]
    points = loss_points(lines, limit=100)
    steps = [point.step for point in points]
    assert len(points) == 100
    assert steps[0] == 0
    assert steps[-1] == 9999
    assert 3333 in steps
    assert steps == sorted(steps)


@given(st.integers(4, 300), st.integers(0, 120))
def test_thinning_never_returns_more_than_was_asked_for(count, limit):
    points = loss_points([line(step, loss=step**0.5) for step in range(count)], limit=limit)
    assert len(points) == min(count, max(limit, 3))


def test_a_line_is_an_object():
    assert parse_line(b'{"a": 1}') == {"a": 1}
    assert parse_line(b"3") is None
