"""A digest of the code that a step runs, so that Snakemake reruns exactly what an edit changes (DESIGN section 7).

Comments, layout and docstrings do not count; third-party libraries do not either (their versions are recorded).
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from modulefinder import ModuleFinder
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent


@cache
def fingerprint(script: str, plugins: tuple[Path, ...] = ()) -> str:
    """Digest of a step script, the local modules it imports (transitively) and the plug-in files it loads by name.

    script: file name in ``scripts/``. plugins: files that the step imports dynamically. Returns 16 hexadecimal digits.
    """
    sources: dict[str, Path] = {}
    for start in (SCRIPTS / script, *plugins):
        sources |= _local_imports(start.resolve())
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode())
        digest.update(_essence(sources[name]).encode())
    return digest.hexdigest()[:16]


@cache
def _local_imports(start: Path) -> dict[str, Path]:
    finder = ModuleFinder(path=[str(SCRIPTS)])
    finder.run_script(str(start))
    files = (Path(module.__file__).resolve() for module in finder.modules.values() if module.__file__)
    return {_label(path): path for path in files}


def _label(path: Path) -> str:
    return path.relative_to(SCRIPTS).as_posix() if path.is_relative_to(SCRIPTS) else path.name


@cache
def _essence(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if _has_docstring(node):
            node.body[0].value.value = ""
    return ast.unparse(tree)


def _has_docstring(node: ast.AST) -> bool:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None
