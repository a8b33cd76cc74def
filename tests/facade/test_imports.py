"""What is promised of importing: it is cheap, and it never brings Django."""

from __future__ import annotations

import pytest

FORBIDDEN = "{'django', 'channels', 'daphne', 'ninja', 'plotly', 'pynvml', 'coop_site', 'gpus'}"
LOOK = f"; import sys; print(sorted({FORBIDDEN} & set(sys.modules)))"


@pytest.mark.parametrize(
    "code",
    [
        "import llama_factory",
        "from llama_factory.coop import BasePolicy, JobView, JobState",
        "from llama_factory import init_coop; import llama_factory.bootstrap",
        "import llama_factory.client, llama_factory.monitor, llama_factory.upload",
        "import llama_factory.cli.app",
    ],
)
def test_no_part_of_the_face_imports_django(shell, code):
    answer = shell.python(code + LOOK)
    assert (answer.stdout, answer.stderr) == ("[]\n", "")


def test_a_failed_init_coop_has_not_imported_django_either(shell):
    code = """
from llama_factory import init_coop
try:
    init_coop()
except Exception as error:
    print(type(error).__name__)
"""
    answer = shell.python(code + LOOK.removeprefix("; "), LLAMA_COOP_URL="http://127.0.0.1:1")
    assert answer.stdout == "Unreachable\n[]\n"


def test_importing_loads_neither_the_http_library_nor_yaml(shell):
    code = "import llama_factory, sys; print({'requests', 'yaml', 'typer'} & set(sys.modules))"
    assert shell.python(code).stdout == "set()\n"


def test_the_verbs_load_no_heavy_library_before_they_run(shell):
    code = """
import sys, llama_factory.cli.app
heavy = {"requests", "yaml", "rich.table", "rich.live", "textual", "pydantic"}
print(sorted(heavy & set(sys.modules)))
"""
    assert shell.python(code).stdout == "[]\n"


def test_completing_a_verb_loads_no_heavy_library(shell):
    code = """
import atexit, sys
heavy = {"requests", "yaml", "rich.table", "pydantic"}
atexit.register(lambda: print(sorted(heavy & set(sys.modules))))
from llama_factory.cli import main
main()
"""
    answer = shell.python(
        code, _LLAMA_COOP_COMPLETE="complete_bash", COMP_WORDS="llama-coop mon", COMP_CWORD="1"
    )
    assert answer.stdout.split() == ["monitor", "[]"]


def test_the_version_and_the_public_names(shell):
    answer = shell.python("import llama_factory as f; print(f.__version__, f.__all__)")
    number, names = answer.stdout.split(" ", 1)
    assert number.count(".") == 2
    assert names.strip() == "['__version__', 'init_coop']"


def test_the_articles_policy_can_be_written(shell):
    (shell.directory / "policy.py").write_text(
        """
from datetime import datetime
from llama_factory.coop import BasePolicy
class MyPolicy(BasePolicy):
    def schedule(self, tasks):
        if datetime.now().weekday() > 4:
            return sorted(tasks, key=lambda t: t.est_time)
        return super().schedule(tasks)
""",
        encoding="utf-8",
    )
    answer = shell.python(
        "import sys; sys.path.insert(0, '.'); import policy; print(policy.MyPolicy())"
    )
    assert "MyPolicy" in answer.stdout, answer.stderr
