"""The configuration as Snakemake puts it together, for programs that look at an experiment without starting Snakemake.

The shipped ``config.yaml``, ``config/config.yaml`` where there is one, then the files of ``--configfile``, then the
entries of ``--config``: each over what came before.
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
"""Configuration that a folder has of its own, laid over what the workflow ships."""


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a program the arguments that name a configuration, spelt as Snakemake spells them."""
    parser.add_argument("--config", nargs="*", default=[], metavar="KEY=VALUE", help="as given to snakemake")
    parser.add_argument("--configfile", nargs="*", default=[], type=Path, metavar="FILE", help="as given to snakemake")


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan of the experiment that these arguments name. Raises ConfigError or DataError as the plan does."""
    files = [shipped_file(), *([OWN_FILE] if OWN_FILE.exists() else []), *arguments.configfile]
    entries = read_config([], arguments.config)
    try:
        return Plan(read_config(files, arguments.config), entries)
    except ConfigError as error:
        raise ConfigError(merged_message(error, files, entries)) from None


def shipped_file() -> Path:
    """The configuration that the workflow ships, by its name alone where this is the workflow's folder."""
    path = fingerprint.SCRIPTS.parent / "config.yaml"
    return Path(path.name) if path.parent == Path.cwd() else path


def merged_message(error: ConfigError, files: Iterable[Path], entries: Mapping[str, Any]) -> str:
    """What an error says, with the names of the sources that the configuration was merged from.

    files: in the order in which they were merged; a file that cannot be read is an error of its own. entries: those of
    ``--config``. What only chooses the experiment and the folder of the data counts for no source.
    """
    sources: list[tuple[str, Mapping[str, Any]]] = [(str(file), _read(file)) for file in files if file.is_file()]
    if entries.keys() - {"experiment", "data"}:
        sources.append(("--config", entries))
    return name_sources(str(error), sources)


def read_config(files: Iterable[Path], entries: Iterable[str]) -> dict[str, Any]:
    """The configuration of files and of ``key=value`` entries. Raises ConfigError if one of them is none."""
    config: dict[str, Any] = {}
    for file in files:
        laid_over(config, _read(file))
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not (key and equals):
            raise ConfigError(f"--config: '{entry}' has no value. Write it like experiment=demo.")
        laid_over(config, {key: _value(text)})
    return config


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file. Correct the path.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML ({' '.join(str(error).split())}). Correct it.") from None
    check_keys(file)
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: not a mapping of keys to values. Correct it.")
    return content


def laid_over(config: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A configuration with another one over it, as Snakemake merges them: mappings key by key. Changes the first."""
    for key, value in over.items():
        below = config.get(key)
        config[key] = laid_over(below if isinstance(below, dict) else {}, value) if isinstance(value, dict) else value
    return config


def _value(text: str) -> object:
    """A value of the command line: a number, True, False, or YAML whose scalars stay text."""
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
