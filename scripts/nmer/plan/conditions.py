"""Assign conditions to utterances in training, validation and test (SPEC 5.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache

import numpy as np

from nmer.names import (
    ALL_NOISY,
    EVERY_CONDITION,
    MODALITIES,
    UNIMODAL_SYSTEMS,
    all_clean,
    conditions,
    incomplete_conditions,
    modality_set,
    noisy_modalities,
)
from nmer.seeds import derive_key, generator

FRESH_COPY = 2
"""Copy of an utterance that receives fresh noise; copy 1, the first cached draw, is for validation and test."""


def noisy_flags(condition: str, modalities: Iterable[str] = MODALITIES) -> np.ndarray:
    """Return which modalities of a corpus are noisy under a condition: (modalities,) bool, in the order a, v, l."""
    noisy, own = noisy_modalities(condition, modalities), modality_set(modalities)
    return np.array([modality in noisy for modality in own])


@cache
def fixed_condition(dataset: str, utterance: str, modalities: tuple[str, ...] = MODALITIES) -> str:
    """Return the condition of an utterance in a corpus evaluated under one condition each; depends only on the names.

    modalities: of the corpus, at least two."""
    possible = incomplete_conditions(modalities)
    return possible[derive_key("condition", dataset, utterance) % len(possible)]


def validation_items(
    regime: str, evaluation: str, dataset: str, utterances: list[str], modalities: tuple[str, ...] = MODALITIES
) -> dict[str, np.ndarray]:
    """Return the positions of utterances validated under each condition of a regime. modalities: of the corpus."""
    everyone = np.arange(len(utterances))
    if regime == "clean":
        return {all_clean(modalities): everyone}
    if regime == "all_noisy":
        return {ALL_NOISY: everyone}
    return _incomplete(evaluation, dataset, utterances, modalities)


def test_items(
    tested: tuple[str, ...],
    evaluation: str,
    dataset: str,
    utterances: list[str],
    modalities: tuple[str, ...],
) -> dict[str, np.ndarray]:
    """Return the positions of utterances tested under each condition; all noisy and all clean test every utterance.

    modalities: of the corpus."""
    everyone = np.arange(len(utterances))
    items = _incomplete(evaluation, dataset, utterances, modalities)
    items |= {ALL_NOISY: everyone, all_clean(modalities): everyone}
    return {condition: items[condition] for condition in tested}


def tested_conditions(
    system: str, noisy: bool, modalities: tuple[str, ...], chosen: Collection[str]
) -> tuple[str, ...]:
    """Return the conditions under which a system is tested. noisy: at a noise level, or on clean features. modalities:
    of the corpus. chosen: the incomplete conditions to test; empty means all.

    Uni-modal systems have two: their modality noisy, or clean.
    """
    if not noisy:
        return (all_clean(modalities),)
    if system in UNIMODAL_SYSTEMS:
        return (ALL_NOISY,)
    left_out = set(incomplete_conditions(modalities)) - set(chosen) if chosen else set()
    return tuple(name for name in conditions(modalities) if name not in left_out)


def training_flags(
    regime: str,
    count: int,
    dataset: str,
    fold: int,
    repeat: int,
    epoch: int,
    modalities: tuple[str, ...] = MODALITIES,
) -> np.ndarray:
    """Return which modalities of each training utterance are noisy in one epoch: (count, modalities) bool.

    In the regime ``incomplete`` every utterance draws an incomplete condition in each epoch (SPEC 5.4). The draw is the
    same for every system, noise kind and SNR. modalities: of the corpus, at least two in that regime.
    """
    if regime == "clean":
        return np.zeros((count, len(modalities)), bool)
    if regime == "all_noisy":
        return np.ones((count, len(modalities)), bool)
    possible = incomplete_conditions(modalities)
    draw = generator("training conditions", dataset, fold, repeat, epoch).integers(len(possible), size=count)
    return np.stack([noisy_flags(condition, modalities) for condition in possible])[draw]


def cached_draws(train_draws: int | str) -> int:
    """Return the number of draws in the noisy embeddings; with fresh noise, which needs an additional copy, one."""
    return 1 if isinstance(train_draws, str) else train_draws


def training_copies(
    train_draws: int | str, count: int, dataset: str, fold: int, repeat: int, epoch: int, levels: int = 1
) -> np.ndarray:
    """Return the copy of each training utterance whose noisy modalities are used in an epoch: (count,) int64 (SPEC 2.7,
    15).

    train_draws: as configured; one of several cached draws is picked at random per utterance and epoch. levels: number
    of levels, whose draws follow each other; one of several is picked in the same way. 0 levels: the clean copy, 0.
    """
    names = (dataset, fold, repeat, epoch)
    if not levels:
        return np.zeros(count, np.int64)
    if isinstance(train_draws, str):
        return np.full(count, FRESH_COPY)
    draws = 1 + generator("training draws", *names).integers(train_draws, size=count)
    if levels == 1:
        return draws
    return draws + train_draws * generator("training levels", *names).integers(levels, size=count)


def validation_copies(train_draws: int | str, dataset: str, utterances: list[str], levels: int = 1) -> np.ndarray:
    """Return the copy of each validation utterance whose noisy modalities are used: (utterances,) int64.

    It is the first draw. With several levels, the utterance's name decides the level (SPEC 15). levels: as in
    :func:`training_copies`.
    """
    if levels < 2:
        return np.full(len(utterances), levels)
    draws = cached_draws(train_draws)
    drawn = [derive_key("validation level", dataset, utterance) % levels for utterance in utterances]
    return 1 + draws * np.array(drawn, np.int64)


def _incomplete(
    evaluation: str, dataset: str, utterances: list[str], modalities: tuple[str, ...]
) -> dict[str, np.ndarray]:
    possible = incomplete_conditions(modalities)
    if evaluation == EVERY_CONDITION or not possible:
        return {condition: np.arange(len(utterances)) for condition in possible}
    assigned = np.array([fixed_condition(dataset, utterance, modalities) for utterance in utterances])
    return {condition: np.flatnonzero(assigned == condition) for condition in possible}
