from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.jobspec import JobSpec, Resources, checked_spec
from jobs.core.problems import TaskFileError
from jobs.core.states import Priority
from jobs.core.taskfile import parse_llamafactory_config, parse_task, task_schema
from jobs.core.units import GIB, MIB

ARTICLE = """\
task_id: finetune_qwen_001
priority: high            # low | medium | high
resources:
  min_memory: 16G         # per GPU, GiB
  gpu_type: A100          # matches the card's model name
command: |
  python src/train.py --model qwen-7b --method lora --dataset my_data
"""

EVERYTHING = """\
task_id: full.example-1
project: vision
priority: Low
resources:
  min_memory: 1.5G
  gpu_type: A100-80G
  gpus: 4
  nodes: 2
  exclusive: true
command: torchrun train.py
dataset: my_data
workdir: /srv/code
launcher: torchrun
env:
  EMPTY:
  HF_HUB_OFFLINE: 1
  FLAG: no
time_limit: 2d
est_time: 1h30m
preemptible: false
max_attempts: 5
retry_on: [lost, oom, lost]
depends_on: prepare_data
notify:
  - ana@example.org
"""

LLAMAFACTORY = """\
task_id: sft
resources: {min_memory: 24G}
llamafactory:
  model_name_or_path: Qwen/Qwen2.5-7B
  stage: sft
  do_train: true
  learning_rate: 1.0e-4
  num_train_epochs: 3
  warmup_ratio: .1
  save_strategy: no
  quantization_bit: null
  tag: '8'
  lora_target: [q_proj, v_proj]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(TaskFileError) as caught:
        parse_task(text)
    return [str(each) for each in caught.value.problems]


def task(*lines: str) -> str:
    """A good task file with `lines` added."""
    return "\n".join(("task_id: a", "command: ls", "resources:", "  min_memory: 1G", *lines))


def test_the_articles_task_file_is_read_as_written():
    assert parse_task(ARTICLE) == JobSpec(
        task_id="finetune_qwen_001",
        priority=Priority.HIGH,
        resources=Resources(min_memory=16 * GIB, gpu_type="A100"),
        command="python src/train.py --model qwen-7b --method lora --dataset my_data",
    )


def test_every_extension_is_read():
    spec = parse_task(EVERYTHING)
    assert spec.resources == Resources(
        min_memory=1536 * MIB, gpu_type="A100-80G", gpus=4, nodes=2, exclusive=True
    )
    assert (spec.project, spec.priority, spec.launcher) == ("vision", Priority.LOW, "torchrun")
    assert (spec.dataset, spec.workdir) == ("my_data", "/srv/code")
    assert spec.env == {"EMPTY": "", "HF_HUB_OFFLINE": "1", "FLAG": "no"}
    assert (spec.time_limit, spec.est_time) == (172800.0, 5400.0)
    assert (spec.preemptible, spec.max_attempts, spec.retry_on) == (False, 5, ("lost", "oom"))
    assert (spec.depends_on, spec.notify) == (("prepare_data",), ("ana@example.org",))


def test_a_training_config_is_typed_by_yaml_1_2_and_quotes_stay_texts():
    spec = parse_task(LLAMAFACTORY)
    assert spec.command is None
    assert spec.llamafactory == {
        "model_name_or_path": "Qwen/Qwen2.5-7B",
        "stage": "sft",
        "do_train": True,
        "learning_rate": 1e-4,
        "num_train_epochs": 3,
        "warmup_ratio": 0.1,
        "save_strategy": "no",
        "quantization_bit": None,
        "tag": "8",
        "lora_target": ["q_proj", "v_proj"],
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-.5", -0.5),
        ("7.", 7.0),
        ("+12", 12),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("0x", "0x"),
        ("True", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("on", "on"),
        ("~", None),
        ("", None),
        ("Null", None),
        ("1:1:1", "1:1:1"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("'true'", "true"),
        ('"1e-3"', "1e-3"),
        ("1e", "1e"),
        ("-", None),
    ],
)
def test_a_plain_scalar_of_a_config_has_the_type_that_yaml_1_2_gives_it(text, value):
    if text == "-":
        assert parse_llamafactory_config("a:\n  -") == {"a": [None]}
        return
    found = parse_llamafactory_config(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "9" * 41, "0x" + "f" * 41])
def test_a_number_that_no_computer_holds_is_refused_with_its_field(text):
    with pytest.raises(TaskFileError, match=r"line 2, x\.b: "):
        parse_llamafactory_config(f"x:\n  b: {text}")


def test_the_text_of_a_command_is_never_parsed():
    body = "echo '{<<: *x}' &anchor !tag %d --- | cat > out # not a comment"
    assert parse_task(task().replace("ls", f"|\n  {body}\n  second")).command == f"{body}\nsecond"


def test_a_task_file_may_be_json():
    written = json.dumps(
        {
            "task_id": "j",
            "command": 'echo "😀"\n',
            "resources": {"min_memory": "1M", "gpus": 2, "exclusive": True},
        }
    )
    spec = parse_task(written)
    assert spec.command == 'echo "😀"'
    assert spec.resources == Resources(min_memory=MIB, gpus=2, exclusive=True)


def test_a_field_left_empty_counts_as_not_given():
    assert parse_task(task("project:", "dataset: ~", "workdir: null")) == parse_task(task())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "command: ls\nresources: {min_memory: 1G}",
            "task_id: task_id is missing; write it: the job's name; one active job of a project has it.",
        ),
        (
            "task_id: a",
            (
                "command: neither command nor llamafactory is given; exactly one of them is needed: "
                "write for example command: python train.py."
            ),
        ),
        (
            task("llamafactory: my_config"),
            (
                "line 5, llamafactory: both command and llamafactory are given; allowed is exactly one of them: "
                "leave one out."
            ),
        ),
        (
            "task_id: a\ncommand: ls\nresources:\n  gpus: 1",
            (
                "line 3, resources.min_memory: no min_memory is given; a command's need cannot be guessed: "
                "write for example min_memory: 16G below resources."
            ),
        ),
        (
            "task_id: a\nllamafactory: x\nlauncher: torchrun",
            (
                "line 3, launcher: launcher is given together with llamafactory; LLaMA-Factory starts its own "
                "workers: leave launcher out."
            ),
        ),
        (
            task("priorty: high"),
            "line 5, priorty: 'priorty' is no field of a task file; did you mean priority? Otherwise leave it out.",
        ),
        (
            task("  gpu_tpye: A100"),
            (
                "line 5, resources.gpu_tpye: 'gpu_tpye' is no field of resources; did you mean gpu_type? "
                "Otherwise leave it out."
            ),
        ),
        (
            task("gpus: 2"),
            "line 5, gpus: 'gpus' is no field of a task file; it belongs below resources, indented.",
        ),
        (
            task("  priority: high"),
            (
                "line 5, resources.priority: 'priority' is no field of resources; it belongs in the first column, "
                "outside resources."
            ),
        ),
        (
            task("  zzz: 1"),
            (
                "line 5, resources.zzz: 'zzz' is no field of resources; allowed are min_memory, gpu_type, gpus, "
                "nodes, exclusive."
            ),
        ),
        (
            task("priority: urgent"),
            "line 5, priority: 'urgent' is not known; allowed are low, medium, high: write one of them.",
        ),
        (
            "task_id: a\ncommand: ls\nresources: {min_memory: 16}",
            (
                "line 3, resources.min_memory: the size '16' has no unit; allowed are M, G and T, which mean "
                "MiB, GiB and TiB: write for example 16G."
            ),
        ),
        (
            task("retry_on: [lost, never]"),
            "line 5, retry_on[1]: 'never' is not known; allowed are lost, failed, oom: write one of them.",
        ),
        (
            task("env:", "  1X: a"),
            "line 6, env.1X: '1X' is not allowed; allowed are letters, digits and _, not first a digit.",
        ),
        (
            task("env: {CUDA_VISIBLE_DEVICES: 0}"),
            (
                "line 5, env.CUDA_VISIBLE_DEVICES: the variable 'CUDA_VISIBLE_DEVICES' is reserved; the names of the "
                "cards and of this service are set when the job starts: leave it out."
            ),
        ),
    ],
)
def test_a_problem_says_where_it_is_what_is_allowed_and_what_to_do(text, expected):
    assert problems(text) == [expected]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  gpus: 0", "0 is out of range"),
        ("  gpus: 1.5", "'1.5' is not a whole number"),
        ("  exclusive: yes", "'yes' is not known"),
        ("  gpu_type: 'A100;x'", "is not allowed"),
        ("  min_memory2: 0G", "did you mean min_memory?"),
        ("time_limit: 0s", "out of range"),
        ("time_limit: 3", "is not a duration"),
        ("workdir: src", "write an absolute path"),
        ("workdir: ~/src", "write an absolute path"),
        ("dataset: ../secret", "is not allowed"),
        ("project: a/b", "is not allowed"),
        ("depends_on: [a b]", "write a task_id or task_id#run"),
        ("depends_on: {a: b}", "is not a list"),
        ("depends_on: [" + "a, " * 33 + "]", "33 values are given"),
        ("env: [a]", "is not a mapping"),
        ("env: {A: [b]}", "env.A: ['b'] is not a text"),
        ("max_attempts: 1000", "out of range"),
        ("launcher: mpirun", "allowed are none, torchrun"),
        ("notify: 'a b'", "without spaces"),
    ],
)
def test_a_value_out_of_bounds_is_refused(line, said):
    (problem,) = problems(task(line))
    assert said in problem
    assert problem.startswith("line 5, ")


@pytest.mark.parametrize("task_id", ["-a", ".a", "a b", "a/b", "a" * 65, "é", "''", "a#1", "[a]"])
def test_a_task_id_keeps_to_its_letters(task_id):
    (problem,) = problems(task().replace("task_id: a", f"task_id: {task_id}"))
    assert problem.startswith("line 1, task_id: ")


def test_all_problems_are_told_at_once_in_the_order_of_the_lines():
    text = "task_id: a b\nresources:\n  min_memory: 16\ncommand: [ls]\nenv: 3\nnope: 1"
    lines = [problem.split(",")[0] for problem in problems(text)]
    assert lines == ["line 1", "line 3", "line 4", "line 5", "line 6"]


def test_what_was_given_is_shortened():
    (problem,) = problems(task("priority: " + "x" * 5000))
    assert len(problem) < 200


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse_task(ARTICLE).task_id = "other"


def test_a_spec_made_in_python_keeps_the_same_rules():
    with pytest.raises(ValueError, match="neither command nor llamafactory"):
        JobSpec(task_id="a")


# --- canonical form and hash -----------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=10)
SPECS = st.builds(
    lambda **fields: JobSpec.model_validate(fields),
    task_id=NAMES,
    priority=st.sampled_from(["low", "medium", "high"]),
    command=st.text("ab $'\n é😀{}", min_size=1, max_size=40).map(lambda text: f"x{text}"),
    resources=st.fixed_dictionaries(
        {"min_memory": st.integers(1, 1000).map(lambda count: f"{count}M")},
        optional={"gpu_type": NAMES, "gpus": st.integers(1, 8), "exclusive": st.booleans()},
    ),
    project=st.none() | NAMES,
    env=st.dictionaries(st.from_regex(r"[A-Z]{1,8}", fullmatch=True), PRINTABLE),
    time_limit=st.none() | st.sampled_from(["90s", "1h30m", "2d"]),
    preemptible=st.none() | st.booleans(),
    retry_on=st.lists(st.sampled_from(["lost", "failed", "oom"])),
    depends_on=st.lists(NAMES, max_size=3),
)


@given(SPECS)
def test_the_canonical_form_survives_json_and_reads_back_as_the_same_spec(spec):
    stored = json.loads(json.dumps(spec.canonical()))
    again = JobSpec.from_canonical(stored)
    assert again == spec
    assert again.canonical() == stored
    assert again.content_hash() == spec.content_hash()


@given(SPECS, SPECS)
def test_specs_have_the_same_hash_just_when_they_ask_for_the_same(one, other):
    assert (one.content_hash() == other.content_hash()) is (one == other)


def test_looks_do_not_change_the_hash():
    other = (
        '{"resources": {"gpu_type": "A100", "gpus": 1, "min_memory": "16384M"}, "priority": "HIGH",'
    )
    other += ' "command": "python src/train.py --model qwen-7b --method lora --dataset my_data", '
    other += '"task_id": "finetune_qwen_001", "max_attempts": 3}'
    assert parse_task(other).content_hash() == parse_task(ARTICLE).content_hash()


def test_the_hash_of_a_file_is_the_same_in_every_release():
    expected = "92a73e0d118bc9eae32bfb55e4e494e0e8186615af90107872c94284b69ec7c7"
    assert parse_task(ARTICLE).content_hash() == expected


def test_a_stored_spec_that_is_damaged_is_refused_with_its_fields():
    stored = parse_task(ARTICLE).canonical() | {"priority": 7, "extra": 1}
    with pytest.raises(TaskFileError) as caught:
        JobSpec.from_canonical(stored)
    assert {each.field for each in caught.value.problems} == {"priority", "extra"}


@pytest.mark.parametrize("text", ["a\0b", "\x1b[31m", "\ud800"])
def test_what_is_not_text_is_refused_whichever_way_it_comes(text):
    fields = {"task_id": "a", "resources": {"min_memory": "1G"}, "command": f"echo {text}"}
    with pytest.raises(TaskFileError, match="command: the control character"):
        checked_spec(fields, {})
    training = {"task_id": "a", "llamafactory": {"deep": [{"er": text}]}}
    with pytest.raises(TaskFileError, match=r"llamafactory\.deep\[0\]\.er: the control character"):
        checked_spec(training, {})


def test_an_estimate_fills_in_the_memory_and_nothing_else():
    spec = parse_task("task_id: a\nllamafactory: my_config")
    filled = spec.with_min_memory(24 * GIB)
    assert filled.resources.min_memory == 24 * GIB
    assert filled.with_min_memory(spec.resources.min_memory or 0) != filled
    assert spec.resources.min_memory is None


# --- schema ----------------------------------------------------------------------------------------


def test_the_schema_describes_every_field_in_its_written_form():
    schema = task_schema()
    assert json.dumps(schema)
    assert set(schema["properties"]) == set(JobSpec.model_fields)
    assert all("description" in each for each in schema["properties"].values())
    assert schema["required"] == ["task_id"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["priority"]["default"] == "medium"
    memory = schema["$defs"]["Resources"]["properties"]["min_memory"]
    assert {"type": "string", "examples": ["16G", "512M"]} in memory["anyOf"]
