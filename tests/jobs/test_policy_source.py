"""What the setting `policy` may name, found without executing anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.policies.source import PolicyRefused, Source, allowed_policies, examine, source_of

BASE = Path("/srv/coop")


@pytest.mark.parametrize(
    ("setting", "source"),
    [
        ("", Source(name="default")),
        ("fifo", Source(name="fifo")),
        ("policy.py:Mine", Source(name="Mine", file=BASE / "policy.py")),
        ("../x/policy.py:Mine", Source(name="Mine", file=Path("/srv/x/policy.py"))),
        ("/etc/coop/a b.py:Mine", Source(name="Mine", file=Path("/etc/coop/a b.py"))),
        ("/a:b/policy.py:Größe", Source(name="Größe", file=Path("/a:b/policy.py"))),
    ],
)
def test_a_setting_names_a_shipped_policy_or_a_class_in_a_file(setting, source):
    assert source_of(setting, BASE) == source


def test_a_home_folder_may_be_named(monkeypatch):
    monkeypatch.setenv("HOME", "/home/coop")
    assert source_of("~/policy.py:Mine", BASE).file == Path("/home/coop/policy.py")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("FIFO", "there is no policy of the name 'FIFO'"),
        ("policy.py", "there is no policy of the name 'policy.py'"),
        ("policy.py:", "'' behind the colon is not the name of a class"),
        ("policy.py:a.b", "'a.b' behind the colon is not the name of a class"),
        ("policy:Mine", "'policy' before the colon is not the path of a .py file"),
        ("a\nb.py:Mine", "is not the path of a .py file"),
        ("~nobody-of-this-name/policy.py:Mine", "begins in a home folder that does not exist"),
    ],
)
def test_anything_else_is_refused_in_words(setting, said):
    with pytest.raises(PolicyRefused) as refused:
        source_of(setting, BASE)
    assert said in str(refused.value)


def test_what_is_allowed_is_listed():
    words = allowed_policies(BASE)
    assert words.startswith("default, fifo, shortest-first, weekend-long-first, or path/policy.py:")
    assert "/srv/coop" in words


def examined(directory: Path, text: str, name: str = "Mine", mode: int = 0o644) -> None:
    file = directory / "policy.py"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    examine(Source(name=name, file=file))


@pytest.mark.parametrize(
    "text",
    [
        "class Mine: pass",
        "from elsewhere import Mine",
        "from elsewhere import Other as Mine",
        "from elsewhere import *",
        "Mine = make()",
        "try:\n    class Mine: pass\nexcept ImportError:\n    pass",
        "if x:\n    pass\nelse:\n    class Mine: pass",
        "class Mine: pass\nraise SystemExit",
    ],
)
def test_a_file_that_binds_the_name_is_taken_and_not_executed(tmp_path, text):
    assert examined(tmp_path, text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no class Mine; it has no class at all"),
        ("class A: pass\nclass B:\n    Mine = 1\n", "has no class Mine; it has A, B"),
        ("class Mine(:", "is not valid Python: invalid syntax (line 1)"),
        ("x = '\0'", "is not valid Python: source code string cannot contain null bytes"),
        ("#" * 2**20 + "\n", "has 1048577 bytes; at most 1048576 are allowed"),
    ],
)
def test_a_file_without_such_a_class_is_refused(tmp_path, text, said):
    with pytest.raises(PolicyRefused) as refused:
        examined(tmp_path, text)
    assert said in str(refused.value)


def test_a_file_that_everybody_may_change_is_refused(tmp_path):
    with pytest.raises(PolicyRefused, match="may be changed by others"):
        examined(tmp_path, "class Mine: pass", mode=0o666)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_account_is_refused(tmp_path):
    file = tmp_path / "policy.py"
    file.write_text("class Mine: pass", encoding="utf-8")
    os.chown(file, 65534, 65534)
    with pytest.raises(PolicyRefused, match="must belong to root or to the account"):
        examine(Source(name="Mine", file=file))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(PolicyRefused, match=r"cannot be read \(No such file"):
        examine(Source(name="Mine", file=tmp_path / "policy.py"))
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(PolicyRefused, match="is not a file"):
        examine(Source(name="Mine", file=tmp_path / "folder.py"))


def test_the_version_of_a_file_changes_with_it(tmp_path):
    source = Source(name="Mine", file=tmp_path / "policy.py")
    versions = [source.version()]
    for text in ("a", "bb"):
        source.file.write_text(text, encoding="utf-8")
        versions.append(source.version())
    assert len(set(versions)) == 3
    assert Source(name="fifo").version() == ()
