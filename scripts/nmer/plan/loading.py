"""Merge the configuration as Snakemake does, for programs that read an experiment without starting Snakemake.

The shipped ``config.yaml``, ``config/config.yaml`` if it exists, the files of ``--configfile`` and the entries of
``--config`` are merged in this order; later values override earlier ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from nmer import fingerprint
from nmer.errors import ConfigError
from nmer.plan.config import name_sources
from nmer.plan.plan import Plan
from nmer.plan.values import check_keys

OWN_FILE = Path("config/config.yaml")
"""Configuration of the working folder, merged over the shipped one."""


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select a configuration, named as in Snakemake."""
    parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help="as given to snakemake")
    parser.add_argument("--configfile", nargs="*", default=[], type=Path, metavar="FILE", help="as given to snakemake")


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Return the plan of the selected experiment. Raises ConfigError or DataError as the plan does."""
    files = [shipped_file(), *([OWN_FILE] if OWN_FILE.exists() else []), *arguments.configfile]
    entries = read_config([], arguments.config)
    try:
        return Plan(read_config(files, arguments.config), entries)
    except ConfigError as error:
        raise ConfigError(merged_message(error, files, entries)) from None


def check_files(files: Iterable[Path]) -> None:
    """Raises ConfigError, or OSError, for a file that is missing or holds no configuration.

    Snakemake reports such a file with a traceback or without its name.
    """
    for file in files:
        _read(file)


def shipped_file() -> Path:
    """Return the path of the shipped configuration; only its name in the workflow's folder."""
    path = fingerprint.SCRIPTS.parent / "config.yaml"
    return Path(path.name) if path.parent == Path.cwd() else path


def merged_message(error: ConfigError, files: Iterable[Path], entries: Mapping[str, Any]) -> str:
    """Return the message of an error with the names of the merged sources.

    files: in the order of merging; an unreadable one raises ConfigError. entries: those of ``--config``. Entries
    that only select the experiment or the data folder do not count as a source.
    """
    sources: list[tuple[str, Mapping[str, Any]]] = [(str(file), _read(file)) for file in files if file.is_file()]
    if entries.keys() - {"experiment", "data"}:
        sources.append(("--config", entries))
    return name_sources(str(error), sources)


def read_config(files: Iterable[Path], entries: Iterable[str]) -> dict[str, Any]:
    """Read and merge files and ``key=value`` entries. Raises ConfigError if one of them is invalid."""
    config: dict[str, Any] = {}
    for file in files:
        merge(config, _read(file))
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not (key and equals):
            raise ConfigError(f"--config: '{entry}' has no value. Write it like experiment=demo.")
        merge(config, {key: _value(text)})
    return config


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file. Correct the path.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text. Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML ({' '.join(str(error).split())}). Correct it.") from None
    check_keys(file)
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: not a mapping of keys to values. Correct it.")
    return content


def merge(config: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge a configuration over another as Snakemake does, mappings key by key. Changes the first; returns it."""
    for key, value in over.items():
        below = config.get(key)
        config[key] = merge(below if isinstance(below, dict) else {}, value) if isinstance(value, dict) else value
    return config


def _value(text: str) -> object:
    """Parse a value of the command line: a number, True, False, or YAML whose scalars stay text."""
    if not text:
        return None
    readers: tuple[Callable[[str], object], ...] = (int, float, {"True": True, "False": False}.__getitem__, _yaml_text)
    for read in readers:
        try:
            return read(text)
        except (ValueError, KeyError, yaml.YAMLError):
            continue
    return text


def _yaml_text(text: str) -> object:
    return yaml.load(text, Loader=yaml.BaseLoader)
