"""The tiny model, datasets and configs, and homes that other accounts can pass through."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.trainer import find_trainer


@pytest.fixture(scope="session")
def tiny() -> Iterator[Path]:
    """What make_tiny.py makes, where every account can read it."""
    folder = Path(tempfile.mkdtemp(prefix="coop-tiny-"))
    folder.chmod(0o755)
    python = Path(find_trainer().folder) / "python"
    script = Path(__file__).with_name("make_tiny.py")
    subprocess.run([python, script, folder], check=True, capture_output=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every account can pass through, as `make run` makes COOP_HOME."""
    folder = Path(tempfile.mkdtemp(prefix="coop-home-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)
