"""Names of modalities, targets, conditions, systems and files. Not for printed labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MODALITIES = ("a", "v", "l")
"""Acoustic, visual, lexical, in the order of arrays, names and columns."""

CLASSES = "classes"
"""The target whose labels and predictions are class numbers."""

SCORE = "score"
"""The target whose labels and predictions are real numbers, such as the sentiment of an utterance."""

TARGETS = (CLASSES, SCORE)

CONCATENATION_ORDER = ("a", "l", "v")
"""Order in which systems concatenate encodings (SPEC section 1: the code lineage's a, l, v)."""

SIX_CONDITIONS = ("a", "v", "l", "av", "al", "vl")
"""The incomplete conditions of a corpus with all three modalities, each named by its clean modalities."""

ALL_NOISY = "none"
ALL_CLEAN = "avl"
"""The condition without noise of a corpus with all three modalities; see :func:`all_clean` for the others."""

CONDITIONS = (*SIX_CONDITIONS, ALL_NOISY, ALL_CLEAN)
"""Every possible condition. Which of them a corpus has depends on its modalities: :func:`conditions`."""

EVERY_CONDITION, ONE_CONDITION = "every_condition", "one_condition"
"""Evaluation of a dataset: every utterance under all conditions, or under one that its name determines."""

OWN_LEVEL = "own"
"""Value of ``train_at``: each training has the level at which it is tested."""

DATA_FOLDER = "data"
"""Default of the key ``data``: the folder that paths of corpora are relative to."""

MIXED = "mixed"
"""Training level of a training whose utterances draw a level in each epoch (SPEC 15)."""

CLEAN = "clean"
"""Training level of a training whose noisy modalities were left clean (SPEC 15)."""

TRAINED = "trained_"
"""Prefix of the folder of a training that is tested at levels other than its own: ``trained_mixed``."""

FRESH = "fresh"
"""Value of ``noise.train_draws`` that draws training noise anew in every epoch (SPEC 2.7)."""

ALL_CLEAN_SCORES = "clean"
"""File stem of scores on clean features, which have no noise kind and no SNR."""

PREDICTIONS_SUFFIX = "_predictions.csv.gz"
"""Suffix of a file of predictions, which replaces ``.csv`` of the scores next to it."""

PREDICTION, MEDIAN = "prediction", "training_median"
"""Columns of predictions of scores: the predicted score, and the median of the fold's training scores, which is the
constant prediction of the lowest MAE there."""

AVERAGE = "average"
"""Name of the average over the incomplete conditions in the tables."""

PAPER_AVERAGE = "avg6"
"""The same in the files of the paper's numbers: the mean of six conditions."""

REGIMES = ("clean", "incomplete", "all_noisy")
"""Training regimes: clean data, the incomplete conditions, or every modality noisy."""

SPLITS = ("train", "val", "test")

PAPER_SYSTEMS = ("men", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv")
"""The paper's multimodal systems in its row order."""

REFERENCE_SYSTEM = "nmer"
"""The system that others are compared with unless an experiment names another; figures emphasise it."""

UNIMODAL_SYSTEMS = {f"unimodal_{modality}": modality for modality in MODALITIES}
"""The systems of the uni-modality benchmark (Table 4) and the modality that each reads."""


def modality_set(names: Iterable[str]) -> tuple[str, ...]:
    """Return the modalities among some names, in the order a, v, l."""
    given = set(names)
    return tuple(modality for modality in MODALITIES if modality in given)


def clean_modalities(condition: str) -> tuple[str, ...]:
    """Return the modalities that are clean under a condition, e.g. ``al`` -> ``("a", "l")``."""
    return () if condition == ALL_NOISY else modality_set(condition)


def noisy_modalities(condition: str, modalities: Iterable[str] = MODALITIES) -> tuple[str, ...]:
    """Return the modalities of a corpus that are noisy under a condition, e.g. ``al`` -> ``("v",)`` (SPEC 1, 13)."""
    clean = clean_modalities(condition)
    return tuple(modality for modality in modality_set(modalities) if modality not in clean)


def all_clean(modalities: Iterable[str] = MODALITIES) -> str:
    """Return the condition without noise of a corpus with these modalities: ``avl`` for all three, ``al`` for a, l."""
    return "".join(modality_set(modalities))


def incomplete_conditions(modalities: Iterable[str] = MODALITIES) -> tuple[str, ...]:
    """Return the conditions with both clean and noisy modalities (SPEC 13).

    They are the non-empty proper subsets of a corpus' modalities: six for three modalities, two for two, none for one.
    """
    own = modality_set(modalities)
    return tuple(name for name in SIX_CONDITIONS if set(name) < set(own))


def conditions(modalities: Iterable[str] = MODALITIES) -> tuple[str, ...]:
    """Return every condition of a corpus with these modalities: the incomplete ones, all noisy, all clean."""
    own = modality_set(modalities)
    return (*incomplete_conditions(own), ALL_NOISY, all_clean(own))


def corruption_name(noise: str, snr_db: float | None) -> str:
    """Return the file stem of a noise kind at a level, e.g. ``gaussian_-10dB``; without an SNR, just the kind."""
    return noise if snr_db is None else f"{noise}_{plain_number(snr_db)}dB"


def plain_number(value: float) -> int | float:
    """Return a number as spelt in names and settings: -10.0 becomes -10, -7.5 is unchanged."""
    return int(value) if float(value).is_integer() else float(value)


def predictions_path(scores: str | Path) -> Path:
    """Return the path of the predictions next to a file of scores."""
    return Path(scores).with_name(Path(scores).stem + PREDICTIONS_SUFFIX)


def values_name(draw: int) -> str:
    """Return the HDF5 dataset name of one draw of noisy features: ``values``, ``values_draw1``, …."""
    return f"values_draw{draw}" if draw else "values"


def in_paper_order(systems: Iterable[str]) -> list[str]:
    """Sort systems in the paper's row order, followed by the others in the given order."""
    order = {name: position for position, name in enumerate(PAPER_SYSTEMS)}
    return sorted(systems, key=lambda name: order.get(name, len(order)))


def default_reference(systems: Iterable[str]) -> str:
    """Return NMER if it is among some multimodal systems, else the first of them, empty without any."""
    given = list(systems)
    return REFERENCE_SYSTEM if REFERENCE_SYSTEM in given else next(iter(given), "")
