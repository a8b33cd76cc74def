"""The browser assets in the checkout are exactly the ones that were taken from their packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from plotly import offline

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = json.loads((ROOT / "static/vendor/manifest.json").read_text())


def test_no_vendored_file_differs_from_the_manifest():
    script = [sys.executable, ROOT / "scripts/vendor.py", "--check"]
    answer = subprocess.run(script, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_vendored_package_has_its_licence_beside_it():
    for package in MANIFEST["packages"]:
        name = f"{package['name']}-{package['version']}/LICENSE"
        assert any(path.endswith(name) for path in MANIFEST["sha256"]), package


def test_the_versions_are_the_ones_that_package_json_pins():
    wanted = json.loads((ROOT / "package.json").read_text())
    pinned = wanted["dependencies"] | wanted["devDependencies"]
    assert {each["name"]: each["version"] for each in MANIFEST["packages"]} == pinned


def test_plotly_in_python_and_in_the_browser_are_of_one_version():
    in_browser = next(e["version"] for e in MANIFEST["packages"] if "plotly" in e["name"])
    assert offline.get_plotlyjs_version() == in_browser


def test_templates_name_vendored_files_that_exist():
    texts = "".join(path.read_text() for path in (ROOT / "templates").rglob("*.html"))
    named = [part.split("'")[0] for part in texts.split("{% static 'vendor/")[1:]]
    assert named
    assert [name for name in named if not (ROOT / "static/vendor" / name).exists()] == []
