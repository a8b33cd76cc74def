"""The gate in front of YAML: what it lets through, what it refuses, and that nothing makes it slow or fall over."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.problems import TaskFileError
from jobs.core.taskfile import (
    CONFIG_LIMIT,
    TASK_FILE_LIMIT,
    parse_llamafactory_config,
    parse_task,
)
from jobs.core.yamlgate import MAX_DEPTH, MAX_EVENTS, read_document

GOOD = """\
task_id: finetune_qwen_001
priority: high
resources: {min_memory: 16G, gpu_type: A100}
env:
  NAME: "value \\u00e9"
command: |
  python src/train.py
"""

# 16 KiB each: the inputs that cost YAML readers most
HEAVY = {
    "flow depth on one line": "[" * TASK_FILE_LIMIT,
    "flow depth on many lines": "[\n" * (TASK_FILE_LIMIT // 2),
    "mapping depth": "{a: " * (TASK_FILE_LIMIT // 4),
    "block depth": "- " * (TASK_FILE_LIMIT // 2),
    "complex keys": "? " * (TASK_FILE_LIMIT // 2),
    "flat list": "[" + "a," * (TASK_FILE_LIMIT // 2 - 1),
    "many keys": "".join(f"k{at}: v\n" for at in range(1500)),
    "merge keys": "a: &a {b: c}\n" + "".join(f"x{at}: {{<<: [*a, *a]}}\n" for at in range(700)),
    "aliases": "a: &a [x]\n" + "b: [" + "*a," * 5000,
    "tags": "a: " + "!x " * 5000,
    "one long word": "a: " + "x" * 16000,
    "many words": "a: " + "x " * 8000,
    "folded lines": "a: " + "x\n  " * 4000,
    "escapes": 'a: "' + "\\x41" * 4000 + '"',
    "quotes": "a: '" + "''" * 8000 + "'",
    "unclosed quotes": 'a: "' + "x\n " * 5000,
    "blank lines in a block": "a: |\n" + "\n" * 16000,
    "spaces in a block": "a: |\n" + " " * 16000,
    "comments": "#\n" * 8000,
    "digits": "llamafactory: {a: " + "9" * 16000 + "}",
    "long key": '"' + "x " * 8000 + '": b',
    "line separators": "\u2028" * 5000 + "a: b",
    "directives": "%YAML 1.1\n" * 1500,
    "documents": "---\n" * 4000,
    "byte order marks": "\ufeff" * 5000,
}

yamlish = st.text(alphabet=" \n\t-:?[]{},&*!|>'\"%@`#abc01.~<\\\r\ufeff\x85é=+", max_size=200)


def refusal(text: str | bytes) -> str:
    with pytest.raises(TaskFileError) as caught:
        parse_task(text)
    return str(caught.value)


@pytest.mark.parametrize("heavy", HEAVY.values(), ids=HEAVY)
def test_no_input_of_the_allowed_size_takes_long(heavy):
    text = heavy.encode()[:TASK_FILE_LIMIT].decode(errors="ignore")
    assert min(seconds_for(text) for _ in range(3)) < 0.05


def seconds_for(text: str) -> float:
    begun = time.process_time()
    refusal(text)
    return time.process_time() - begun


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_task_file_error(raw):
    survives(raw)


@settings(max_examples=500)
@given(yamlish)
def test_no_text_that_looks_like_yaml_raises_anything_but_a_task_file_error(text):
    survives(text)


@settings(max_examples=300)
@given(st.integers(0, len(GOOD)), st.integers(0, 12), yamlish)
def test_no_damage_to_a_good_file_raises_anything_but_a_task_file_error(at, length, inserted):
    survives(GOOD[:at] + inserted[:8] + GOOD[at + length :])


def survives(source: str | bytes) -> None:
    for parse in (parse_task, parse_llamafactory_config):
        answer = answer_of(parse, source)
        problems = answer.problems if isinstance(answer, TaskFileError) else ()
        assert problems or not isinstance(answer, TaskFileError)
        assert all(each.message and each.hint for each in problems)


def answer_of(parse: Callable[[str | bytes], object], source: str | bytes) -> object:
    try:
        return parse(source)
    except TaskFileError as error:
        return error


def test_the_good_file_is_good():
    assert parse_task(GOOD).env == {"NAME": "value é"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the task file is empty"),
        ("# only a comment\n", "the task file is empty"),
        ("just words", "line 1: the task file is not a mapping"),
        ("- a\n- b", "line 1: the task file is not a mapping"),
        ("a: 1\na: 2\nb: 3\nb: 4", "'a' is given twice, in lines 1 and 2"),
        ("a: 1\na: 2\nb: 3\nb: 4", "'b' is given twice, in lines 3 and 4"),
        ("resources:\n  gpus: 1\n  gpus: 2", "line 3, resources.gpus: 'gpus' is given twice"),
        ("a: {b: 1, b: 2}", "'b' is given twice, in lines 1 and 1"),
        ("a: 1\n'a': 2", "'a' is given twice"),
        ("a: &x 1", "line 1: an anchor (&) is used"),
        ("\n\nb: *x", "line 3: an alias (*) is used"),
        ("a: !!int 1", "line 1: a tag (!) is used"),
        ("a: !!python/object/apply:os.system [id]", "line 1: a tag (!) is used"),
        ("%YAML 1.1\n---\na: 1", "line 1: a directive (%) is used"),
        ("<<: {a: 1}", "line 1: a merge key (<<) is used"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins"),
        ("? [a, b]\n: c", "a list or mapping is used as a key"),
        ("\ta: 1", "indent with spaces, never with tabs"),
        ("a: b: c", "put quotes around a value that contains ': '"),
        ("a: 'open", "close the quotes"),
        ("a: [1, 2", "close the brackets"),
        ("a: 1\nb\nc: 2", "each line needs a name, a colon and a space"),
        ('a: "\\UFFFFFFFF"', "cannot be read as YAML"),
        ('a: "\\ud800"', "line 1, a: the control character"),
        ('a: "\\0"', "line 1, a: the control character"),
        ('a: "\\e[31m"', "line 1, a: the control character"),
        ("a: b\x07", "not valid YAML: special characters are not allowed"),
        (b"a: \xff", "line 1: the task file is not UTF-8 text"),
        ("a: ü".encode("utf-16"), "is not UTF-8 text"),
        ("a: \ud800", "is not UTF-8 text"),
        ("a" * (TASK_FILE_LIMIT + 1), f"allowed are at most {TASK_FILE_LIMIT}"),
    ],
)
def test_what_a_task_file_has_no_use_for_is_refused_with_its_line_and_a_remedy(text, said):
    assert said in refusal(text)


def test_depth_is_allowed_up_to_the_limit():
    deepest = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert read_document(f"a: {deepest}", limit=TASK_FILE_LIMIT).entries
    with pytest.raises(TaskFileError, match="nested too deeply"):
        read_document(f"a: [{deepest}]", limit=TASK_FILE_LIMIT)


def test_the_number_of_parts_is_limited():
    def text(words: int) -> str:
        return "a: [" + "x, " * words + "]"

    spare = MAX_EVENTS - len(list(yaml.parse(text(0), Loader=yaml.SafeLoader)))
    assert read_document(text(spare), limit=TASK_FILE_LIMIT).entries
    with pytest.raises(TaskFileError, match="too many parts"):
        read_document(text(spare + 1), limit=TASK_FILE_LIMIT)


def test_the_size_is_counted_in_bytes():
    task = "task_id: a\nresources: {min_memory: 1G}\ncommand: echo "
    fill = TASK_FILE_LIMIT - len(task)
    assert parse_task(task + "x" * fill)
    assert "at most" in refusal(task + "x" * (fill - 1) + "é")


def test_a_training_config_may_be_larger():
    config = "a: b #" + "x" * (CONFIG_LIMIT - 6)
    assert parse_llamafactory_config(config) == {"a": "b"}
    with pytest.raises(TaskFileError, match="the training config has"):
        parse_llamafactory_config(config + "x")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm():
    assert parse_task(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == parse_task(GOOD)
