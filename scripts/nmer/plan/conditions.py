"""Which utterance is scored or trained under which condition (SPEC 5.4)."""

from __future__ import annotations

from functools import cache

import numpy as np

from nmer.names import (
    ALL_CLEAN,
    ALL_NOISY,
    CONDITIONS,
    MODALITIES,
    SIX_CONDITIONS,
    UNIMODAL_SYSTEMS,
    noisy_modalities,
)
from nmer.seeds import derive_key, generator

EVERY_CONDITION = "every_condition"
ONE_CONDITION = "one_condition"

FRESH_COPY = 2
"""Copy of an utterance on which fresh noise is put; copy 1, the first cached draw, serves validation and test."""

NOISY_FLAGS = {c: np.array([m in noisy_modalities(c) for m in MODALITIES]) for c in CONDITIONS}
"""Per condition, which of a, v, l are noisy: (3,) bool."""


@cache
def fixed_condition(dataset: str, utterance: str) -> str:
    """The one condition of an utterance in a corpus evaluated under one condition each; depends on the names alone."""
    return SIX_CONDITIONS[derive_key("condition", dataset, utterance) % len(SIX_CONDITIONS)]


def validation_items(regime: str, evaluation: str, dataset: str, utterances: list[str]) -> dict[str, np.ndarray]:
    """Positions of the utterances validated under each condition of a training regime."""
    everyone = np.arange(len(utterances))
    if regime == "clean":
        return {ALL_CLEAN: everyone}
    if regime == "all":
        return {ALL_NOISY: everyone}
    return _six(evaluation, dataset, utterances)


def test_items(
    conditions: tuple[str, ...], evaluation: str, dataset: str, utterances: list[str]
) -> dict[str, np.ndarray]:
    """Positions of the utterances tested under each of some conditions; all noisy and all clean take everyone."""
    everyone = np.arange(len(utterances))
    items = _six(evaluation, dataset, utterances) | {ALL_NOISY: everyone, ALL_CLEAN: everyone}
    return {condition: items[condition] for condition in conditions}


def tested_conditions(system: str, noisy: bool) -> tuple[str, ...]:
    """Conditions under which a system is tested. noisy: at a noise level, or on clean features alone.

    Those of the uni-modality benchmark have two: their modality noisy, or clean (DESIGN section 5).
    """
    if not noisy:
        return (ALL_CLEAN,)
    return (ALL_NOISY,) if system in UNIMODAL_SYSTEMS else CONDITIONS


def training_flags(regime: str, count: int, dataset: str, fold: int, repeat: int, epoch: int) -> np.ndarray:
    """Which modalities of each training utterance are noisy in one epoch: (count, 3) bool.

    In the regime ``six`` every utterance draws one of the six conditions anew each epoch (SPEC 5.4). The draw is the
    same for every system, noise kind and SNR.
    """
    if regime == "clean":
        return np.zeros((count, len(MODALITIES)), bool)
    if regime == "all":
        return np.ones((count, len(MODALITIES)), bool)
    draw = generator("training conditions", dataset, fold, repeat, epoch).integers(len(SIX_CONDITIONS), size=count)
    return np.stack([NOISY_FLAGS[condition] for condition in SIX_CONDITIONS])[draw]


def cached_draws(train_draws: int | str) -> int:
    """How many draws the noisy embeddings hold; fresh noise, the one choice that is no number, is put on a copy beside
    the first."""
    return 1 if isinstance(train_draws, str) else train_draws


def training_copies(train_draws: int | str, count: int, dataset: str, fold: int, repeat: int, epoch: int) -> np.ndarray:
    """Which noisy copy each training utterance shows in one epoch, from 1: (count,) int64 (SPEC 2.7).

    train_draws: as configured; of several cached draws one is picked at random per utterance and epoch.
    """
    if isinstance(train_draws, str):
        return np.full(count, FRESH_COPY)
    return 1 + generator("training draws", dataset, fold, repeat, epoch).integers(train_draws, size=count)


def _six(evaluation: str, dataset: str, utterances: list[str]) -> dict[str, np.ndarray]:
    if evaluation == EVERY_CONDITION:
        return {condition: np.arange(len(utterances)) for condition in SIX_CONDITIONS}
    assigned = np.array([fixed_condition(dataset, utterance) for utterance in utterances])
    return {condition: np.flatnonzero(assigned == condition) for condition in SIX_CONDITIONS}
