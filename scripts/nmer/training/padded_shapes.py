"""Shapes of the padded batches of stacked repeats: few, because each is a separate CUDA graph."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nmer.systems.blocks.step_counts import Counts, exact_counts, larger, random_batch_counts, satisfies
from nmer.training.batches import EpochBatch
from nmer.training.data import FoldData

PADDED_LENGTHS = 4
"""Number of padded lengths between half and all of the longest training utterance."""

StatedCounts = dict[tuple[int, int], Counts]
"""Bounds on the utterances at each step, as for :func:`nmer.systems.blocks.step_counts.stated_counts`."""


class Padding(NamedTuple):
    """longest: frames to pad to per modality. counts: utterances to compute at each step, or nothing: all. Batches with
    equal ``key`` have equal shapes."""

    longest: dict[str, int]
    counts: StatedCounts
    key: tuple[int, ...]


class PaddedShapes:
    """Determines the padding of a fold's batches from the lengths of its utterances."""

    def __init__(self, data: FoldData) -> None:
        self._data = data
        self._training = {modality: data.lengths(modality, data.training_rows) for modality in data.modalities}
        self._longest = {modality: int(lengths.max()) for modality, lengths in self._training.items()}
        self._counts: dict[tuple[int, ...], StatedCounts] = {}
        self._bounded = True

    def remove_bounds(self) -> None:
        """Compute all utterances at every step, for a system that reads other sequences than those of its batches."""
        self._bounded = False

    def of_training(self, batch: EpochBatch, full: bool) -> Padding:
        """Return the padding of a training batch. full: whether it is not the last, smaller one."""
        longest = padded_lengths(batch.longest(), self._longest) if full else self._longest
        size = next(iter(batch.lengths.values())).shape[1]
        key = (size, *longest.values())
        if key not in self._counts:
            self._counts[key] = self._expected(size, longest)
        counts = self._counts[key]
        pairs = ((lengths, counts[size, longest[modality]]) for modality, lengths in batch.lengths.items())
        if self._bounded and all(satisfies(*pair) for pair in pairs):
            return Padding(longest, counts, (*key, 1))
        return Padding(longest, {}, (*key, 0))

    def of_validation(self, modality: str, rows: np.ndarray, longest: int) -> StatedCounts:
        """Return the bounds of one known batch. rows: utterances, (batch,)."""
        if not self._bounded:
            return {}
        return {(len(rows), longest): exact_counts(self._data.lengths(modality, rows), longest)}

    def _expected(self, size: int, longest: dict[str, int]) -> StatedCounts:
        counts: StatedCounts = {}
        for modality, lengths in self._training.items():
            shape = (size, longest[modality])
            bounds = random_batch_counts(lengths, *shape)
            # Modalities of equal shape share their bounds.
            counts[shape] = larger(counts[shape], bounds) if shape in counts else bounds
        return counts


def padded_lengths(longest: dict[str, int], maximum: dict[str, int]) -> dict[str, int]:
    """Return the frames to pad a batch to: one of a few lengths for the longest modality, the maximum for the others.

    longest: frames of the longest utterance of the batch per modality. maximum: those of the whole training split. The
    lengths depend on the batch only, so a resumed training pads in the same way.
    """
    widest = max(maximum, key=lambda modality: maximum[modality])
    parts = 2 * PADDED_LENGTHS
    level = max(PADDED_LENGTHS + 1, math.ceil(parts * longest[widest] / maximum[widest]))
    return maximum | {widest: math.ceil(maximum[widest] * level / parts)}
