"""The rules of the house (docs/map.md), checked on the sources themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources import ROOT, imports, module_of, name_of, sources, tracked, tree

OUTLIVES_THE_SERVICE = (
    "jobs.bus",
    "jobs.containment",
    "jobs.launch",
    "jobs.launcher",
    "jobs.rundir",
    "jobs.supervisor",
)
CLOCKS_AND_DOORS = {
    "input",
    "now",
    "open",
    "print",
    "read_bytes",
    "read_text",
    "today",
    "utcnow",
    "write_bytes",
    "write_text",
}


def outlives_the_service(path: Path) -> bool:
    module = module_of(path)
    return any(module == name or module.startswith(f"{name}.") for name in OUTLIVES_THE_SERVICE)


def called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


# --- arrows point down ----------------------------------------------------------------------------


def test_the_import_contracts_hold():
    answer = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_core_reads_no_clock_and_opens_nothing():
    found = [
        f"{name_of(path)}:{node.lineno} calls {called(node)}()"
        for path in sources("jobs/core")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and called(node) in CLOCKS_AND_DOORS
    ]
    assert found == []


def test_what_outlives_the_service_imports_the_standard_library_only():
    found = [
        f"{name_of(path)} imports {module}"
        for path in filter(outlives_the_service, sources("jobs"))
        for module in imports(path)
        if module.partition(".")[0] not in sys.stdlib_module_names
        and not (module == "jobs" or module.startswith(OUTLIVES_THE_SERVICE))
    ]
    assert found == []


def test_only_one_module_imports_pynvml():
    users = {
        name_of(path)
        for path in sources()
        if any(module.partition(".")[0] == "pynvml" for module in imports(path))
    }
    assert users == {"gpus/nvml.py"}


# --- one writer -----------------------------------------------------------------------------------


def states_written(path: Path) -> list[int]:
    """Lines that assign to some `.state`, or pass `state=` to a query that writes."""
    return [
        node.lineno for node in ast.walk(tree(path)) if assigns_state(node) or stores_state(node)
    ]


def assigns_state(node: ast.AST) -> bool:
    if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Attribute) and target.attr == "state" for target in targets)


def stores_state(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and called(node) in {"update", "create", "bulk_create"}
        and any(keyword.arg == "state" for keyword in node.keywords)
    )


def test_only_the_lifecycle_changes_a_state():
    found = [
        f"{name_of(path)}:{line}"
        for path in sources("jobs", "coop_site")
        if name_of(path) != "jobs/lifecycle.py" and not outlives_the_service(path)
        for line in states_written(path)
    ]
    assert found == []


def test_only_the_sampler_writes_readings():
    writes = re.compile(
        r"\b(?:Holder)?Reading(?:\.objects)?\.(?:create|bulk_create|update_or_create|get_or_create)\b"
    )
    found = {name_of(path) for path in sources() if writes.search(path.read_text(encoding="utf-8"))}
    assert found <= {"gpus/sampler.py", "gpus/readingrows.py"}


# --- small pieces, plain words --------------------------------------------------------------------


def test_no_file_is_longer_than_500_lines():
    lengths = {
        name_of(path): path.read_text(encoding="utf-8").count("\n")
        for path in tracked("*.py", "*.js", "*.sh")
        if "vendor" not in path.parts and "migrations" not in path.parts
    }
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}


def test_no_function_is_longer_than_50_lines():
    found = {
        f"{name_of(path)}:{node.name}": node.end_lineno - node.lineno + 1
        for path in [*sources(), *sources("tests", "scripts", "examples")]
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= 50
    }
    assert found == {}


def test_every_module_postpones_its_annotations():
    without = [
        name_of(path)
        for path in sources()
        if tree(path).body
        and not all(isinstance(node, ast.Expr) for node in tree(path).body)
        and "__future__" not in set(imports(path))
        and path.name != "__init__.py"
    ]
    assert without == []


@pytest.mark.parametrize("word", ["utils", "helpers", "helper", "misc", "common", "scheduler"])
def test_no_module_has_a_name_that_says_nothing(word):
    assert [name_of(path) for path in sources() if word in {path.stem, path.parent.name}] == []


def test_the_words_of_django_q2_are_not_used_for_our_own_concepts():
    ours = re.compile(r"\b(?:class|def) \w*(?:cluster|worker|broker)", re.IGNORECASE)
    found = [
        f"{name_of(path)}: {match.group()}"
        for path in sources("jobs", "gpus")
        for match in ours.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_no_source_names_a_place_that_only_one_machine_has():
    own = "|".join(re.escape(f"{place}/") for place in (ROOT, Path.home()))
    places = re.compile(rf"(?<![\w.])(?:{own})|/simple/")  # the latter: an index of packages
    found = [
        f"{name_of(path)}:{number}"
        for path in tracked(
            "*.py", "*.md", "*.sh", "*.toml", "*.lock", "*.yaml", "*.html", "*.js", ".ci/*"
        )
        if path != Path(__file__) and "vendor" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if places.search(line)
    ]
    assert found == []


def test_every_assertion_of_the_house_looks_at_something():
    assert len(sources()) > 50
    assert any(map(outlives_the_service, sources("jobs")))
