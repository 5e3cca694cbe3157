"""Imports follow the layers of docs/architecture.md; steps are thin and independent of Snakemake."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import nmer

PACKAGE = Path(nmer.__file__).resolve().parent
SCRIPTS = PACKAGE.parent
MODULES = {
    ".".join(path.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
STEPS = sorted(SCRIPTS.glob("*.py"))
FIRST_LAYER = ("noise", "corpora", "systems", "references", "extraction")
MAY_IMPORT = {
    "ground": ("ground",),
    **{package: ("ground", package) for package in FIRST_LAYER},
    "plan": ("ground", *FIRST_LAYER, "plan"),
    "noisy_embeddings": ("ground", *FIRST_LAYER, "noisy_embeddings"),
    "training": ("ground", *FIRST_LAYER, "plan", "noisy_embeddings", "training"),
    "cli": ("ground", *FIRST_LAYER, "plan", "noisy_embeddings", "results", "training", "prediction", "cli"),
    "prediction": ("ground", *FIRST_LAYER, "plan", "training", "prediction"),
    "results": ("ground", *FIRST_LAYER, "results"),
}


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else "ground"


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """Return every module that a file imports, and whether it is imported at once (not in a function or for types)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for part in ast.walk(tree)
        if isinstance(part, ast.FunctionDef) or (isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING")
        for node in ast.walk(part)
        if node is not part
    }
    return [(name, id(node) not in inside) for node in ast.walk(tree) for name in _names(node)]


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports are not allowed"
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in MODULES else node.module


def reached(start: Path) -> set[str]:
    """Return the modules of the package and others that importing a file imports, directly or indirectly."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name, at_once in imports(waiting.pop()):
            if at_once and name not in found:
                found.add(name)
                if name in MODULES:
                    waiting.append(MODULES[name])
    return found


def test_every_package_belongs_to_a_floor():
    assert {package_of(module) for module in MODULES} == set(MAY_IMPORT)
    assert len(STEPS) > 5


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_from_its_own_floor_or_below(module):
    # The package itself exports the public interface, from every floor.
    allowed = MAY_IMPORT if module == "nmer" else MAY_IMPORT[package_of(module)]
    ours = [name for name, _at_once in imports(MODULES[module]) if name.split(".")[0] == "nmer"]
    assert [name for name in ours if package_of(name) not in allowed] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_imports_a_step_or_snakemake(module):
    steps = {path.stem for path in STEPS}
    assert not {name.split(".")[0] for name, _at_once in imports(MODULES[module])} & (steps | {"snakemake"})


@pytest.mark.parametrize("module", [m for m in sorted(MODULES) if package_of(m) in ("results", "plan")])
def test_results_and_plan_do_not_import_torch(module):
    assert not {name for name in reached(MODULES[module]) if name.split(".")[0] in ("torch", "safetensors")}


def test_training_imports_torch():
    assert "torch" in reached(MODULES["nmer.training.loop"])


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.name)
def test_a_step_is_thin_documented_and_independent_of_snakemake(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 120
    assert ast.get_docstring(tree)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert "snakemake" not in used | {name.split(".")[0] for name, _at_once in imports(path)}


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.name)
def test_no_step_imports_another(path):
    assert not {name for name, _at_once in imports(path)} & {step.stem for step in STEPS}


def test_modules_of_one_name_have_one_meaning():
    """A registry lists plug-ins in every package; a figure has the name of the module that computes its data."""
    named: dict[str, list[str]] = {}
    for module in MODULES:
        if MODULES[module].name != "__init__.py" and not module.startswith("nmer.results.figures."):
            named.setdefault(module.rpartition(".")[2], []).append(module)
    assert {name: found for name, found in named.items() if len(found) > 1 and name != "registry"} == {}
