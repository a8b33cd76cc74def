"""Our row check and LLaMA-Factory's own loader agree on what can be used to the last row."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from jobs.core.datasetcheck import check
from jobs.core.datasetformats import dataset_entry
from jobs.trainer import find_trainer

pytestmark = pytest.mark.llamafactory

A = {"instruction": "Add 1 and 2.", "input": "", "output": "3"}
Q, R = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}
U, S = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
}
TOOL = {"role": "tool", "content": "42", "tool_calls": None}


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


ACCEPTED = {
    "alpaca.jsonl": lines(A, A | {"input": None}),
    "alpaca_list.json": json.dumps([A, A], indent=1),
    "alpaca_without_input.jsonl": lines({"instruction": "a", "output": "b"}),
    "other_names.jsonl": lines({"prompt": "a", "completion": "b"}),
    "history.jsonl": lines(A | {"history": [["q", "a"]]}, A | {"history": []}),
    "system.jsonl": lines(A | {"system": "Be brief."}, A | {"system": None}),
    "ranking.jsonl": lines({"instruction": "a", "chosen": "b", "rejected": "c"}),
    "kto.jsonl": lines(A | {"kto_tag": True}, A | {"kto_tag": False}),
    "extra_column.jsonl": lines(A | {"id": 1}, A | {"id": 2.5}, A | {"id": None}),
    "table.csv": 'instruction,input,output\n"a, b",,"say ""x"""\nc,d,e\n',
    "sharegpt.jsonl": lines({"conversations": [Q, R, Q, R]}, {"conversations": [Q, R]}),
    "sharegpt_system.jsonl": lines({"conversations": [{"from": "system", "value": "s"}, Q, R]}),
    "sharegpt_ranking.jsonl": lines({"conversations": [Q], "chosen": R, "rejected": R}),
    "openai.jsonl": lines(
        {"messages": [U, S]}, {"messages": [{"role": "system", "content": "s"}, U, S]}
    ),
    "openai_tools.jsonl": lines({"messages": [U, CALL, TOOL, TOOL, S], "tools": "[]"}),
    "chinese.jsonl": lines(A | {"instruction": "把一和二相加。", "output": "三"}),
    "mark.jsonl": "\ufeff" + lines(A),
    "cut_lines.jsonl": lines(A).replace("\n", "\r\n\n"),
}

REFUSED = {
    "number.jsonl": lines(A, A | {"output": 3}),
    "null_output.jsonl": lines(A, A | {"output": None}),
    "changing_type.jsonl": lines(A | {"id": 1}, A | {"id": "x"}),
    "twice.jsonl": '{"instruction":"a","instruction":"b","input":"","output":"c"}\n',
    "surrogate.jsonl": '{"instruction":"\\ud800","input":"","output":"c"}\n',
    "mark.json": "\ufeff" + json.dumps([A]),
    "comma.json": json.dumps([A])[:-1] + ",]",
    "wrong_turn.jsonl": lines({"conversations": [Q, R]}, {"conversations": [R, Q]}),
    "no_answer.jsonl": lines({"conversations": [Q, R]}, {"conversations": [Q]}),
    "empty_cell.csv": "instruction,input,output\na,,b\nc,,\n",
    "none_cell.csv": "instruction,input,output\na,,b\nc,,None\n",
    "numbers.csv": "instruction,input,output\na,,1\nb,,2\n",
    "ragged.csv": "instruction,input,output\na,,b\na,,b,c\n",
}


def usable_rows(folder: Path, files: dict[str, str]) -> dict[str, int]:
    info = {}
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
        report = check([content.encode()], name.rpartition(".")[2])
        columns = report.columns or ("instruction", "input", "output")
        info[name] = dataset_entry(name, report.format or "alpaca", columns)
    (folder / "dataset_info.json").write_text(json.dumps(info))
    python = Path(find_trainer().folder) / "python"
    script = Path(__file__).with_name("convert.py")
    done = subprocess.run(
        [python, script, folder],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_OFFLINE": "1"},
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_llamafactory_uses_every_row_of_what_is_accepted(tmp_path):
    reports = {
        name: check([content.encode()], name.rpartition(".")[2])
        for name, content in ACCEPTED.items()
    }
    assert not {name: str(report.problems[0]) for name, report in reports.items() if not report.ok}
    expected = {name: report.rows for name, report in reports.items()}
    assert usable_rows(tmp_path, ACCEPTED) == expected


def test_llamafactory_does_not_use_every_row_of_what_is_refused(tmp_path):
    reports = {
        name: check([content.encode()], name.rpartition(".")[2])
        for name, content in REFUSED.items()
    }
    assert not [name for name, report in reports.items() if report.ok]
    used = usable_rows(tmp_path, REFUSED)
    whole = {name: len(content.strip().splitlines()) for name, content in REFUSED.items()}
    assert not [name for name, rows in used.items() if rows >= whole[name]]
