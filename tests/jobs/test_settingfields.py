"""The settings as fields: every one explained, its kind told from its own check, its text read back as its value."""

from __future__ import annotations

import pytest

from jobs import settingfields, sitesettings
from jobs.settingfields import Kind
from jobs.settingwords import WORDS

pytestmark = pytest.mark.django_db


def test_every_setting_is_explained_and_nothing_else_is():
    assert sorted(WORDS) == sorted(sitesettings.NAMES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mode", Kind.CHOICE),
        ("placement", Kind.CHOICE),
        ("preemption", Kind.SWITCH),
        ("open_queue", Kind.SWITCH),
        ("max_workers", Kind.NUMBER),
        ("memory_threshold", Kind.NUMBER),
        ("save_grace_seconds", Kind.NUMBER),
        ("policy", Kind.TEXT),
        ("log_dir", Kind.TEXT),
    ],
)
def test_the_kind_is_told_from_what_the_check_accepts(name, kind):
    assert settingfields.kind_of(name) is kind


@pytest.mark.parametrize("name", sitesettings.NAMES)
def test_a_default_is_read_back_as_it_was(name):
    value = sitesettings.default_of(name)
    assert settingfields.value_of(name, settingfields.text_of(value)) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_workers", " 5 ", 5),
        ("max_workers", "", None),
        ("memory_threshold", "0.8", 0.8),
        ("open_queue", "", None),
        ("open_queue", "true", True),
        ("preemption", "false", False),
        ("log_dir", "/srv/logs", "/srv/logs"),
        ("policy", "", ""),
        ("mode", "exclusive", "exclusive"),
    ],
)
def test_a_text_is_the_value_that_it_says(name, text, value):
    assert settingfields.value_of(name, text) == value
    assert sitesettings.accepts(name, value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("max_workers", "many"), ("preemption", "perhaps"), ("min_run_minutes", ""), ("mode", "")],
)
def test_a_text_that_says_nothing_of_the_kind_is_for_the_check_to_refuse(name, text):
    assert not sitesettings.accepts(name, settingfields.value_of(name, text))
