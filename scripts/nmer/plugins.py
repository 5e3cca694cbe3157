"""Find plug-ins (systems, noise kinds, layouts, figures, extractors) by name, shipped or user-defined.

A plug-in registers with a decorator whose arguments are literals, and declares its options with defaults and
limits (:mod:`nmer.options`)::

    @system("my_system", pretraining="two_tower")
    class MySystem(System):
        layers: Annotated[int, Bounds(1)] = 5

The plan reads this declaration from the source without importing it, because a system would import torch. A step
imports only the file that it needs. The key ``file`` of the configuration names user-defined files.
"""

from __future__ import annotations

import ast
import errno
import functools
import importlib
import importlib.util
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeGuard, TypeVar

from nmer import planned_code, source
from nmer.errors import ConfigError, NmerError, nearest
from nmer.options import Option


@dataclass(frozen=True)
class Declaration:
    """A plug-in as its source declares it: its file, its options, the arguments of its decorator.

    summary: the first line of the docstring.
    """

    name: str
    file: Path
    declared: dict[str, Option] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    summary: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """The default of every option."""
        return {name: option.default for name, option in self.declared.items()}

    def check_options(self, given: Mapping[str, Any], where: str) -> None:
        """Raises ConfigError for an unknown option, or a value of another type than its default or beyond its limits.

        where: the key of the configuration that contains the options.
        """
        for option, value in given.items():
            if option not in self.declared:
                raise ConfigError(f"{where}: unknown key '{option}'. {nearest(option, self.declared)}")
            if reason := self.declared[option].reject(value):
                raise ConfigError(f"{where}.{option}: {reason}")


PlugIn = TypeVar("PlugIn")


class Registry(Generic[PlugIn]):
    """Plug-ins of one sort. Shipped ones are in the folder of ``package``."""

    def __init__(self, sort: str, decorator: str, package: str) -> None:
        self.sort = sort
        self.decorator = decorator
        self.package = package
        self._folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
        self._objects: dict[str, PlugIn] = {}
        self._from_files: dict[tuple[Path, int, str], PlugIn] = {}
        self._declarations: dict[tuple[str, Path, int], Declaration] = {}
        self._names: tuple[int, dict[str, Path]] = (0, {})

    def register(self, name: str, **_attributes: object) -> Callable[[PlugIn], PlugIn]:
        """Decorate an object to register it by name. The keywords are read by :meth:`declaration`."""

        def remember(plug_in: PlugIn) -> PlugIn:
            self._objects[name] = plug_in
            return plug_in

        return remember

    def shipped(self) -> list[str]:
        """List the names of the plug-ins that come with the package."""
        return sorted(self._shipped_files())

    def path(self, name: str, file: str | None = None) -> Path:
        """Return the file of a plug-in. Raises ConfigError, listing known names, if there is none."""
        path = Path(file) if file else self._shipped_files().get(name)
        if path is None:
            raise ConfigError(f"Unknown {self.sort} '{name}'. {nearest(name, self.shipped())}")
        if not path.is_file():
            fault = "is a folder" if path.is_dir() else "no such file"
            raise ConfigError(f"{path}: {fault}. Name the Python file that declares the {self.sort} '{name}'.")
        if path.suffix != ".py":
            raise ConfigError(f"{path}: the file of a {self.sort} must end in .py. Name it {path.stem}.py.")
        return path

    def declaration(self, name: str, file: str | None = None) -> Declaration:
        """Read a plug-in's declaration from its source. Raises ConfigError if the file does not declare it."""
        path = self.path(name, file)
        # A plan reads the same declarations once per job, of which there may be thousands.
        key = (name, path, path.stat().st_mtime_ns)
        if key in self._declarations:
            return self._declarations[key]
        module = source.read(path)
        for node, call in module.decorated:
            if _declares(call, self.decorator, name):
                self._declarations[key] = self._read(node, call, name, module)
                return self._declarations[key]
        raise ConfigError(
            f"{path}: declares no {self.sort} '{name}'. Put @{self.decorator}(\"{name}\") above its class or function."
        )

    def declares(self, file: Path, name: str) -> bool:
        """Whether a file declares a plug-in of this name."""
        return any(_declares(call, self.decorator, name) for _node, call in source.read(file).decorated)

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
                with custom_code(path, "cannot be imported", "Correct the file."):
                    try:
                        spec.loader.exec_module(importlib.util.module_from_spec(spec))
                    finally:
                        planned_code.confirm(path)
                self._from_files[key] = self._registered(name, path)
            return self._from_files[key]
        importlib.import_module(f"{self.package}.{path.stem}")
        return self._registered(name, path)

    def _registered(self, name: str, path: Path) -> PlugIn:
        if name not in self._objects:
            raise ConfigError(f"{path}: declares no {self.sort} '{name}'.")
        return self._objects[name]

    def _shipped_files(self) -> dict[str, Path]:
        """Map every shipped plug-in to its file, which may hold several. Read again if files come or go."""
        changed = self._folder.stat().st_mtime_ns
        if self._names[0] != changed:
            files = sorted(self._folder.glob("*.py"))
            self._names = changed, {name: path for path in files for name in _registered_names(path, self.decorator)}
        return self._names[1]

    def _read(self, node: ast.AST, call: ast.Call, name: str, module: source.Module) -> Declaration:
        where = f"{module.path}, line {call.lineno}"
        try:
            attributes = {_plain_name(keyword): ast.literal_eval(keyword.value) for keyword in call.keywords}
        except ValueError:
            raise ConfigError(f"{where}: the declaration of '{name}' must consist of plain values.") from None
        if former := next((keyword for keyword in FORMER if keyword in attributes), None):
            raise ConfigError(f"{where}: @{self.decorator} takes no '{former}'. {FORMER[former]}")
        documented = isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
        summary = documented.strip().splitlines()[0] if documented else ""
        return Declaration(name, module.path, source.options(node, module), attributes, summary)


FORMER = {
    "options": "Declare the option in the class, such as 'width: int = 128'.",
    "choices": 'Annotate the option, such as \'form: Literal["ring", "hier"] = "ring"\'.',
} | dict.fromkeys(
    ("minimum", "maximum"),
    "Annotate the option, such as 'rate: Annotated[float, Bounds(0.0, 1.0)] = 0.5', with Bounds of nmer.options.",
)
"""Arguments of decorators until version 0.2 -> what to write today."""


def _registered_names(path: Path, decorator: str) -> list[str]:
    """List the names under which plug-ins of one sort register in a file."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"""^@{decorator}\(\s*["']([^"']+)["']""", text, flags=re.MULTILINE)


def describe_failure(file: Path, error: BaseException) -> str:
    """Describe an exception raised by the code of a plug-in: last line in its file, type and message."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _same_file(frame.filename, file)]
    place = f"line {lines[-1]}: " if lines else ""
    message = " ".join(str(error).split())[:300].rstrip(".")
    return f"{place}{type(error).__name__}" + (f": {message}" if message else "")


@contextmanager
def custom_code(file: Path, failed: str, remedy: str) -> Iterator[None]:
    """Turn any error of the code of a custom plug-in into a ConfigError that names its file.

    failed, remedy: of the message, before and after the error. A full disk and exhausted memory are not errors of the
    code, and an NmerError has its own message.
    """
    try:
        yield
    except (NmerError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ConfigError(f"{file}: {failed}: {describe_failure(file, error)}. {remedy}") from None


def report_failures(function: Callable[..., Any], file: str | Path, sort: str) -> Callable[..., Any]:
    """Wrap a function of a custom plug-in so that any error of its code is a ConfigError that names the file.

    sort: of the plug-in, for the message. Attributes of the function are kept.
    """

    @functools.wraps(function)
    def call(*arguments: object, **options: object) -> Any:
        with custom_code(Path(file), "failed", f"Correct the {sort}."):
            return function(*arguments, **options)

    return call


def _same_file(name: str, file: Path) -> bool:
    return Path(name).resolve() == file.resolve()


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
