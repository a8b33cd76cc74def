"""What the content security policy and the translators need of every template."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted(path for path in (ROOT / "static/js").rglob("*.js"))
NAMES = [path.relative_to(ROOT / "templates").as_posix() for path in TEMPLATES]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_compiles(name):
    assert get_template(name)


@pytest.mark.parametrize("path", TEMPLATES, ids=NAMES)
def test_a_template_has_nothing_inline(path):
    text = path.read_text()
    assert not re.search(r"\sstyle=", text)
    assert not re.search(r"\son\w+=", text)
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert "javascript:" not in text


@pytest.mark.parametrize("path", TEMPLATES, ids=NAMES)
def test_a_template_loads_nothing_from_elsewhere(path):
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", path.read_text())


@pytest.mark.parametrize("path", TEMPLATES, ids=NAMES)
def test_a_sentence_of_a_template_can_be_translated(path):
    text = re.sub(
        r"\{% (?:blocktranslate|comment).*?%\}.*?\{% end\w+ %\}",
        "",
        path.read_text(),
        flags=re.DOTALL,
    )
    text = re.sub(r"<(pre|script|title|svg|code)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"\{[%{#].*?[%}#]\}|<[^>]*>|&\w+;", "\n", text, flags=re.DOTALL)
    words = {line.strip() for line in text.split("\n") if re.search(r"[A-Za-z]{3}", line)}
    assert words <= NAMES_THAT_STAY, words


NAMES_THAT_STAY = {
    "page-narrow",
    "page-signin",
    "llama-coop",
    "task_id",
    "SHA-256",
    "sha256",
    "LLaMA-Factory",
    "resources.min_memory",
    "command",
    "resources.gpu_type",
    "priority",
    "· llama-coop",
    "gpu",
    "GiB",
    "/ gpu",
}


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_a_script_writes_markup_in_one_known_place_only(path):
    text = path.read_text()
    assert "eval(" not in text
    assert text.count("innerHTML") == (1 if path.name == "log.js" else 0)
