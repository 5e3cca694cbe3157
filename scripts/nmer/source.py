"""Read classes, functions and the options that they declare from source code, without importing it.

Names are followed to where they are defined: in the same file, or in a module of this package that it imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from nmer.errors import ConfigError
from nmer.options import Bounds, Option

PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Module:
    """One source file. defined: name -> its class, or the value assigned to it. imported: name -> where it is."""

    path: Path
    decorated: list[tuple[ast.AST, ast.expr]]
    defined: dict[str, ast.AST] = field(default_factory=dict)
    imported: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, node: ast.AST | None, user: ast.AST | None = None) -> tuple[ast.AST, Module] | None:
        """Return the definition that a name refers to, with its module; None if it is defined elsewhere.

        user: the definition that contains the name, which it cannot refer to.
        """
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node.value)
            module, name = ".".join(self.imported.get(dotted, (dotted,))), node.attr
        elif not isinstance(node, ast.Name):
            return None
        elif self.defined.get(node.id, user) is not user:
            return self.defined[node.id], self
        else:
            *modules, name = self.imported.get(node.id, ("", ""))
            module = ".".join(modules)
        path = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
        if module.split(".")[0] != PACKAGE.name or not path.is_file():
            return None
        return read(path).find(ast.Name(name))


def read(path: Path) -> Module:
    """Parse a source file, again only if it changed. Raises ConfigError if it is not valid Python."""
    return _parsed(path, path.stat().st_mtime_ns)


@lru_cache
def _parsed(path: Path, _written: int) -> Module:
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        place = f"{path}, line {error.lineno}" if error.lineno else f"{path}"
        raise ConfigError(f"{place}: not valid Python ({error.msg}). Correct it.") from None
    module = Module(path, [(node, call) for node in ast.walk(tree) for call in getattr(node, "decorator_list", [])])
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            module.imported.update({alias.asname or alias.name: (node.module, alias.name) for alias in node.names})
        elif isinstance(node, ast.Import):
            module.imported.update({alias.asname: (alias.name,) for alias in node.names if alias.asname})
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            module.defined[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            module.defined.update(dict.fromkeys(names, statement.value))
    return module


def options(node: ast.AST, module: Module) -> dict[str, Option]:
    """Return the options of a plug-in by name.

    A function's are its keyword-only arguments with a default; if it takes ``**``, those of the class that it returns
    come first. A class's are :func:`class_options`. Raises ConfigError for a default or a limit that is not a literal.
    """
    if isinstance(node, ast.ClassDef):
        found = class_options(node, module)
        _check_constructor(node, found, module)
        return found
    if not isinstance(node, ast.FunctionDef):
        return {}
    returned = module.find(node.returns) if node.args.kwarg else None
    found = class_options(returned[0], returned[1]) if returned and isinstance(returned[0], ast.ClassDef) else {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default:
            found[argument.arg] = _option(argument.annotation, default, module)
    return found


def class_options(node: ast.ClassDef, module: Module) -> dict[str, Option]:
    """Return the annotated attributes of a class and its bases whose value is a number, a string or a Boolean.

    A plain assignment in a subclass fixes an option, which can then no longer be given. ``ClassVar`` marks other
    attributes.
    """
    found: dict[str, Option] = {}
    for base in reversed(node.bases):
        located = module.find(base, node)
        if located and isinstance(located[0], ast.ClassDef):
            found |= class_options(located[0], located[1])
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                found.pop(getattr(target, "id", ""), None)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            if _name(statement.annotation) == "ClassVar":
                continue
            option = _option(statement.annotation, statement.value, module)
            if isinstance(option.default, str | int | float):
                found[statement.target.id] = option
    return found


def _check_constructor(node: ast.ClassDef, options: dict[str, Option], module: Module) -> None:
    """Raise ConfigError if a class's constructor cannot be given its options, or takes others."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            where, named = f"{module.path}, line {method.lineno}", [each.arg for each in method.args.kwonlyargs]
            if other := next((name for name in named if name not in options), None):
                raise ConfigError(
                    f"{where}: the constructor of '{node.name}' takes '{other}', which is no option. Declare it in the "
                    f"class, such as '{other}: int = 8', and take **options, for super().__init__."
                )
            if not method.args.kwarg and set(options) - set(named):
                raise ConfigError(
                    f"{where}: the constructor of '{node.name}' takes no options. Write __init__(self, dims, classes, "
                    "dropout, **options) and hand them to super().__init__(dims, classes, dropout, **options)."
                )


def _option(annotation: ast.expr | None, default: ast.expr, module: Module) -> Option:
    try:
        value = ast.literal_eval(default)
        limits = list(_limits(annotation, module))
    except (ValueError, TypeError, SyntaxError):
        raise ConfigError(
            f"{module.path}, line {default.lineno}: a default and its limits must be plain values. Write them out."
        ) from None
    bounds = next((limit for limit in limits if isinstance(limit, Bounds)), Bounds())
    return Option(value, bounds, next((limit for limit in limits if isinstance(limit, tuple)), ()))


def _limits(annotation: ast.expr | None, module: Module) -> Iterator[Bounds | tuple[object, ...]]:
    """Yield the bounds and the choices in an annotation."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if located := module.find(annotation):
        if isinstance(located[0], ast.expr):
            yield from _limits(located[0], located[1])
    elif isinstance(annotation, ast.Subscript):
        inner = annotation.slice
        if _name(annotation) == "Literal":
            values = ast.literal_eval(inner)
            yield values if isinstance(values, tuple) else (values,)
        elif _name(annotation) == "Annotated" and isinstance(inner, ast.Tuple):
            yield from _limits(inner.elts[0], module)
            for limit in inner.elts[1:]:
                if isinstance(limit, ast.Call) and _name(limit.func) == Bounds.__name__:
                    by_name = {each.arg or "": ast.literal_eval(each.value) for each in limit.keywords}
                    yield Bounds(*map(ast.literal_eval, limit.args), **by_name)


def _name(expression: ast.expr) -> str:
    """Return the last part of a dotted name, without brackets after it."""
    if isinstance(expression, ast.Subscript):
        return _name(expression.value)
    return getattr(expression, "attr", getattr(expression, "id", ""))
