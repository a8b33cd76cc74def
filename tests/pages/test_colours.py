"""The palettes keep the contrast that WCAG 2.2 AA asks for, in both themes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSS = Path(__file__).resolve().parents[2] / "static/css"
TOKENS = (CSS / "tokens.css").read_text()
TEXTS = ("text", "muted", "faint", "accent", "accent-strong")
STATES = tuple(f"state-{name}" for name in ("queued", "running", "paused", "succeeded", "failed"))


def theme(selector: str) -> dict[str, str]:
    block = TOKENS.split(f"{selector} {{", 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


LIGHT, DARK = theme('[data-bs-theme="light"]'), theme('[data-bs-theme="dark"]')


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", TEXTS + STATES)
def test_a_text_is_readable_on_every_ground(colours, name):
    for ground in ("surface", "ground", "sunken", "hover"):
        assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_a_text_on_a_wash_is_readable(colours):
    for text, wash in (
        ("state-failed", "wash-failed"),
        ("state-paused", "wash-paused"),
        ("accent", "accent-wash"),
    ):
        assert contrast(colours[text], colours[wash]) >= 4.5
        assert contrast(colours["muted"], colours[wash]) >= 4.5


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_a_job_stands_out_from_its_card(colours):
    for name in (*(f"job-{slot}" for slot in range(1, 9)), "job-other", "foreign"):
        assert contrast(colours[name], colours["surface"]) >= 3, name


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_the_words_on_the_main_button_are_readable(colours):
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert contrast(colours["on-accent"], colours["accent-strong"]) >= 4.5


def test_no_other_file_names_a_colour():
    allowed = {"#0f172a", "#fde68a", "#fbbf24"}  # the marks of a search, the same in both themes
    for path in CSS.glob("*.css"):
        if path.name != "tokens.css":
            found = set(re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;\s])", path.read_text()))
            assert found <= allowed, path.name
