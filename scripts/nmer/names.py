"""The words of the field, spelt once: modalities, conditions, systems, files. Not for how they are printed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MODALITIES = ("a", "v", "l")
"""Acoustic, visual, lexical: the order of arrays, names and columns."""

CONCATENATION_ORDER = ("a", "l", "v")
"""Order in which systems concatenate encodings (SPEC section 1: the code lineage's a, l, v)."""

SIX_CONDITIONS = ("a", "v", "l", "av", "al", "vl")
"""The paper's incomplete conditions, each named by its clean modalities."""

ALL_NOISY = "none"
ALL_CLEAN = "avl"
CONDITIONS = (*SIX_CONDITIONS, ALL_NOISY, ALL_CLEAN)

FRESH = "fresh"
"""Value of ``noise.train_draws``: training noise is drawn anew in every epoch (SPEC 2.7)."""

ALL_CLEAN_SCORES = "clean"
"""File stem of scores on clean features alone, which have no noise kind and no SNR."""

PREDICTIONS_SUFFIX = "_predictions.csv.gz"
"""End of the name of the predictions that stand beside a file of scores, in the place of ``.csv``."""

AVERAGE = "avg6"
"""Name of the average over the six conditions in the tables."""

REGIMES = ("clean", "six", "all")
"""What a system is trained on: clean data, the six conditions, or every modality noisy."""

SPLITS = ("train", "val", "test")

PAPER_SYSTEMS = ("men", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv")
"""The paper's multimodal systems, in its row order."""

UNIMODAL_SYSTEMS = {f"unimodal_{modality}": modality for modality in MODALITIES}
"""The systems of the uni-modality benchmark (Table 4) and the modality that each of them reads."""


def noisy_modalities(condition: str) -> tuple[str, ...]:
    """Modalities that are noisy under a condition, e.g. ``al`` -> ``("v",)`` (SPEC section 1)."""
    clean = "" if condition == ALL_NOISY else condition
    return tuple(modality for modality in MODALITIES if modality not in clean)


def corruption_name(noise: str, snr_db: int | None) -> str:
    """File stem of a noise kind at a level, e.g. ``gaussian_-10dB``; a kind without an SNR stands alone."""
    return noise if snr_db is None else f"{noise}_{snr_db}dB"


def predictions_path(scores: str | Path) -> Path:
    """The file of predictions that stands beside a file of scores."""
    return Path(scores).with_name(Path(scores).stem + PREDICTIONS_SUFFIX)


def values_name(draw: int) -> str:
    """Name of the HDF5 dataset of one draw of noisy features: ``values``, ``values_draw1``, … (DESIGN section 5)."""
    return f"values_draw{draw}" if draw else "values"


def in_paper_order(systems: Iterable[str]) -> list[str]:
    """Systems in the paper's row order, others after them in the order given."""
    order = {name: position for position, name in enumerate(PAPER_SYSTEMS)}
    return sorted(systems, key=lambda name: order.get(name, len(order)))
