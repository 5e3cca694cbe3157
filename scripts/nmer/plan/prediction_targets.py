"""Check that an experiment fits the target of its datasets, classes or a score (SPEC 14)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nmer.errors import ConfigError
from nmer.figures import figures, fits_target
from nmer.metrics import check_metrics, of_target
from nmer.names import CLASSES, SCORE
from nmer.plan.settings import LOSS
from nmer.plan.sweeps import swept_values
from nmer.references.registry import REFERENCE_TARGETS


def target_of(dataset: Mapping[str, Any]) -> str:
    """Return the target of a dataset's section."""
    return str(dataset.get("target", CLASSES))


def check_targets(config: Mapping[str, Any], experiment: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError if the datasets of an experiment differ in their target, or a key requires another one.

    where: the experiment's key. Its datasets, systems and figures must exist.
    """
    targets = {name: target_of(config["datasets"][name]) for name in experiment["datasets"]}
    if len(set(targets.values())) > 1:
        listed = ", ".join(f"{name} {target}" for name, target in targets.items())
        raise ConfigError(
            f"{where}.datasets: their targets differ ({listed}), and so do their metrics. "
            "Use one experiment per target."
        )
    target = next(iter(targets.values()))
    check_metrics(experiment.get("metrics", []), target, f"{where}.metrics")
    for system in experiment["systems"]:
        if REFERENCE_TARGETS.get(system, target) != target:
            fitting = ", ".join(name for name, own in REFERENCE_TARGETS.items() if own == target)
            raise ConfigError(
                f"{where}.systems: '{system}' does not predict the datasets' 'target: {target}'. Reference rows that "
                f"do: {fitting}."
            )
    for key, section in _own_training(config, experiment, where):
        _check_training(section, target, key)
    special = experiment.get("training", {})
    for key, general, override in (
        ("training", config.get("training", {}), special),
        ("training.pretraining", _pretraining(config.get("training", {})), _pretraining(special)),
    ):
        # In the keys for all experiments, the loss of scores is unused for classes and needs no check.
        if "selection" not in override and "selection" in general:
            remedy = f" Or override it in {where}.{key}."
            _check_training({"selection": general["selection"]}, target, key, remedy)
    for name in experiment.get("figures", []):
        declared = figures.declaration(name, config.get("figures", {}).get(name, {}).get("file"))
        if not fits_target(declared, target):
            raise ConfigError(f"{where}.figures: '{name}' shows classes, but the target is a score. Remove it.")


def _own_training(
    config: Mapping[str, Any], experiment: Mapping[str, Any], where: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the training keys of the experiment and of its systems, by their key."""
    sections = [(f"{where}.training", experiment.get("training", {}))]
    swept = swept_values(experiment.get("sweep", {}))
    for name in experiment["systems"]:
        key = f"{where}.sweep.over.training" if name in swept else f"systems.{name}.training"
        sections.append((key, config.get("systems", {}).get(name, {}).get("training", {})))
    for name, section in experiment.get("system_options", {}).items():
        sections.append((f"{where}.system_options.{name}.training", section.get("training", {})))
    for key, section in sections:
        yield key, section
        yield f"{key}.pretraining", _pretraining(section)


def _pretraining(training: Mapping[str, Any]) -> Mapping[str, Any]:
    own: Mapping[str, Any] = training.get("pretraining", {})
    return own


def _check_training(section: Mapping[str, Any], target: str, where: str, remedy: str = "") -> None:
    """Raise ConfigError for training keys that do not fit the target. where: their key. remedy: another remedy."""
    selection = section.get("selection")
    if selection is not None and selection not in SELECTIONS[target]:
        raise ConfigError(
            f"{where}.selection: '{selection}' does not exist for datasets with 'target: {target}'. Choose from: "
            f"{', '.join(SELECTIONS[target])}.{remedy}"
        )
    if target == CLASSES and "score_loss" in section:
        raise ConfigError(f"{where}.score_loss: the datasets have classes, trained by cross-entropy. Remove the key.")


SELECTIONS = {CLASSES: (*of_target(CLASSES), LOSS), SCORE: ("MAE", "Corr", LOSS)}
"""Target -> values that can select an epoch, as listed in the schema."""
