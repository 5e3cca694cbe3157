"""Noise drawn anew in every training epoch (``noise.train_draws: fresh``; SPEC 2.7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from nmer.content import unreadable
from nmer.corpora.store import FeatureStore
from nmer.noise.corruption import CorruptionSettings, NoiseSource

Change = Callable[[np.ndarray], np.ndarray]


class Replaceable(Protocol):
    """A fold whose spare noisy copies can be replaced, utterance by utterance."""

    ids: list[str]
    training_rows: np.ndarray

    def replace(self, modality: str, row: int, copy: int, change: Change) -> None:
        """Replace a copy of an utterance by ``change`` of its clean features, (frames, dim) float32."""


class FreshNoise:
    """Draws training noise in the same way as the noisy embeddings, under other names.

    The name of a draw contains repeat and epoch. A resumed training therefore uses the same noise as an uninterrupted
    one, and so do all systems.
    """

    def __init__(self, features: Path, noisy: Path) -> None:
        """features: the feature store. noisy: its noisy embeddings, with settings and levels as attributes.

        Raises DataError if the noisy embeddings are damaged.
        """
        with FeatureStore(features) as store:
            self._space = {m: store.corruption_space(m) for m in store.modalities}
        try:
            with h5py.File(noisy) as file:
                settings = CorruptionSettings(**json.loads(file.attrs["settings"]))
                self._alpha_bar = {m: file[m].attrs.get("alpha_bar") for m in self._space}
        except (OSError, KeyError, TypeError, ValueError) as error:
            problem = "cannot be read as noisy embeddings ({reason}). Delete it and run again."
            raise unreadable(noisy, error, problem) from None
        self._source = NoiseSource.from_settings(settings)

    def draw(self, data: Replaceable, copy: int, repeat: int, epoch: int) -> None:
        """Replace the given copy of every training utterance by one with new noise."""
        name = f"repeat {repeat}, epoch {epoch}"
        for row in data.training_rows.tolist():
            for m in self._space:
                data.replace(m, row, copy, self._corruption(data.ids[row], m, name))

    def _corruption(self, utterance: str, modality: str, name: str) -> Change:
        level, space = self._alpha_bar[modality], self._space[modality]
        return lambda values: self._source.corrupt(values, utterance, modality, level, space, name)
