"""Whether an experiment fits the target of its datasets, classes or a score (SPEC 14): each fault in one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nmer.errors import ConfigError
from nmer.figures import figures, fits_target
from nmer.metrics import CLASSES, METRICS, SCORE, check_metrics, of_target
from nmer.plan.settings import LOSS
from nmer.references.registry import REFERENCE_TARGETS


def target_of(dataset: Mapping[str, Any]) -> str:
    """The target of a dataset's section."""
    return str(dataset.get("target", CLASSES))


def check_targets(config: Mapping[str, Any], experiment: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError if the datasets of an experiment differ in their target, or one of its keys needs another.

    where: the experiment's key. Its datasets, systems and figures must exist.
    """
    targets = {name: target_of(config["datasets"][name]) for name in experiment["datasets"]}
    if len(set(targets.values())) > 1:
        told = ", ".join(f"{name} {target}" for name, target in targets.items())
        raise ConfigError(
            f"{where}.datasets: their targets differ ({told}), and so do their metrics. Make one experiment for each."
        )
    target = next(iter(targets.values()))
    check_metrics(experiment.get("metrics", []), target, f"{where}.metrics")
    for system in experiment["systems"]:
        if REFERENCE_TARGETS.get(system, target) != target:
            fitting = ", ".join(name for name, own in REFERENCE_TARGETS.items() if own == target)
            raise ConfigError(
                f"{where}.systems: '{system}' does not predict what the datasets have, 'target: {target}'. Reference "
                f"rows that do: {fitting}."
            )
    general, special = config.get("training", {}), experiment.get("training", {})
    for key, sections in (
        ("", (general, special)),
        (".pretraining", [_pretraining(part) for part in (general, special)]),
    ):
        _check_selection(sections, target, key, where)
    if target == CLASSES and "score_loss" in {**special, **_pretraining(special)}:
        raise ConfigError(
            f"{where}.training.score_loss: the datasets have classes, whose loss is the cross-entropy. Remove the key."
        )
    for name in experiment.get("figures", []):
        declared = figures.declaration(name, config.get("figures", {}).get(name, {}).get("file"))
        if not fits_target(declared, target):
            raise ConfigError(f"{where}.figures: '{name}' shows classes, and a score has none. Remove it.")


def _pretraining(training: Mapping[str, Any]) -> Mapping[str, Any]:
    own: Mapping[str, Any] = training.get("pretraining", {})
    return own


def _check_selection(sections: Sequence[Mapping[str, Any]], target: str, key: str, where: str) -> None:
    """sections: the general one and the experiment's, which overrides it. key: what follows ``training``."""
    general, special = (part.get("selection") for part in sections)
    chosen = special or general
    if chosen in (None, LOSS) or METRICS[chosen].target == target:
        return
    place = f"{where}.training{key}.selection" if special else f"training{key}.selection"
    override = "" if special else f", or override it in {where}.training{key}"
    raise ConfigError(
        f"{place}: '{chosen}' does not exist for datasets with 'target: {target}'. Choose from: "
        f"{', '.join(name for name in SELECTIONS[target])}{override}."
    )


SELECTIONS = {CLASSES: (*of_target(CLASSES), LOSS), SCORE: ("MAE", "Corr", LOSS)}
"""Target -> what can select an epoch, as the schema lists it."""
