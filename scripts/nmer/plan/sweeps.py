"""Expand ``sweep`` in an experiment to variants of one system, one per combination of the listed values."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

from nmer.errors import ConfigError, nearest
from nmer.names import UNIMODAL_SYSTEMS
from nmer.plan.settings import TrainingSettings
from nmer.plan.variants import check_kinds, declared, kind_of
from nmer.references.registry import REFERENCES

TRAINING = "training."
"""Prefix of training keys in ``over``, as in ``training.learning_rate``."""


def expanded(config: dict[str, Any], check_training: Callable[[Mapping[str, Any], str], None]) -> dict[str, Any]:
    """Return a configuration with the variants of its experiment's sweep; unchanged without a sweep.

    The variants are sections of ``systems`` and follow the swept system in the experiment's systems.
    check_training: raises ConfigError for training keys that the schema rejects.
    Raises ConfigError for an invalid system, option or value.
    """
    name = config["experiment"]
    sweep = config["experiments"].get(name, {}).get("sweep")
    if not sweep:
        return config
    where, sections = f"experiments.{name}.sweep", config.get("systems", {})
    _check(sweep, sections, where, check_training)
    changed = copy.deepcopy(config)
    variants = _variants(sweep, sections)
    if taken := next((variant for variant in variants if variant in sections), None):
        raise ConfigError(f"{where}: it would create '{taken}', which is already in systems. Rename that system.")
    changed["systems"] = {**sections, **variants}
    experiment, system = changed["experiments"][name], sweep["system"]
    own = [variant for variant in variants if variant not in experiment["systems"]]
    place = experiment["systems"].index(system) + 1 if system in experiment["systems"] else len(experiment["systems"])
    experiment["systems"] = [*experiment["systems"][:place], *own, *experiment["systems"][place:]]
    return changed


def swept_values(sweep: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return variant -> option or ``training.`` key -> value. sweep: of an experiment, or an empty mapping."""
    over = sweep.get("over", {})
    points = [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())] if over else []
    return {variant_name(sweep["system"], point): point for point in points}


def variant_name(system: str, values: Mapping[str, Any]) -> str:
    """Return the name of a variant of a sweep, e.g. ``nmer_divergence_weight_0.1``."""
    parts = [f"{key.removeprefix(TRAINING)}_{_spelt(value)}" for key, value in values.items()]
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", "_".join([system, *parts]))


def _variants(sweep: Mapping[str, Any], sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    system = sweep["system"]
    base, declaration = sections.get(system, {}), declared(sections, system)
    title = base.get("title", "")
    variants = {}
    for name, values in swept_values(sweep).items():
        own: dict[str, Any] = copy.deepcopy(base) | {"kind": kind_of(sections, system)}
        for key, value in values.items():
            if key.startswith(TRAINING):
                own["training"] = own.get("training", {}) | {key.removeprefix(TRAINING): value}
            else:
                whole = isinstance(declaration.options[key], int) and isinstance(value, float) and value.is_integer()
                own[key] = int(value) if whole else value
        point = ", ".join(f"{key.removeprefix(TRAINING)} {_spelt(value)}" for key, value in values.items())
        variants[name] = own | ({"title": f"{title}, {point}"} if title else {})
    return variants


def _check(
    sweep: Mapping[str, Any],
    sections: Mapping[str, Any],
    where: str,
    check_training: Callable[[Mapping[str, Any], str], None],
) -> None:
    check_kinds(sections)
    system = sweep["system"]
    if system in REFERENCES or system in UNIMODAL_SYSTEMS:
        raise ConfigError(f"{where}.system: '{system}' has no variants. Name a multimodal system.")
    try:
        declaration = declared(sections, system)
    except ConfigError as error:
        raise ConfigError(f"{where}.system: {error}") from None
    known = [*declaration.options, *(f"{TRAINING}{key}" for key in TrainingSettings.__dataclass_fields__)]
    for key, values in sweep["over"].items():
        if key not in known:
            raise ConfigError(f"{where}.over: '{system}' has no option '{key}'. {nearest(key, known)}")
        for value in values:
            if key.startswith(TRAINING):
                check_training({key.removeprefix(TRAINING): value}, f"{where}.over.{key}")
            else:
                whole = isinstance(value, float) and value.is_integer() and type(declaration.options[key]) is int
                declaration.check_options({key: int(value) if whole else value}, f"{where}.over")


def _spelt(value: object) -> str:
    """Return a value as printed: 1.0 as 1, True as true."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
