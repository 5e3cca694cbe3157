"""A digest of the code that a step runs, so that Snakemake reruns exactly what an edit changes (DESIGN section 7).

Comments, layout and docstrings do not count; third-party libraries do not either (their versions are recorded).
"""

from __future__ import annotations

import ast
import hashlib
import io
from functools import cache
from modulefinder import Module, ModuleFinder
from pathlib import Path
from typing import IO

SCRIPTS = Path(__file__).resolve().parent.parent


@cache
def fingerprint(script: str, plugins: tuple[Path, ...] = ()) -> str:
    """Digest of a step script, the local modules it imports (transitively) and the plug-in files it loads by name.

    script: file name in ``scripts/``. plugins: files that the step imports dynamically. Returns 16 hexadecimal digits.
    """
    sources: set[Path] = set()
    for start in (SCRIPTS / script, *plugins):
        sources |= _local_imports(start.resolve())
    digest = hashlib.sha256()
    for part in sorted((_label(path), _essence(path)) for path in sources):
        digest.update("\n".join(part).encode())
    return digest.hexdigest()[:16]


@cache
def _local_imports(start: Path) -> frozenset[Path]:
    finder = _RunTimeImports(path=[str(SCRIPTS)])
    finder.run_script(str(start))
    files = (getattr(module, "__file__", None) for module in finder.modules.values())
    return frozenset(Path(file).resolve() for file in files if file)


def _label(path: Path) -> str:
    return path.relative_to(SCRIPTS).as_posix() if path.is_relative_to(SCRIPTS) else path.name


@cache
def _essence(path: Path) -> str:
    return ast.unparse(_WithoutText().visit(ast.parse(path.read_text(encoding="utf-8"))))


class _RunTimeImports(ModuleFinder):
    """Follows the imports that are executed, not those for types alone."""

    def load_module(self, fqname: str, fp: IO[str], pathname: str, file_info: tuple[str, str, str]) -> Module:
        """The hook that reads a module: a package has no source of its own here, its ``__init__`` comes as a module."""
        if fp:  # for a package or what is built in there is none, whatever the types say
            fp = io.StringIO(ast.unparse(_WithoutTypes().visit(ast.parse(fp.read()))))
        return super().load_module(fqname, fp, pathname, file_info)


class _WithoutTypes(ast.NodeTransformer):
    """Drops what stands under ``if TYPE_CHECKING``."""

    def visit_If(self, node: ast.If) -> ast.If | list[ast.stmt]:
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


class _WithoutText(ast.NodeTransformer):
    """Drops docstrings, those of constants too: statements that are nothing but a string."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if vars(node).get("body") == []:
            vars(node)["body"] = [ast.Pass()]
        return node
