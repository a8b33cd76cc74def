"""What every test gets: a COOP_HOME of its own run, and a core that cannot reach the database."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import django
import pytest

# Before the settings are read: a test run never touches the COOP_HOME of a person. That is why pyproject.toml does not
# name the settings: pytest-django would read them before this file.
_home = tempfile.mkdtemp(prefix="llama-coop-tests-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
for name in [name for name in os.environ if name.startswith(("COOP_", "LLAMA_COOP_"))]:
    if name not in {"COOP_DATABASE_URL", "COOP_LLAMAFACTORY", "COOP_TRACES"}:
        del os.environ[name]
os.environ["DJANGO_SETTINGS_MODULE"] = "coop_site.settings"
os.environ["COOP_HOME"] = _home
os.environ["COOP_GPUS"] = "simulated:2xA100-80G"
os.environ["XDG_STATE_HOME"] = f"{_home}/state"
os.environ["XDG_CONFIG_HOME"] = f"{_home}/config"
os.mkdir(f"{_home}/static")  # noqa: PTH102 - where collected files would be; whitenoise warns when it is not there
django.setup()  # with this environment, before another conftest or a test imports a model

from jobs import queuestate  # noqa: E402 - needs the line above


@pytest.fixture(autouse=True)
def no_queue_is_remembered() -> Iterator[None]:
    """A test's rows are thrown away; what this process knows of the queue must go with them."""
    yield
    queuestate.drop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test of the core that asks for the database; name what this machine cannot run."""
    for item in items:
        if "tests/core/" in item.path.as_posix() and item.get_closest_marker("django_db"):
            raise pytest.UsageError(f"{item.nodeid} is in tests/core and may not use the database")
        if item.get_closest_marker("browser") and not _may_run_browser_tests():
            item.add_marker(pytest.mark.skip(reason=NO_BROWSER))


NO_BROWSER = "no Chromium at /usr/bin/chromium (on Debian: apt-get install chromium)"


def _may_run_browser_tests() -> bool:
    """Where CI is set they run in any case, so that a missing browser is a failure there."""
    return bool(os.environ.get("CI")) or shutil.which("/usr/bin/chromium") is not None
