"""Which service, which token, which project: the order of precedence and the safety of tokens."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llama_factory import config
from llama_factory.errors import CoopError


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of this test alone, and a current directory two levels below one."""
    for name in ("URL", "TOKEN", "PROJECT", "CONFIG_DIR"):
        monkeypatch.delenv(f"LLAMA_COOP_{name}", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    deep = tmp_path / "work" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    return tmp_path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def announce(places: Path, pid: int | None = None, mode: int = 0o600, token: str = "local") -> None:
    record = {"url": "http://127.0.0.1:8900", "pid": pid or os.getpid(), "token": token}
    write(places / "state/llama-coop/local.json", json.dumps(record), mode)


def test_the_stronger_place_wins_step_by_step(places, monkeypatch):
    def now() -> tuple[str | None, str]:
        url = config.read_config().url
        return url.value, url.source

    assert now() == (None, "not set")
    announce(places)
    assert now() == ("http://127.0.0.1:8900", "this machine's service")
    write(places / "system/llama-coop/config.toml", 'url = "http://system:1"')
    assert now()[0] == "http://system:1"
    write(places / "config/llama-coop/config.toml", 'url = "http://user:1"')
    assert now()[0] == "http://user:1"
    write(places / ".llama-coop.toml", 'url = "http://far:1"')
    assert now()[0] == "http://far:1"
    write(places / "work/.llama-coop.toml", 'url = "http://near:1/"')
    assert now() == ("http://near:1", str(places / "work/.llama-coop.toml"))
    monkeypatch.setenv("LLAMA_COOP_URL", "http://environment:1")
    assert now() == ("http://environment:1", "the environment")
    flagged = config.read_config(url="https://flag:1", project="p")
    assert (flagged.url.value, flagged.project.value) == ("https://flag:1", "p")


def test_each_value_comes_from_its_own_strongest_place(places, monkeypatch):
    write(places / "work/.llama-coop.toml", 'project = "vision"')
    monkeypatch.setenv("LLAMA_COOP_URL", "http://server:8900")
    found = config.read_config()
    assert (found.url.value, found.project.value) == ("http://server:8900", "vision")


@pytest.mark.parametrize(
    "url", ["server:8900", "ftp://server", "http://", "http://a?b=c", "http:/x"]
)
def test_an_address_that_cannot_be_right_is_refused_with_its_place(url, monkeypatch):
    monkeypatch.setenv("LLAMA_COOP_URL", url)
    with pytest.raises(CoopError) as caught:
        config.read_config()
    assert "the environment" in str(caught.value)
    assert "http://server:8900" in caught.value.hint


@pytest.mark.parametrize("text", ["url = ", "url: x", "\x00"])
def test_a_file_that_is_no_toml_is_named(places, text):
    write(places / "work/.llama-coop.toml", text)
    with pytest.raises(CoopError, match=r"llama-coop\.toml cannot be read"):
        config.read_config()


def test_a_token_in_a_file_that_gets_committed_is_refused(places):
    write(places / "work/.llama-coop.toml", 'token = "lcp_x"')
    with pytest.raises(CoopError) as caught:
        config.read_config()
    assert "login" in caught.value.hint


def test_a_stored_token_is_for_its_address_alone_and_for_its_owner_alone(places):
    path = config.store_token("http://server:8900", "lcp_one")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    config.store_token("http://other:8900", "lcp_two")
    assert config.stored_token("http://server:8900/") == "lcp_one"
    assert config.stored_token("http://server:8901") is None
    assert config.stored_token("https://server:8900") is None
    assert config.forget_token("http://server:8900")
    assert not config.forget_token("http://server:8900")
    assert config.stored_token("http://other:8900") == "lcp_two"


def test_the_names_of_loopback_are_one_address():
    config.store_token("http://localhost:8900", "lcp_one")
    assert config.stored_token("http://127.0.0.1:8900") == "lcp_one"


def test_the_environments_token_is_stronger_than_a_stored_one(monkeypatch):
    monkeypatch.setenv("LLAMA_COOP_URL", "http://server:8900")
    config.store_token("http://server:8900", "stored")
    assert config.read_config().token.value == "stored"
    monkeypatch.setenv("LLAMA_COOP_TOKEN", " given ")
    assert config.read_config().token.value == "given"


def test_the_local_services_token_goes_to_that_service_only(places, monkeypatch):
    announce(places)
    assert config.read_config().token.value == "local"
    monkeypatch.setenv("LLAMA_COOP_URL", "http://elsewhere:8900")
    assert config.read_config().token.value is None


def test_a_dead_or_foreign_announcement_is_not_believed(places):
    announce(places, pid=2**22 - 3)
    assert config.local_service() is None
    announce(places, mode=0o644)
    assert config.local_service() is None
    write(places / "state/llama-coop/local.json", "{broken")
    assert config.local_service() is None
    announce(places)
    assert config.local_service() is not None


def test_login_keeps_what_else_the_file_says(places):
    write(places / "config/llama-coop/config.toml", 'project = "vision"\n')
    config.write_url("http://server:8900")
    found = config.read_config()
    assert (found.url.value, found.project.value) == ("http://server:8900", "vision")


def test_a_directory_that_was_removed_under_us_is_no_trouble(places, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert config.read_config().url.value is None
