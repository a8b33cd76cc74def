"""The Chinese catalogue is whole: no text of the sources is missing, untranslated, unsure, or without placeholders."""

from __future__ import annotations

import gettext
import os
import re
import shutil
from pathlib import Path

import pytest
from django.core.management import call_command

from tests import catalogue

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "locale/zh_Hans/LC_MESSAGES"
SOURCES = ("coop_site", "gpus", "jobs", "llama_factory", "templates")
PLACEHOLDER = re.compile(r"%\(\w+\)[-+.\d]*[a-zA-Z]|%[-+.\d]*[sdfg]|\{\w*\}")
HELP = "Run `make messages`, translate, and run it again."


@pytest.fixture(scope="module")
def entries():
    return catalogue.read(FOLDER / "django.po")


@pytest.fixture(scope="module")
def compiled():
    with (FOLDER / "django.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


@pytest.mark.skipif(
    shutil.which("xgettext") is None and "CI" not in os.environ,
    reason="needs xgettext (Debian: gettext) to read the texts out of the sources",
)
def test_every_text_of_the_sources_is_in_the_catalogue(entries, tmp_path, monkeypatch, settings):
    for name in SOURCES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "locale").mkdir()
    settings.LOCALE_PATHS = [tmp_path / "locale"]
    monkeypatch.chdir(tmp_path)
    call_command("makemessages", locale=["zh_Hans"], no_wrap=True, verbosity=0)
    found = catalogue.read(tmp_path / "locale/zh_Hans/LC_MESSAGES/django.po")
    assert len(found) > 1000
    assert sorted({entry.key for entry in found} - {entry.key for entry in entries}) == [], HELP


def test_every_entry_is_translated_and_sure(entries):
    assert entries
    assert [e.key for e in entries if not all(e.translations) or not e.translations] == [], HELP
    assert [e.key for e in entries if "fuzzy" in e.flags] == [], HELP


def test_every_translation_has_the_placeholders_of_its_text(entries):
    wrong = [
        (entry.parts["msgid"], text)
        for entry in entries
        for text in entry.translations
        if _placeholders(text) != _placeholders(entry.parts.get("msgid_plural", entry.key[1]))
    ]
    assert wrong == []


def test_what_is_compiled_is_what_was_translated(entries, compiled):
    assert len(entries) > 1000
    assert [e.key for e in entries if _compiled(compiled, e) != e.translations[0]] == [], HELP


def _compiled(compiled, entry):
    context, text = entry.key
    plural = entry.parts.get("msgid_plural")
    if context:
        return compiled.pgettext(context, text)
    return compiled.ngettext(text, plural, 2) if plural else compiled.gettext(text)


def _placeholders(text):
    return set(PLACEHOLDER.findall(text.replace("%%", "")))
