"""The environments agree with each other and contain all imported packages."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from nmer import fingerprint

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "scripts"
ENVIRONMENTS = sorted((REPOSITORY / "envs").glob("*.yaml"))
IMPORT_NAMES = {"PIL": "pillow", "ai_edge_litert": "ai-edge-litert", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Packages whose import name differs from their package name."""
COMES_WITH = {"cuda": "torch", "markupsafe": "jinja2"}
"""Packages that another package always installs; ``cuda`` those of its builds for NVIDIA's GPUs, which alone use it."""


def normalised(name: str) -> str:
    """Return a package's name as installers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def package(requirement: str) -> str:
    """Return the package's name in a requirement such as ``numpy>=2``."""
    return normalised(re.match(r"[\w.-]+", requirement).group())


def pins(lines: list[str]) -> dict[str, str]:
    """Package -> version of lines such as ``numpy==2.4.6 ; marker \\``, comments and digests left out."""
    stated = [line.split(";")[0].rstrip(" \\") for line in lines if line.strip() and line[0] not in "# "]
    return {normalised(line.partition("==")[0]): line.partition("==")[2] for line in stated}


def lock() -> dict[str, str]:
    return pins((REPOSITORY / "envs" / "requirements.lock").read_text().splitlines())


def extraction_lock() -> dict[str, str]:
    """Return the additional pins for extraction from raw media."""
    return pins((REPOSITORY / "envs" / "extract.txt").read_text().splitlines())


def conda_environment(path: Path) -> tuple[str, dict[str, str]]:
    """Return the Python version and the pinned packages of an environment file."""
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    python = next(entry for entry in dependencies if str(entry).startswith("python="))
    return python.partition("=")[2], pins(next(entry["pip"] for entry in dependencies if isinstance(entry, dict)))


def imported_packages(*files: Path) -> dict[str, Path]:
    """Return the third-party packages that files import at any level, each with an importing file."""
    return {name: file for file in files for name in packages_of(file)}


@cache
def packages_of(file: Path) -> set[str]:
    """Return the third-party packages that a file imports at any level."""
    local = {path.stem for path in SCRIPTS.iterdir()}
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        tops = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - local
        found |= {normalised(IMPORT_NAMES.get(top, top)) for top in tops}
    return found


def provided(name: str, packages: set[str]) -> bool:
    return name in packages or COMES_WITH.get(name) in packages


COMMANDS = {"add_noise.py", "compare_experiments.py", "partial_report.py", "rename_regimes.py", "status.py"}
"""Scripts that users call, not rules."""


def step_environments() -> dict[str, str]:
    """Step script -> file name of the environment that its rule names."""
    files = [REPOSITORY / "workflow" / "Snakefile", *sorted((REPOSITORY / "workflow" / "rules").glob("*.smk"))]
    environments = {}
    for rule in re.split(r"\n *rule\b", "\n".join(path.read_text() for path in files))[1:]:
        script, environment = re.search(r"/scripts/([\w.]+)", rule), re.search(r"envs/([\w.]+)", rule)
        if script:
            environments[script.group(1)] = environment.group(1) if environment else None
    return environments


def files_of_step(script: str) -> set[Path]:
    """Return a step's script, the local modules it imports, directly or not, and every plug-in it may load."""
    sorts = {
        "systems": ("train.py", "evaluate.py"),
        "references": ("fit_reference.py",),
        "noise/kinds": ("calibrate.py", "corrupt.py"),
        "corpora/layouts": ("build_features.py", "generate_corpus.py"),
        "extraction/extractors": ("extract.py",),
        "extraction/sources": ("extract.py", "extract_list.py"),
    }
    folders = [folder for folder, scripts in sorts.items() if script in scripts]
    starts = [SCRIPTS / script, *(path for folder in folders for path in (SCRIPTS / "nmer" / folder).glob("*.py"))]
    return set().union(*(fingerprint.local_imports(start.resolve()) for start in starts))


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_file_pins_the_versions_of_the_lock_file(path):
    _python, stated = conda_environment(path)
    assert stated
    locked = extraction_lock() | lock()
    assert {name: locked.get(name) for name in stated} == stated


def test_every_package_of_the_lock_file_has_one_version():
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in lock().values())


@pytest.mark.parametrize("name", ["requirements.lock", "torch_cpu.lock", "torch_cuda.lock", "extract.txt"])
def test_every_package_of_a_lock_file_is_pinned_once_and_has_digests(name):
    packages = re.split(r"\n(?=\S)", (REPOSITORY / "envs" / name).read_text().strip())[1:]
    assert packages
    for stated in packages:
        assert re.match(r"[\w.-]+==[\w.+]+( ; .*)? \\\n", stated)
        assert len(re.findall(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$", stated, re.MULTILINE)) == stated.count("\n")
    names = [re.match(r"[\w.-]+", stated).group() for stated in packages]
    assert len(names) == len(set(names))


def test_both_builds_of_torch_have_the_required_version():
    asked = pins((REPOSITORY / "envs" / "requirements.in").read_text().splitlines())["torch"]
    cpu = pins((REPOSITORY / "envs" / "torch_cpu.lock").read_text().splitlines())
    assert cpu == {"torch": f"{asked}+cpu"}
    assert lock()["torch"] == asked


def test_the_lock_file_meets_the_requirements():
    asked = pins((REPOSITORY / "envs" / "requirements.in").read_text().splitlines())
    missing = set(asked) - set(lock())
    assert missing == set()
    assert {name: lock()[name] for name, version in asked.items() if version} == {
        name: version for name, version in asked.items() if version
    }


def test_the_scheduler_plugins_are_pinned_outside_the_lock_file():
    plugins = pins((REPOSITORY / "envs" / "cluster.txt").read_text().splitlines())
    assert len(plugins) >= 3
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in plugins.values())
    assert set(plugins) & set(lock()) == set()


def test_every_imported_package_is_locked_and_required():
    files = [REPOSITORY / "envs" / name for name in ("requirements.in", "extract.in")]
    asked = {name for file in files for name in pins(file.read_text().splitlines())}
    imported = imported_packages(*SCRIPTS.rglob("*.py"))
    locked = set(extraction_lock() | lock())
    assert {name: str(file) for name, file in imported.items() if not provided(name, locked)} == {}
    assert {name: str(file) for name, file in imported.items() if not provided(name, asked)} == {}


def test_the_library_depends_on_every_package_that_it_imports_and_on_no_other():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    stated = {package(requirement) for requirement in project["dependencies"]}
    # transformers requires tokenizers; the pin fixes a version known to give the same tokens.
    optional = {package(requirement) for requirement in project["optional-dependencies"]["extract"]} - {"tokenizers"}
    extraction = set((SCRIPTS / "nmer" / "extraction").rglob("*.py"))
    imported = imported_packages(*set((SCRIPTS / "nmer").rglob("*.py")) - extraction)
    assert {name: str(file) for name, file in imported.items() if not provided(name, stated)} == {}
    of_extraction = imported_packages(*extraction)
    assert {name: str(file) for name, file in of_extraction.items() if not provided(name, stated | optional)} == {}
    assert (stated | optional) - {*imported, *of_extraction} == set()


def test_every_step_has_an_environment():
    assert set(step_environments()) == {path.name for path in SCRIPTS.glob("*.py")} - COMMANDS


@pytest.mark.parametrize("script", sorted(step_environments()))
def test_the_environment_of_a_step_contains_its_imports(script):
    _python, stated = conda_environment(REPOSITORY / "envs" / step_environments()[script])
    imported = imported_packages(*files_of_step(script))
    assert {name: str(file) for name, file in imported.items() if not provided(name, set(stated))} == {}


def test_every_file_names_the_same_python_version():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    version = project["project"]["requires-python"].removeprefix(">=")
    assert {conda_environment(path)[0] for path in ENVIRONMENTS} == {version}
    assert project["tool"]["mypy"]["python_version"] == version
    assert project["tool"]["ruff"]["target-version"] == f"py{version.replace('.', '')}"
    assert f"python{version}" in (REPOSITORY / "Makefile").read_text()
    assert f"Python {version}" in (REPOSITORY / "README.md").read_text()


def test_no_step_has_the_name_of_an_installed_package():
    # A step's folder comes first on sys.path: a step named like a library would be imported instead of it.
    steps = {path.stem for path in (REPOSITORY / "scripts").glob("*.py")}
    assert steps & set(packages_distributions()) == set()
    assert steps & sys.stdlib_module_names == set()
