"""A dataset is refused with the row and the field, exactly where LLaMA-Factory would stop or drop a row."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.datasetcheck import MOST_PROBLEMS, DatasetReport, check

ALPACA = {"instruction": "Add 1 and 2.", "input": "", "output": "3"}
SHAREGPT = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
OPENAI = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]}
TOOL_CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def checked(content: bytes | str, extension: str = "jsonl", **options: str) -> DatasetReport:
    raw = content.encode() if isinstance(content, str) else content
    return check([raw], extension, **options)


def problem(content: bytes | str, extension: str = "jsonl", **options: str) -> str:
    found = checked(content, extension, **options).problems
    assert len(found) == 1, [str(one) for one in found]
    return str(found[0])


@pytest.mark.parametrize(
    ("row", "name"), [(ALPACA, "alpaca"), (SHAREGPT, "sharegpt"), (OPENAI, "openai")]
)
@pytest.mark.parametrize("extension", ["json", "jsonl"])
def test_each_format_is_recognised_in_lines_and_in_a_list(row, name, extension):
    for content in (lines(row, row, row), json.dumps([row, row, row], indent=2).encode()):
        report = checked(content, extension)
        assert (report.ok, report.format, report.rows) == (True, name, 3)
        assert report.columns == tuple(row)


def test_the_first_rows_are_shown_shortened():
    rows = [ALPACA | {"instruction": str(number) * 1000} for number in range(9)]
    report = checked(lines(*rows))
    assert len(report.preview) == 5
    assert len(report.preview[0]["instruction"]) < 400


def test_csv_rows_are_alpaca():
    report = checked('instruction,input,output\n"two\nlines",,"say ""x"""\nb,c,d\n', "csv")
    assert (report.ok, report.rows, report.format) == (True, 2, "alpaca")
    assert report.preview[0] == {"instruction": "two\nlines", "input": None, "output": 'say "x"'}


# --- alpaca -----------------------------------------------------------------------------------------


def test_a_number_where_text_is_expected_names_the_row_and_the_field():
    found = problem(lines(ALPACA, ALPACA, ALPACA | {"output": 7}))
    assert found == "row 3, field 'output': expected text, got a number (7)"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"output": None}, "row 1, field 'output': expected text, got null"),
        ({"instruction": ["a"]}, "row 1, field 'instruction': expected text, got a list"),
        ({"input": 1.5}, "row 1, field 'input': expected text, got a number (1.5)"),
        ({"system": True}, "row 1, field 'system': expected text, got true"),
        (
            {"history": "earlier"},
            "row 1, field 'history': expected a list of [question, answer] pairs, got text ('earlier')",
        ),
        (
            {"history": [["q", "a"], ["q"]]},
            "row 1, field 'history[1]': expected two texts, [question, answer], got a list",
        ),
        ({"kto_tag": "yes"}, "row 1, field 'kto_tag': expected true or false, got text ('yes')"),
    ],
)
def test_a_wrong_value_in_an_alpaca_row_is_named(change, sentence):
    assert problem(lines(ALPACA | change)) == sentence


def test_a_row_without_its_answer_is_named():
    assert (
        problem(lines(ALPACA, {"instruction": "a"}))
        == "row 2, field 'output': expected text, but the row has no such field"
    )


def test_an_empty_second_part_of_the_prompt_may_be_null_or_absent():
    assert checked(lines(ALPACA | {"input": None}, {"instruction": "a", "output": "b"})).ok


def test_pairs_of_answers_need_no_output():
    pair = {"instruction": "a", "chosen": "good", "rejected": "bad"}
    assert checked(lines(pair)).ok
    assert problem(lines(pair | {"rejected": None})).startswith("row 1, field 'rejected'")


def test_plain_texts_for_pretraining_are_accepted():
    assert checked(lines({"text": "once"}, {"text": "upon"})).ok


def test_columns_that_fit_no_format_are_refused_once_for_all_rows():
    found = problem(lines({"a": 1}, {"a": 2}))
    assert found.startswith("row 1: the columns fit no format; expected 'instruction'")
    assert found.endswith("got a")


def test_a_question_without_an_answer_column_is_refused():
    assert "no column 'output'" in problem(lines({"instruction": "a"}, {"instruction": "b"}))


def test_two_names_for_one_role_are_refused():
    found = problem(lines({"prompt": "a", "output": "b"}, ALPACA))
    assert (
        found == "row 2, field 'instruction': earlier rows call this column 'prompt'; use one name"
    )


# --- chats ------------------------------------------------------------------------------------------


def sharegpt(*turns: str, **more: object) -> dict:
    return {"conversations": [{"from": turn, "value": "x"} for turn in turns], **more}


@pytest.mark.parametrize(
    "turns",
    [
        ("human", "gpt", "human", "gpt"),
        ("system", "human", "gpt"),
        ("human", "function_call", "observation", "gpt"),
    ],
)
def test_sides_that_take_turns_are_accepted(turns):
    assert checked(lines(sharegpt(*turns))).ok


@pytest.mark.parametrize(
    ("turns", "sentence"),
    [
        (("gpt", "human"), "field 'conversations[0].from': expected human or observation here"),
        (("human", "human"), "field 'conversations[1].from': expected gpt or function_call here"),
        (("human", "gpt", "system", "gpt"), "field 'conversations[2].from': expected human or"),
        (("human",), "field 'conversations': the conversation must end with a message of gpt"),
        ((), "field 'conversations': the conversation must end"),
        (("human", "assistant"), "field 'conversations[1].from': expected one of human, gpt,"),
    ],
)
def test_a_conversation_that_would_be_dropped_is_named(turns, sentence):
    assert sentence in problem(lines(SHAREGPT, sharegpt(*turns)))


def test_a_message_without_text_is_named():
    broken = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": None}]}
    assert (
        problem(lines(SHAREGPT, broken))
        == "row 2, field 'conversations[1].value': expected text, got null"
    )


def test_a_message_that_is_no_object_is_named():
    found = problem(lines({"conversations": ["hi"]}), dataset_format="sharegpt")
    assert "field 'conversations[0]': expected an object with 'from' and 'value'" in found


def test_a_ranking_conversation_ends_with_the_question():
    answer = {"from": "gpt", "value": "x"}
    ranked = sharegpt("human", chosen=answer, rejected=answer)
    assert checked(lines(ranked)).ok
    assert "field 'chosen.from'" in problem(
        lines(ranked | {"chosen": {"from": "human", "value": "x"}})
    )
    assert "must end with a message of human" in problem(
        lines(sharegpt("human", "gpt", chosen=answer, rejected=answer))
    )


def test_tool_calls_need_the_tools():
    called = {"messages": [OPENAI["messages"][0], TOOL_CALL]}
    assert "a tool call needs a column 'tools'" in problem(lines(called))
    assert checked(lines(called | {"tools": "[]"})).ok


def test_several_answers_of_tools_are_one_turn():
    tool = {"role": "tool", "content": "42"}
    turns = [OPENAI["messages"][0], TOOL_CALL, tool, tool, OPENAI["messages"][1]]
    assert checked(lines({"messages": turns, "tools": "[]"})).ok


def test_a_named_format_is_held_against_the_rows():
    assert "no column 'conversations'" in problem(lines(ALPACA), dataset_format="sharegpt")


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["json", "jsonl"])
@pytest.mark.parametrize("content", ["", " \n\n", "[]", "[ ]\n"])
def test_a_file_without_rows_is_refused(extension, content):
    assert problem(content, extension) == "there are no rows; a dataset needs at least one"


def test_a_csv_file_with_only_a_header_is_refused():
    assert "there are no rows" in problem("instruction,input,output\n", "csv")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"instruction": "a", ', "row 1: not valid JSON"),
        (lines(ALPACA) + b"oops\n", "row 2: not valid JSON: Expecting value at character 1"),
        ("{\n", "row 1: an object must stand on one line"),
        (
            lines(ALPACA) + b'["a"]\n',
            "row 2: expected an object with the columns as keys, got a list",
        ),
        ('{"instruction":"a","instruction":"b"}', "the key 'instruction' appears twice"),
        ('{"instruction":"\\ud800","output":"x"}', "half of a character"),
        ("[" * 100_000, "row 1: the value is nested too deeply"),
        ('{"a":' * 100_000, "row 1: the value is nested too deeply"),
        ('{"a":' + "9" * 5000 + "}", "row 1: not valid JSON"),
    ],
)
def test_broken_lines_are_refused_with_the_row(content, sentence):
    assert sentence in problem(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[{}]", "row 1: expected an object with the columns as keys, got an empty one"),
        ("[1, 2", "expected ',' or ']' after the row, got the end of the file"),
        (json.dumps([ALPACA])[:-5], "row 1: not valid JSON: the file ends inside this row"),
        (json.dumps([ALPACA]) + "x", "row 1: there is text after the closing ']'"),
        (json.dumps([ALPACA, ALPACA])[:-1] + ",]", "row 2: there is a ',' before the"),
        (b"\xef\xbb\xbf" + json.dumps([ALPACA]).encode(), "save the file as UTF-8 without BOM"),
        (json.dumps([ALPACA]).encode("utf-16"), "the file is UTF-16; allowed is UTF-8"),
        (b"PK\x03\x04....", "the file is a zip archive"),
    ],
)
def test_a_broken_list_is_refused_with_the_row(content, sentence):
    found = checked(content, "json").problems
    assert any(sentence in str(one) for one in found), [str(one) for one in found]


def test_a_byte_order_mark_before_lines_is_accepted():
    assert checked(b"\xef\xbb\xbf" + lines(ALPACA)).ok


def test_another_encoding_is_named_with_the_row():
    row = json.dumps(ALPACA | {"output": "中文数据"}, ensure_ascii=False)
    found = problem(lines(ALPACA) + row.encode("gb18030"))
    assert found.startswith("row 2: byte 0xd6 is not UTF-8; it looks like GB18030")
    table = "instruction,output\n指令,输出文字\n".encode("gb18030")
    assert "is not UTF-8; it looks like GB18030" in problem(table, "csv")
    assert "GB18030" not in problem(b'{"instruction":"caf\xe9","output":"x"}\n')


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("instruction,output\na,b,c\n", "row 1: 3 cells, but the header has 2"),
        ("instruction,output,output\na,b,c\n", "field 'output': the column appears twice"),
        ("instruction;output\na;b\n", "separate the columns with commas"),
        ("instruction,,output\na,b,c\n", "a column without a name"),
        ('instruction,output\n"a,b\n', "row 1: not valid CSV"),
        (
            "instruction,output\na,b\nc,\n",
            "row 2, field 'output': expected text, got an empty cell",
        ),
        ("instruction,output\na,None\nb,c\n", "got 'None', which LLaMA-Factory reads as an empty"),
        ("instruction,output\na,1\nb,2\n", "field 'output': every value is a number"),
        ("conversations\nx\n", "row 1, field 'conversations': expected a list of messages"),
    ],
)
def test_a_broken_table_is_refused(content, sentence):
    assert sentence in problem(content, "csv")


def test_numbers_in_some_cells_of_a_table_are_text():
    assert checked("instruction,output\na,1\nb,two\n", "csv").ok


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ({"id": 1}, {"id": "x"}, "row 2, field 'id': text here, but a number in row 1"),
        ({"ok": True}, {"ok": 1}, "row 2, field 'ok': a number here, but true or false in row 1"),
        ({"m": {"a": 1}}, {"m": {"a": "x"}}, "row 2, field 'm.a': text here, but a number"),
        ({"m": [1]}, {"m": ["x"]}, "row 2, field 'm[]': text here, but a number in row 1"),
        ({"m": [1]}, {"m": {"a": 1}}, "row 2, field 'm': an object here, but a list in row 1"),
    ],
)
def test_a_column_that_changes_its_type_is_refused(first, second, sentence):
    assert sentence in problem(lines(ALPACA | first, ALPACA | second))


def test_null_whole_numbers_and_fractions_go_together():
    assert checked(lines(*(ALPACA | {"id": value} for value in (None, 1, 1.5, None)))).ok


def test_the_check_ends_after_twenty_problems():
    report = checked(lines(*[ALPACA | {"output": 1}] * 1000))
    assert (len(report.problems), report.rows, report.stopped) == (MOST_PROBLEMS, 20, True)


def test_rows_whose_keys_are_values_are_refused():
    found = problem(lines(ALPACA, ALPACA | {f"k{number}": 1 for number in range(300)}))
    assert "more than 256 columns" in found


def test_an_unknown_file_type_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="allowed are json, jsonl, csv"):
        check([b""], "parquet")


# --- size -------------------------------------------------------------------------------------------


def many_rows(count: int, *, as_list: bool):
    row = json.dumps(ALPACA | {"output": "x" * 2000}).encode()
    yield b"[" if as_list else b""
    for number in range(count):
        yield row + (b"\n" if not as_list else b"," if number < count - 1 else b"]")


@pytest.mark.parametrize("as_list", [False, True])
def test_memory_does_not_grow_with_the_file(as_list):
    tracemalloc.start()
    report = check(many_rows(5000, as_list=as_list), "jsonl")  # 10 MB
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (report.ok, report.rows) == (True, 5000)
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "start", [b'{"instruction": "', b'[{"instruction": "', b'instruction,output\n"']
)
def test_a_row_without_end_is_refused_at_sixteen_mebibytes(start):
    def endless():
        yield start
        while True:
            yield b"x" * 2**20

    report = check(endless(), "csv" if start.startswith(b"instr") else "json")
    assert "row 1" in str(report.problems[0])
    assert "larger" in str(report.problems[0])


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["instruction", "output", "é"]), st.text()), max_size=5
    ),
    st.integers(min_value=1, max_value=40),
    st.booleans(),
)
def test_the_result_does_not_depend_on_how_the_bytes_arrive(rows, size, as_list):
    text = json.dumps(rows, ensure_ascii=False) if as_list else "\n".join(map(json.dumps, rows))
    raw = text.encode("utf-8", "surrogatepass")
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    assert check(pieces, "json") == check([raw], "json")


@given(st.binary(max_size=200), st.sampled_from(["json", "jsonl", "csv"]))
def test_any_bytes_get_a_report(raw, extension):
    report = check([raw], extension)
    assert report.ok or report.problems
