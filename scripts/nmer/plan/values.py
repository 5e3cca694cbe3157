"""Normalise the values of a configuration, which files and the command line may spell in several ways.

Examples are integers written as 2.0, numbers inside a ``--config`` mapping, which arrive as text, ``~`` in paths, keys
that are not text, and duplicate keys.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from nmer.errors import ConfigError

LARGEST = 2**63 - 1
"""Largest integer that the libraries accept."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def normalised(config: dict[str, Any], schema: dict[str, Any], command_line: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a configuration with one spelling of every value.

    schema: that of the configuration; where it requires an integer, 2.0 becomes 2. command_line: the entries of
    ``--config``; text inside their mappings and lists is parsed as YAML. Paths may begin with ``~``.
    Raises ConfigError for an unsupported key or value: a key that is not text, a date, a reference to itself.
    """
    check_values(config)
    typed = _typed(copy.deepcopy(config), command_line)
    whole: dict[str, Any] = _whole(typed, schema, schema)
    return _with_home(whole)


def check_values(value: object, where: str = "", above: tuple[int, ...] = ()) -> None:
    """Raises ConfigError, naming the key, for a value that a configuration cannot contain."""
    named = where or "config"
    if isinstance(value, dict | list):
        if id(value) in above:
            raise ConfigError(f"{named}: refers to itself (a YAML anchor inside what it names). Remove the reference.")
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict) and not isinstance(key, str):
                hint = "YAML does not read on, off, yes, no, null and numbers as text"
                raise ConfigError(f"{named}: the key {key!r} is not text ({hint}). Put it in quotes or correct it.")
            if isinstance(key, str) and _NO_TEXT.search(key):
                raise ConfigError(f"{named}: the key {key!r} contains an invalid character. Remove it.")
            check_values(inner, f"{where}.{key}" if where else str(key), (*above, id(value)))
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST:
        raise ConfigError(f"{named}: a number of {len(str(abs(value)))} digits is too large. Correct the value.")
    elif isinstance(value, str) and _NO_TEXT.search(value.replace("\n", "")):
        raise ConfigError(f"{named}: {value!r} contains an invalid character. Remove it.")
    elif not isinstance(value, str | int | float | None):
        raise ConfigError(f"{named}: {str(value)!r} is a {type(value).__name__} to YAML. Put it in quotes.")


def check_finite(value: object, where: str = "config") -> None:
    """Raises ConfigError, naming the key, for a number that is infinite or NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where.removeprefix('config.')}: {value} is not a finite number. Correct the value.")
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            check_finite(inner, f"{where}.{key}")


def check_keys(file: Path) -> None:
    """Raises ConfigError if a mapping of a YAML file has a key twice, because YAML would silently use the last one.

    Invalid YAML is ignored here; the reader of the file reports it.
    """
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return
    for key in _repeated(root, set()):
        line = key.start_mark.line + 1
        raise ConfigError(f"{file}, line {line}: the key '{key.value}' is given twice. Keep one of them.")


def _repeated(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    yield key
                keys.add(key.value)
            yield from _repeated(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item, seen)


def _typed(config: Any, overrides: dict[str, Any]) -> Any:
    """Replace the nested text of the command line with parsed values."""
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            for inner, nested in value.items():
                if isinstance(nested, dict):
                    _typed(config[key], {inner: nested})
                elif inner in config[key]:
                    config[key][inner] = _read(nested)
        elif isinstance(value, list):
            config[key] = _read(value)
    return config


def _read(value: Any) -> Any:
    """Parse text as YAML, and numbers like 1e-3, which YAML does not recognise."""
    if isinstance(value, list):
        return [_read(item) for item in value]
    if isinstance(value, dict):
        return {key: _read(item) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    if not _NUMBER.fullmatch(value):
        return value
    return int(value) if re.fullmatch(r"[-+]?\d+", value) else float(value)


def _whole(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a value with integers wherever its schema requires them."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
    if isinstance(value, dict):
        others = schema.get("additionalProperties")
        rest = others if isinstance(others, dict) else {}
        known = schema.get("properties", {})
        alternatives = [one for one in schema.get("oneOf", ()) if one.get("type") == "object"]
        if alternatives:
            return _whole(value, alternatives[0], root)
        return {key: _whole(inner, known.get(key, rest), root) for key, inner in value.items()}
    if isinstance(value, list):
        for one in schema.get("oneOf", ()):
            resolved = root["$defs"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one
            if resolved.get("type") == "array":
                return _whole(value, resolved, root)
        return [_whole(item, schema.get("items", {}), root) for item in value]
    if isinstance(value, float) and value.is_integer() and _wants_whole(schema):
        return int(value)
    return value


def _wants_whole(schema: dict[str, Any]) -> bool:
    if any(_wants_whole(one) for one in schema.get("oneOf", ())):
        return True
    choices = schema.get("enum", ())
    return schema.get("type") == "integer" or any(isinstance(choice, int) for choice in choices)


def _with_home(config: dict[str, Any]) -> dict[str, Any]:
    """Replace ``~`` at the beginning of every path with the home folder."""
    sections: list[tuple[dict[str, Any], tuple[str, ...]]] = [(config, ("data",))]
    for part in ("datasets", "systems"):
        sections += [(section, ("path", "file")) for section in _mappings(config.get(part))]
    noise = config.get("noise")
    kinds = noise.get("kinds") if isinstance(noise, dict) else None
    sections += [(section, ("file",)) for section in _mappings(kinds)]
    for section, keys in sections:
        for key in keys:
            path = section.get(key)
            if isinstance(path, str) and path.startswith("~"):
                try:
                    section[key] = str(Path(path).expanduser())
                except RuntimeError:
                    raise ConfigError(f"{key}: the home folder in '{path}' is unknown. Write the full path.") from None
    return config


def _mappings(section: Any) -> list[dict[str, Any]]:
    return [value for value in section.values() if isinstance(value, dict)] if isinstance(section, dict) else []
