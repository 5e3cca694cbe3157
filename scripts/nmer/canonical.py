"""A canonical form of Python source that is the same in every version of Python and ignores what affects no result.

Ignored:
  - comments, layout, docstrings and imports for type checking;
  - the text of messages: string arguments of ``raise``, of the project's errors and of progress bars, messages of
    ``assert``, text that is printed, warned of or logged, local variables that hold only such text, and the ``help`` of
    command-line arguments. Calls inside messages count, because they may have side effects;
  - waiting times (``time.sleep``), and the names in :data:`UNCOUNTED`.
Every other string counts. ``ast.unparse`` cannot be used because its output differs between versions of Python. This
module imports only the standard library, so any Python can compute the form.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeGuard

UNCOUNTED = frozenset({"__version__", "CHECKPOINT_SECONDS"})
"""Module-level names whose values affect no result: the version, and how often progress is saved."""

LOGGING = ("debug", "info", "warning", "error", "exception", "critical", "log")
SILENT_CALLS = frozenset(
    {"print", "warnings.warn", "time.sleep", "sys.stderr.write", "sys.stderr.flush", "sys.stdout.flush"}
    | {f"logging.{level}" for level in LOGGING}
)
"""Calls whose arguments do not count, except for calls inside them."""

ERRORS = "nmer.errors."
LABELLED_CALLS = frozenset(
    {"nmer.progress.progress", "nmer.content.converting", "nmer.content.unreadable"}
    | {"tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.trange", "tqdm.auto.trange"}
)
"""Calls whose string arguments do not count, like those of the project's errors, which may be raised elsewhere."""

HELP = frozenset({"help", "metavar", "description", "epilog", "title", "usage"})
"""Arguments of command-line parsers that are only displayed."""
PARSERS = frozenset({"add_argument", "add_argument_group", "add_parser", "add_subparsers", "ArgumentParser"})

_PURE = frozenset(
    [
        "abs",
        "bool",
        "float",
        "format",
        "int",
        "len",
        "list",
        "map",
        "max",
        "min",
        "repr",
        "reversed",
        "round",
        "sorted",
        "str",
        "sum",
        "tuple",
        "zip",
    ]
)
"""Built-in functions without side effects."""
_TERMINAL = ("sys.stderr", "sys.stdout")
_IGNORED = ("ctx", "type_comment", "type_ignores", "kind")
_LOGGER = "<logger>"


def read(source: bytes | str) -> tuple[str, set[str]]:
    """Return the canonical form of a source and the modules it imports at run time, relative ones with their dots.

    ``from package import name`` yields both ``package`` and ``package.name``; the second need not be a module.
    Raises SyntaxError if the source is not valid Python.
    """
    tree = ast.parse(source)
    return _Form(tree).of(tree), set(_imports(tree))


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        yield base
        yield from (f"{base}{'' if base.endswith('.') else '.'}{alias.name}" for alias in node.names)
    for child in node.orelse if _for_types(node) else ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield from _imports(child)


class _Form:
    """Writes the syntax tree of one source as text."""

    def __init__(self, tree: ast.Module) -> None:
        self._origins = _origins(tree)
        self._messages = self._find_messages(tree)
        """Identities of assignments to names that hold text of messages, and of these names where they are raised."""

    def of(self, value: object) -> str:
        """Return the form of a node, a list of nodes or a plain value."""
        if isinstance(value, ast.Constant):
            return f"{type(value.value).__name__}:{_plain(value.value)}"
        if isinstance(value, ast.JoinedStr):
            return f"JoinedStr({self._joined(value)})"
        if isinstance(value, ast.Raise):
            return self._node(value, exc=self._raised(value.exc))
        if isinstance(value, ast.Assert):
            return self._node(value, msg=None)
        if isinstance(value, ast.Call):
            return self._call(value)
        if isinstance(value, ast.AST):
            return self._node(value)
        if isinstance(value, list):
            return f"[{','.join(self.of(item) for item in self._counted(value))}]"
        return _plain(value)

    def _node(self, node: ast.AST, **instead: object) -> str:
        # Leave out empty fields, because newer versions of Python add some.
        fields = dict(ast.iter_fields(node)) | instead
        written = (
            f"{name}={form}" for name in sorted(fields) if name not in _IGNORED if (form := self.of(fields[name]))
        )
        return f"{type(node).__name__}({','.join(form for form in written if not form.endswith(('=[]', '=None')))})"

    def _counted(self, items: list[object]) -> Iterator[object]:
        for item in items:
            if isinstance(item, ast.If) and _for_types(item):
                yield from self._counted(list(item.orelse))
            elif id(item) in self._messages and isinstance(item, ast.Assign | ast.AugAssign):
                yield from map(ast.Expr, self._doing([item.value]))
            elif not (isinstance(item, ast.Pass) or _uncounted(item) or self._only_talks(item)):
                yield item

    def _only_talks(self, item: object) -> bool:
        """Whether a statement is a docstring, or a call that only displays something."""
        if not isinstance(item, ast.Expr):
            return False
        value = item.value
        if isinstance(value, ast.Constant):
            return isinstance(value.value, str)
        return isinstance(value, ast.Call) and self._is_silent(value) and not self._doing(_arguments(value))

    def _call(self, call: ast.Call) -> str:
        if self._is_silent(call):
            return self._node(call, args=self._doing(_arguments(call)), keywords=None)
        name = self._name(call.func)
        if name in LABELLED_CALLS or name.startswith(ERRORS):
            keywords = [keyword for keyword in call.keywords if not _is_text(keyword.value)]
            return self._node(call, args=[value for value in call.args if not _is_text(value)], keywords=keywords)
        if name.rpartition(".")[2] in PARSERS:
            return self._node(call, keywords=[keyword for keyword in call.keywords if keyword.arg not in HELP])
        return self._node(call)

    def _raised(self, error: ast.expr | None) -> ast.expr | str | None:
        if not isinstance(error, ast.Call):
            return error
        args = [value for value in error.args if not self._is_message(value)]
        keywords = [keyword for keyword in error.keywords if not self._is_message(keyword.value)]
        # Raising an error class is the same as raising an instance without arguments.
        return ast.Call(error.func, args, keywords) if args or keywords else error.func

    def _is_message(self, value: ast.expr) -> bool:
        return _is_text(value) or id(value) in self._messages

    def _find_messages(self, tree: ast.Module) -> set[int]:
        found: set[int] = set()
        for function in _nodes(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= self._messages_of(function)
        return found

    def _messages_of(self, function: ast.AST) -> set[int]:
        """Find the assignments in a function to names that only hold text and are only raised or displayed."""
        inside = _nodes(function)
        if any(isinstance(node, ast.ClassDef | ast.Global | ast.Nonlocal) for node in inside):
            return set()  # its names may be read elsewhere
        assigned: dict[str, list[ast.Assign | ast.AugAssign]] = {}
        for node in inside:
            if isinstance(node, ast.Assign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if len(targets) == 1 and isinstance(targets[0], ast.Name):
                    assigned.setdefault(targets[0].id, []).append(node)
        words = {name: nodes for name, nodes in assigned.items() if all(_has_words(node.value) for node in nodes)}
        if not words:
            return set()
        names = [node for node in inside if isinstance(node, ast.Name)]
        shown = {id(name) for node in inside for name in self._shown_names(node)}
        bound = {argument.arg for argument in inside if isinstance(argument, ast.arg)}
        words = {
            name: nodes
            for name, nodes in words.items()
            if name not in bound
            and len(nodes) == sum(node.id == name and not isinstance(node.ctx, ast.Load) for node in names)
        }
        while True:
            own = {id(part) for nodes in words.values() for node in nodes for part in _nodes(node.value)}
            used = {node.id for node in names if isinstance(node.ctx, ast.Load) and id(node) not in shown | own}
            if not used & words.keys():
                break
            words = {name: nodes for name, nodes in words.items() if name not in used}
        raised = {id(node) for node in names if node.id in words and id(node) in shown}
        return raised | {id(node) for nodes in words.values() for node in nodes}

    def _shown_names(self, node: ast.AST) -> Iterator[ast.Name]:
        """Yield the names in a raised error or a displayed message."""
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            values = _arguments(node.exc)
        elif isinstance(node, ast.Call) and self._is_silent(node):
            values = _arguments(node)
        else:
            return
        yield from (part for value in values for part in _nodes(value) if isinstance(part, ast.Name))

    def _is_silent(self, call: ast.Call) -> bool:
        name = self._name(call.func)
        logger, _, level = name.rpartition(".")
        if name not in SILENT_CALLS and not (logger == _LOGGER and level in LOGGING):
            return False
        files = [keyword.value for keyword in call.keywords if keyword.arg in ("file", None)]
        return all(self._name(file) in _TERMINAL for file in files)

    def _doing(self, values: Iterable[ast.expr]) -> list[ast.expr]:
        """Find the parts of some values that may have side effects: calls, assignments, awaits."""
        found: list[ast.expr] = []
        for value in values:
            if isinstance(value, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) or (
                isinstance(value, ast.Call) and not self._is_pure(value)
            ):
                found.append(value)
            else:
                found += self._doing(_inner(value))
        return found

    def _is_pure(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Attribute):
            return isinstance(call.func.value, ast.Constant)  # ", ".join(...)
        return self._name(call.func) in _PURE

    def _name(self, function: ast.expr) -> str:
        """Return the dotted name of a function with its module, e.g. ``warnings.warn``; empty if it has none."""
        if isinstance(function, ast.Attribute):
            owner = self._name(function.value)
            return f"{owner}.{function.attr}" if owner else ""
        return self._origins.get(function.id, function.id) if isinstance(function, ast.Name) else ""

    def _joined(self, text: ast.JoinedStr) -> str:
        # Versions of Python split the constant parts of an f-string differently.
        parts: list[str] = []
        constant = ""
        for value in text.values:
            if isinstance(value, ast.Constant):
                constant += str(value.value)
                continue
            parts += [_plain(constant)] * bool(constant) + [self.of(value)]
            constant = ""
        return ",".join(parts + [_plain(constant)] * bool(constant))


def _origins(tree: ast.Module) -> dict[str, str]:
    """Map the names in a source to their origin: imported names to their module, loggers, and local names."""
    origins: dict[str, str] = {}
    nodes = _nodes(tree)
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            origins[node.name] = f"<own>{node.name}"
        elif isinstance(node, ast.arg):
            origins[node.arg] = f"<own>{node.arg}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            origins[node.id] = f"<own>{node.id}"
    for node in nodes:
        if isinstance(node, ast.Import):
            origins |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names if alias.asname}
            origins |= {alias.name.split(".")[0]: alias.name.split(".")[0] for alias in node.names if not alias.asname}
        elif isinstance(node, ast.ImportFrom):
            origins |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            function = node.value.func
            dotted = ast.unparse(function) if isinstance(function, ast.Attribute | ast.Name) else ""
            first, _, rest = dotted.partition(".")
            if ".".join(filter(None, (origins.get(first, first), rest))) == "logging.getLogger":
                origins |= {target.id: _LOGGER for target in node.targets if isinstance(target, ast.Name)}
    return origins


def _nodes(tree: ast.AST) -> list[ast.AST]:
    """Return a node and all nodes below it, in the order of :func:`ast.walk`, which takes twice the time."""
    found = [tree]
    for node in found:  # it grows
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg != "file")]


def _inner(value: ast.AST) -> list[ast.expr]:
    """Return the direct child expressions of a node, including those in the clauses of a comprehension."""
    inner: list[ast.expr] = []
    for child in ast.iter_child_nodes(value):
        inner += [child] if isinstance(child, ast.expr) else _inner(child)
    return inner


def _is_text(value: ast.expr) -> bool:
    """Whether a value is text: a string, an f-string, or a concatenation, formatting or choice of strings."""
    if isinstance(value, ast.JoinedStr):
        return True
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str)
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.Add | ast.Mod) and (_is_text(value.left) or _is_text(value.right))
    if isinstance(value, ast.IfExp):
        return _is_text(value.body) and _is_text(value.orelse)
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and _is_text(value.func.value)


def _has_words(value: ast.expr) -> bool:
    if isinstance(value, ast.IfExp):
        return _has_words(value.body) or _has_words(value.orelse)
    return _is_text(value)


def _for_types(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _uncounted(item: object) -> bool:
    if isinstance(item, ast.Assign) and len(item.targets) == 1:
        target = item.targets[0]
    elif isinstance(item, ast.AnnAssign):
        target = item.target
    else:
        return False
    return isinstance(target, ast.Name) and target.id in UNCOUNTED


def _plain(value: object) -> str:
    # ``repr`` of text depends on the characters a version of Python can print. Very long numbers have no decimal form.
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)
    return ascii(value)
