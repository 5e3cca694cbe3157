"""Find plug-ins (systems, noise kinds, layouts, figures) by name: one file each, shipped or user-defined.

A plug-in declares itself with a decorator whose arguments are literals::

    @system("nmer", pretraining="two_tower", options={"layers": 5})
    class NMER(System): ...

The plan reads this declaration from the source without importing it, because a system would import torch. A step
imports only the file that it needs. The key ``file`` of the configuration names user-defined files.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeGuard, TypeVar

from nmer import planned_code
from nmer.errors import ConfigError, NmerError, nearest


@dataclass(frozen=True)
class Declaration:
    """The declaration in a plug-in's source: its file, its options with their defaults, other attributes.

    summary: the first line of the docstring.
    """

    name: str
    file: Path
    options: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    summary: str = ""

    def check_options(self, given: Mapping[str, Any], where: str) -> None:
        """Raises ConfigError for an unknown option, or a value of a type other than its default's, not among its
        ``choices``, below its ``minimum`` or above its ``maximum``.

        where: the key of the configuration that contains the options.
        """
        for option, value in given.items():
            if option not in self.options:
                raise ConfigError(f"{where}: unknown key '{option}'. {nearest(option, self.options)}")
            if not _fits(value, self.options[option]):
                default = self.options[option]
                raise ConfigError(f"{where}.{option}: {value!r} is not like its default {default!r}. Correct it.")
            choices = self.attributes.get("choices", {}).get(option, (value,))
            if value not in choices:
                known = ", ".join(map(str, choices))
                raise ConfigError(f"{where}.{option}: {value!r} is not possible. Choose from: {known}.")
            least, most = (self.attributes.get(bound, {}).get(option) for bound in ("minimum", "maximum"))
            # "not >=" instead of "<", so that NaN is rejected.
            if least is not None and not value >= least:
                raise ConfigError(f"{where}.{option}: {value!r} is too small. Give at least {least}.")
            if most is not None and not value <= most:
                raise ConfigError(f"{where}.{option}: {value!r} is too large. Give at most {most}.")


PlugIn = TypeVar("PlugIn")


class Registry(Generic[PlugIn]):
    """Plug-ins of one sort. Shipped ones are in the folder of ``package``, one file per name."""

    def __init__(self, sort: str, decorator: str, package: str) -> None:
        self.sort = sort
        self.decorator = decorator
        self.package = package
        self._folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
        self._objects: dict[str, PlugIn] = {}
        self._from_files: dict[tuple[Path, int, str], PlugIn] = {}

    def register(self, name: str, **_attributes: object) -> Callable[[PlugIn], PlugIn]:
        """Decorate an object to register it by name. The keywords are read by :meth:`declaration`."""

        def remember(plug_in: PlugIn) -> PlugIn:
            self._objects[name] = plug_in
            return plug_in

        return remember

    def shipped(self) -> list[str]:
        """List the names of the plug-ins that come with the package."""
        return sorted(
            path.stem for path in self._folder.glob("*.py") if f"@{self.decorator}(" in path.read_text(encoding="utf-8")
        )

    def path(self, name: str, file: str | None = None) -> Path:
        """Return the file of a plug-in. Raises ConfigError, listing known names, if there is none."""
        path = Path(file) if file else self._folder / f"{name}.py"
        if not path.is_file():
            hint = f"No such file: {path}." if file else nearest(name, self.shipped())
            raise ConfigError(f"Unknown {self.sort} '{name}'. {hint}")
        if path.suffix != ".py":
            raise ConfigError(f"{path}: the file of a {self.sort} must end in .py. Name it {path.stem}.py.")
        return path

    def declaration(self, name: str, file: str | None = None) -> Declaration:
        """Read a plug-in's declaration from its source. Raises ConfigError if the file does not declare it."""
        path = self.path(name, file)
        for node, call in _decorated(path, path.stat().st_mtime_ns):
            if _declares(call, self.decorator, name):
                return self._read(node, call, name, path)
        raise ConfigError(f"{path}: declares no {self.sort} '{name}'. Put @{self.decorator}(\"{name}\") above it.")

    def load(self, name: str, file: str | None = None) -> PlugIn:
        """Import a plug-in's file and return the registered object. Raises ConfigError if a custom file fails."""
        path = self.path(name, file)
        if file:
            # Execute each version of the file once, so that every build of a system gives the same class.
            key = (path.resolve(), path.stat().st_mtime_ns, name)
            if key not in self._from_files:
                spec = importlib.util.spec_from_file_location(f"nmer_user_{path.stem}", path)
                assert spec, path
                assert spec.loader, path
                try:
                    spec.loader.exec_module(importlib.util.module_from_spec(spec))
                except (NmerError, MemoryError):
                    raise
                except (Exception, SystemExit) as error:  # any error of code that is not ours
                    planned_code.confirm(path)
                    raise ConfigError(
                        f"{path}: cannot be imported: {describe_failure(path, error)}. Correct the file."
                    ) from None
                planned_code.confirm(path)
                self._from_files[key] = self._registered(name, path)
            return self._from_files[key]
        importlib.import_module(f"{self.package}.{name}")
        return self._registered(name, path)

    def _registered(self, name: str, path: Path) -> PlugIn:
        if name not in self._objects:
            raise ConfigError(f"{path}: declares no {self.sort} '{name}'.")
        return self._objects[name]

    def _read(self, node: ast.AST, call: ast.Call, name: str, path: Path) -> Declaration:
        try:
            attributes = {_plain_name(keyword): ast.literal_eval(keyword.value) for keyword in call.keywords}
            options = attributes.pop("options", {})
            if isinstance(node, ast.FunctionDef):
                arguments = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                options |= {argument.arg: ast.literal_eval(default) for argument, default in arguments if default}
        except ValueError:
            raise ConfigError(
                f"{path}, line {call.lineno}: the declaration of '{name}' must consist of plain values."
            ) from None
        documented = isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
        summary = documented.strip().splitlines()[0] if documented else ""
        return Declaration(name, path, options, attributes, summary)


@lru_cache
def _decorated(path: Path, written: int) -> list[tuple[ast.AST, ast.expr]]:
    """Return every decorator in a source file with the object it decorates. written: modification time in ns.

    Cached, because a plan reads the same declarations once per job, of which there may be thousands."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: not valid Python ({error.msg}).") from None
    return [(node, call) for node in ast.walk(tree) for call in getattr(node, "decorator_list", [])]


def describe_failure(file: Path, error: BaseException) -> str:
    """Describe an exception raised by the code of a plug-in: last line in its file, type and message."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _same_file(frame.filename, file)]
    place = f"line {lines[-1]}: " if lines else ""
    message = " ".join(str(error).split())[:300].rstrip(".")
    return f"{place}{type(error).__name__}" + (f": {message}" if message else "")


def _same_file(name: str, file: Path) -> bool:
    return Path(name).resolve() == file.resolve()


def _fits(value: object, default: object) -> bool:
    if default is None or type(value) is type(default):
        return True
    return isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)


def _plain_name(keyword: ast.keyword) -> str:
    if keyword.arg is None:  # ``**{...}`` has no names that can be read
        raise ValueError
    return keyword.arg


def _declares(call: ast.expr, decorator: str, name: str) -> TypeGuard[ast.Call]:
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == decorator
        and bool(call.args)
        and isinstance(call.args[0], ast.Constant)
        and call.args[0].value == name
    )
