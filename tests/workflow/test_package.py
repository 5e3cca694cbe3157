"""The wheel contains the package and works without the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import nmer

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "scripts" / "nmer"


def run(*command: object, cwd: Path) -> str:
    finished = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy because a build writes next to the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(PACKAGE, source / "scripts" / "nmer", ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=folder)
    return next(folder.glob("*.whl"))


def test_the_wheel_contains_exactly_the_files_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == expected


def test_its_metadata_are_complete_and_match_the_citation(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert metadata["Version"] == nmer.__version__ == citation["version"]
    assert metadata["Author"] in [author["name"] for author in citation["authors"]]
    assert metadata["License-Expression"] == citation["license"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert {"workflow", "test"} <= set(metadata.get_all("Provides-Extra"))
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert not [line for line in required if line.startswith("snakemake")]


def test_installed_it_works_without_the_repository(wheel, tmp_path):
    options = ("--no-deps", "--no-index", "--quiet", "--target", tmp_path / "site")
    run(sys.executable, "-m", "pip", "install", *options, wheel, cwd=tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import nmer; "
        "print(nmer.__file__); nmer.build_system('men', {'a': 2, 'v': 2, 'l': 2}, 2); "
        "from nmer.cli.main import main; sys.argv = ['nmer', 'run']; main()"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert finished.stdout.startswith(str(tmp_path))
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: ")
    assert "Snakefile" in finished.stderr
