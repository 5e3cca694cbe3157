"""The noisy embeddings of a whole corpus, made block by block, and the SNR that they turn out to have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import h5py
import numpy as np

from nmer.corpora.store import FeatureStore
from nmer.corpora.streaming import create_values, frames_per_block, utterance_blocks
from nmer.names import values_name
from nmer.noise.corruption import NoiseSource, Space, add_noise

MEASURES = ("measured_db", "utterance_low_db", "utterance_median_db", "utterance_high_db")
"""Columns of what is measured: over all elements, and percentiles 5, 50 and 95 over utterances."""


def corrupt_modality(
    store: FeatureStore,
    output: h5py.File,
    modality: str,
    source: NoiseSource,
    level: Mapping[str, str],
    draws: int = 1,
    advance: Callable[[int], object] = lambda size: None,
) -> dict[str, float]:
    """Write the noisy values of one modality, every draw of them, and how they came about as attributes.

    level: a row of the calibration. advance: called with the number of bytes done. Returns MEASURES of the first draw;
    nothing for a kind without an SNR.
    """
    shape, space = store.values(modality).shape, store.corruption_space(modality)
    attributes = {"kind": source.name, "seed": source.seed}
    measured: dict[str, float] = {}
    for draw in range(draws):
        noisy = create_values(output, modality, *shape, name=values_name(draw))
        if not source.additive:
            _replace(store, noisy, modality, source, space, draw, advance)
            continue
        alpha_bar = float(level["alpha_bar"])
        power = _Power(len(noisy))
        for rows, eps in noise_blocks(store, modality, source, draw):
            values = store.values(modality)[rows]
            noisy[rows] = add_noise(values, eps, alpha_bar, space)
            power.note(rows, values, eps, space)
            advance(eps.size * noisy.dtype.itemsize)
        if draw == 0:
            measured = power.measures(store.offset(modality), shape[1], alpha_bar, float(level["variance"]))
            attributes |= {"T": level["T"], "alpha_bar": alpha_bar, "measured_db": measured["measured_db"]}
    output[modality].attrs.update(attributes)
    return measured


def noise_blocks(
    store: FeatureStore, modality: str, source: NoiseSource, draw: int = 0
) -> Iterator[tuple[slice, np.ndarray]]:
    """The noise of a modality in order: rows of its values, and their eps (rows, dim), a block at most."""
    offset, dim = store.offset(modality), store.dims[modality]
    most_frames = frames_per_block(dim)
    for first, last in utterance_blocks(offset, most_frames):
        lengths = np.diff(offset[first : last + 1]).tolist()
        drawn = [
            source.eps(store.ids[i], modality, (frames, dim), draw) for i, frames in enumerate(lengths, start=first)
        ]
        eps = drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
        # An utterance's noise is drawn at once; where it is longer than a block, it is handed out piece by piece.
        for start in range(0, len(eps), most_frames):
            piece = eps[start : start + most_frames]
            row = int(offset[first]) + start
            yield slice(row, row + len(piece)), piece


def _replace(
    store: FeatureStore,
    noisy: h5py.Dataset,
    modality: str,
    source: NoiseSource,
    space: Space | None,
    draw: int,
    advance: Callable[[int], object],
) -> None:
    """Write what a kind that is not additive puts in the place of each utterance."""
    offset = store.offset(modality)
    for first, last in utterance_blocks(offset, frames_per_block(store.dims[modality])):
        start, stop = int(offset[first]), int(offset[last])
        values = store.values(modality)[start:stop]
        for index in range(first, last):
            part = slice(int(offset[index]) - start, int(offset[index + 1]) - start)
            values[part] = source.corrupt(values[part], store.ids[index], modality, space=space, draw=draw)
        noisy[start:stop] = values
        advance(values.nbytes)


class _Power:
    """Signal and noise of every frame: sums over its dimensions, (frames,) float64 each."""

    def __init__(self, frames: int) -> None:
        self.signal, self.squares, self.noise = np.zeros((3, frames))

    def note(self, rows: slice, values: np.ndarray, eps: np.ndarray, space: Space | None) -> None:
        if space is not None:
            mean, std = (np.asarray(part, np.float32) for part in space)
            values = (values - mean) / std
        self.signal[rows] = values.sum(axis=1)
        self.squares[rows] = np.einsum("ij,ij->i", values, values)
        self.noise[rows] = np.einsum("ij,ij->i", eps, eps)

    def measures(self, offset: np.ndarray, dim: int, alpha_bar: float, variance: float) -> dict[str, float]:
        """MEASURES in dB. offset: (n + 1,) as of the store. variance: the one that the level was calibrated with."""
        ratio = alpha_bar / (1 - alpha_bar)
        elements = np.diff(offset) * dim
        signal, squares, noise = (
            np.add.reduceat(sums, offset[:-1]) / elements for sums in (self.signal, self.squares, self.noise)
        )
        spread = squares - np.square(signal)
        # An utterance of one value throughout has no signal, and noise that never struck has no power: no ratio.
        told = (spread > 0) & (noise > 0)
        utterances = 10 * np.log10(ratio * spread[told] / noise[told])
        low, median, high = np.percentile(utterances, (5, 50, 95)) if told.any() else (np.nan,) * 3
        whole = ratio * variance / (self.noise.sum() / elements.sum())
        return dict(zip(MEASURES, (10 * np.log10(whole), low, median, high), strict=True))
