"""Copies the browser assets named in package.json into static/vendor, with licences and a checksum manifest.

For maintainers only: the copied files are committed, so running the service needs neither Node nor a network.
`python scripts/vendor.py` refreshes them; `--check` fails when the committed files differ from the manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "static" / "vendor" / "manifest.json"
SOURCE_MAP_MARKS = (b"//# sourceMappingURL", b"/*# sourceMappingURL")


@dataclass(frozen=True, kw_only=True)
class Asset:
    """Files of one npm package, and the folder that receives them under its name and version."""

    package: str
    files: tuple[str, ...]
    folder: str = "static/vendor"


ASSETS = (
    Asset(
        package="bootstrap",
        files=("dist/css/bootstrap.min.css", "dist/js/bootstrap.bundle.min.js", "LICENSE"),
    ),
    Asset(package="htmx.org", files=("dist/htmx.min.js", "LICENSE")),
    Asset(package="plotly.js-basic-dist-min", files=("plotly-basic.min.js", "LICENSE")),
    Asset(package="ansi_up", files=("ansi_up.js", "LICENSE")),
    Asset(package="axe-core", files=("axe.min.js", "LICENSE"), folder="tests/pages/vendor"),
)


def main() -> int:
    """Refreshes or checks the vendored files; the exit status is 0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the manifest only")
    if parser.parse_args().check:
        problems = differences()
        print("\n".join(problems) or "static/vendor is as the manifest says")
        return 1 if problems else 0
    refresh()
    return 0


def differences() -> list[str]:
    """Sentences about vendored files that are missing, changed, or not in the manifest."""
    wanted: dict[str, str] = json.loads(MANIFEST.read_text())["sha256"]
    found = checksums()
    missing = [f"{path} is missing: run scripts/vendor.py" for path in wanted.keys() - found.keys()]
    unknown = [f"{path} is not in the manifest" for path in found.keys() - wanted.keys()]
    changed = [
        f"{path} differs from the manifest: vendored files are never edited by hand"
        for path in wanted.keys() & found.keys()
        if wanted[path] != found[path]
    ]
    return sorted(missing + unknown + changed)


def checksums() -> dict[str, str]:
    """SHA-256 of each vendored file, by its path in the repository."""
    folders = {ROOT / asset.folder for asset in ASSETS}
    files = (p for folder in folders for p in folder.rglob("*") if p.is_file() and p != MANIFEST)
    return {
        p.relative_to(ROOT).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(files)
    }


def refresh() -> None:
    """Installs exactly what the lock file pins, copies the listed files, writes the manifest."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / name, folder)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit"], cwd=folder, check=True)
        for asset in ASSETS:
            shutil.rmtree(ROOT / asset.folder, ignore_errors=True)
        packages = [copy(asset, Path(folder) / "node_modules") for asset in ASSETS]
    manifest = {"packages": packages, "sha256": checksums()}
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")


def copy(asset: Asset, modules: Path) -> dict[str, str]:
    """Copies one package's files; its name, version and licence for the manifest."""
    source = modules / asset.package
    about = json.loads((source / "package.json").read_text())
    target = ROOT / asset.folder / f"{asset.package}-{about['version']}"
    target.mkdir(parents=True)
    for name in asset.files:
        text = (source / name).read_bytes()
        # Source maps are not shipped: a reference to one would break the hashing of static files.
        lines = [x for x in text.split(b"\n") if not x.lstrip().startswith(SOURCE_MAP_MARKS)]
        (target / Path(name).name).write_bytes(b"\n".join(lines))
    return {"name": asset.package, "version": about["version"], "licence": about["license"]}


if __name__ == "__main__":
    sys.exit(main())
