from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.units import (
    DAY,
    GIB,
    HOUR,
    MIB,
    TIB,
    UnitError,
    format_duration,
    format_need,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16G", 16 * GIB),
        ("16g", 16 * GIB),
        ("16GiB", 16 * GIB),
        ("16 GiB", 16 * GIB),
        (" 16G ", 16 * GIB),
        ("512M", 512 * MIB),
        ("2T", 2 * TIB),
        ("1.5G", 3 * GIB // 2),
        ("0.000000001M", 1),
        ("1024T", 1024 * TIB),
    ],
)
def test_a_size_is_read_in_binary_units(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("16", "has no unit"),
        ("16GB", "unknown unit 'GB'"),
        ("16K", "unknown unit 'K'"),
        ("", "is not a size"),
        ("G", "is not a size"),
        ("-1G", "is not a size"),
        ("1e3G", "is not a size"),
        ("١G", "is not a size"),
        ("1025T", "too large"),
        ("9" * 5000 + "G", "is not a size"),
    ],
)
def test_a_size_that_is_not_clear_is_refused_with_what_is_allowed(text, said):
    with pytest.raises(UnitError, match=said) as caught:
        parse_size(text)
    assert "allowed" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("30m", 1800), ("4h", 14400), ("2d", 2 * DAY), ("1h30m", 5400), ("0.5h", 1800)],
)
def test_a_duration_is_read_in_seconds(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["90", "", "h", "30m1h", "1h1h", "-1h", "1w", "4 h", "3651d", "1e3s"]
)
def test_a_duration_that_is_not_clear_is_refused_with_what_is_allowed(text):
    with pytest.raises(UnitError, match="allowed"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (16 * GIB, "16 GiB"),
        (3 * GIB // 2, "1.5 GiB"),
        (512 * MIB, "512 MiB"),
        (GIB - 1, "1 GiB"),
        (2 * TIB, "2 TiB"),
        (1536, "1.5 KiB"),
        (7, "7 B"),
        (0, "0 B"),
    ],
)
def test_a_size_is_written_for_people(size, expected):
    assert format_size(size) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"),
        (38.4, "38s"),
        (59.7, "1m"),
        (65, "1m05s"),
        (8040, "2h14m"),
        (HOUR, "1h"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (-90, "-1m30s"),
    ],
)
def test_a_duration_is_written_in_its_two_largest_units(seconds, expected):
    assert format_duration(seconds) == expected


@given(st.integers(1, 1024 * TIB))
def test_a_written_size_reads_back_as_nearly_the_same(size):
    if size >= MIB:
        assert parse_size(format_size(size, digits=3)) == pytest.approx(size, rel=1e-3)


@given(st.integers(0, 1024 * TIB), st.integers(0, 1024 * TIB))
def test_two_sizes_that_differ_never_read_the_same(one, other):
    texts = format_need(one, other)
    assert (texts[0] == texts[1]) is (one == other)


@given(st.text("0123456789.smhdGMTiB -e", max_size=12) | st.text(max_size=30))
def test_no_text_raises_anything_but_a_unit_error(text):
    for parse in (parse_size, parse_duration):
        with contextlib.suppress(UnitError):
            assert parse(text) >= 0
