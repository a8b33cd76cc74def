"""The pages about API, command line and Python say what is there."""

from __future__ import annotations

import inspect
import re

import pytest

from jobs.api.site import api
from jobs.core.jobspec import JobSpec, Resources
from llama_factory import errors, init_coop
from llama_factory.cli.app import ALIASES, VERBS
from llama_factory.cli.exits import ExitCode
from llama_factory.client import Coop
from tests.sources import ROOT, sources

ONLY_AT_LAUNCH = {
    "job_account_missing",
    "job_account_shut_out",
    "llamafactory_missing",
    "llamafactory_unreachable",
}
"""Codes that end an attempt; no request is answered with them."""


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def addresses_in(page: str) -> set[tuple[str, str]]:
    """Methods and addresses of the table; a row without an address goes on with the one above."""
    found, address = set(), ""
    for first, methods in re.findall(r"^\| (`/[^`]*`)? ?\| ([A-Z, ]+) \|", page, re.MULTILINE):
        address = first.strip("`") or address
        found |= {(method, address) for method in methods.split(", ")}
    return found


def test_every_address_is_in_the_table_and_no_other():
    schema = api.get_openapi_schema()["paths"]
    known = {(method.upper(), path) for path, methods in schema.items() for method in methods}
    beside = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("POST", "/submit")}
    assert addresses_in(read("api.md")) == known | beside


def test_every_code_is_explained():
    used = {
        code
        for path in sources("jobs")
        for code in re.findall(r'code="([a-z_]+)"', path.read_text(encoding="utf-8"))
    }
    explained = set(re.findall(r"`([a-z_]+)`", read("api.md")))
    assert used - explained - ONLY_AT_LAUNCH == set()


def test_every_verb_and_exit_code_is_explained():
    text = read("cli.md")
    for verb in (*VERBS, *ALIASES, "serve"):
        assert re.search(rf"`{verb}[` ]", text), verb
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert codes == set(ExitCode)


@pytest.mark.parametrize("field", [*JobSpec.model_fields, *Resources.model_fields])
def test_every_field_of_a_task_file_is_explained(field):
    if field != "resources":
        assert re.search(rf"`(resources\.)?{field}`", read("cli.md")), field


def test_every_client_variable_is_explained():
    used = {
        name
        for path in sources("llama_factory")
        for name in re.findall(r"\bLLAMA_COOP_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))
    }
    explained = set(re.findall(r"LLAMA_COOP_[A-Z_]*[A-Z]", read("cli.md")))
    assert used - explained == set()


def test_every_method_and_error_of_the_client_is_explained():
    text = read("python.md")
    for name, _method in inspect.getmembers(Coop, inspect.isfunction):
        if not name.startswith("_") and name not in {"close", "is_ready"}:
            assert f"`{name}(" in text, name
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.CoopError):
            assert name in text, name
    for argument in inspect.signature(init_coop).parameters:
        assert f"| `{argument}` |" in text
