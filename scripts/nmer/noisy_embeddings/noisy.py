"""Noisy embeddings of a whole corpus, computed block by block, and their measured SNR."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TypeVar

import h5py
import numpy as np

from nmer.corpora.store import FeatureStore
from nmer.corpora.streaming import create_values, frames_per_block, utterance_blocks
from nmer.names import values_name
from nmer.noise.corruption import NoiseSource, Space, add_noise

MEASURES = ("measured_db", "utterance_low_db", "utterance_median_db", "utterance_high_db", "utterances_without_snr")
"""Columns of the measured SNR: over all elements; percentiles 5, 50 and 95 over the utterances that have an SNR; number
of utterances without one. An utterance without variance (such as an all-zero one) or without noise has no SNR."""


Result = TypeVar("Result")


def corrupt_modality(
    store: FeatureStore,
    output: h5py.File,
    modality: str,
    source: NoiseSource,
    level: Mapping[str, str],
    draws: int = 1,
    advance: Callable[[int], object] = lambda size: None,
    threads: int = 1,
) -> dict[str, float]:
    """Write all draws of the noisy values of one modality, with kind, seed and level as attributes.

    level: a row of the calibration. advance: called with the number of bytes done. threads: number of threads, which
    does not affect the values. Returns MEASURES of the first draw; empty for a kind without an SNR.
    """
    (frames, dim), offset = store.values(modality).shape, store.offset(modality)
    space = store.corruption_space(modality)
    source.check_repeats(store.values(modality)[: offset[1]], store.ids[0], modality, space)
    attributes: dict[str, object] = {"kind": source.name, "seed": source.seed}
    measured: dict[str, float] = {}
    alpha_bar = float(level["alpha_bar"]) if source.additive else None
    for draw in range(draws):
        noisy = create_values(output, modality, frames, dim, name=values_name(draw))
        power = np.zeros((len(store.ids), 3))
        block = partial(_corrupt_block, store, modality, source, alpha_bar, space, draw)
        tasks = utterance_blocks(offset, frames_per_block(dim))
        for (first, last), (values, powers) in _ordered_map(block, tasks, threads):
            noisy[offset[first] : offset[last]] = values
            power[first:last] = powers
            advance(values.nbytes)
        if draw == 0 and alpha_bar is not None:
            measured = _measures(power, np.diff(offset) * dim, alpha_bar, float(level["variance"]))
            attributes |= {"T": level["T"], "alpha_bar": alpha_bar, "measured_db": measured["measured_db"]}
    output[modality].attrs.update(attributes)
    return measured


def _corrupt_block(
    store: FeatureStore,
    modality: str,
    source: NoiseSource,
    alpha_bar: float | None,
    space: Space | None,
    draw: int,
    utterances: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Corrupt utterances ``first`` to ``last`` (excluded). Returns values (frames, dim) and their :func:`_power`."""
    first, last = utterances
    offset = store.offset(modality)
    starts = offset[first : last + 1] - offset[first]
    values = store.values(modality)[offset[first] : offset[last]]
    result = np.empty_like(values)
    for index, (start, stop) in enumerate(pairwise(starts.tolist()), start=first):
        if source.additive:
            result[start:stop] = source.eps(store.ids[index], modality, (stop - start, values.shape[1]), draw)
        else:
            result[start:stop] = source.corrupt(values[start:stop], store.ids[index], modality, space=space, draw=draw)
    if alpha_bar is None:
        return result, np.zeros((last - first, 3))
    return add_noise(values, result, alpha_bar, space), _power(values, result, starts, space)


def _ordered_map(
    function: Callable[[tuple[int, int]], Result], tasks: Iterable[tuple[int, int]], threads: int
) -> Iterator[tuple[tuple[int, int], Result]]:
    """Yield tasks with their results, in order. Each thread is at most one task ahead, which bounds memory.

    NumPy releases the global interpreter lock while it draws and computes.
    """
    if threads == 1:
        yield from ((task, function(task)) for task in tasks)
        return
    pending: deque[tuple[tuple[int, int], Future[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for task in tasks:
            pending.append((task, pool.submit(function, task)))
            if len(pending) > threads:
                done, future = pending.popleft()
                yield done, future.result()
        yield from ((task, future.result()) for task, future in pending)


def _power(values: np.ndarray, eps: np.ndarray, starts: np.ndarray, space: Space | None) -> np.ndarray:
    """Return sums per utterance: values in the corruption space, their squares, squares of the noise.

    starts: (utterances + 1,) first frames. Returns (utterances, 3) float64.
    """
    if space is not None:
        mean, std = (np.asarray(part, np.float32) for part in space)
        values = (values - mean) / std
    frames = [values.sum(axis=1), np.einsum("ij,ij->i", values, values), np.einsum("ij,ij->i", eps, eps)]
    return np.add.reduceat(np.stack(frames, axis=1), starts[:-1], dtype=np.float64)


def _measures(power: np.ndarray, elements: np.ndarray, alpha_bar: float, variance: float) -> dict[str, float]:
    """Return MEASURES in dB.

    power: (utterances, 3), see :func:`_power`. elements: (utterances,) numbers of values. variance: the variance used
    for calibration.
    """
    ratio = alpha_bar / (1 - alpha_bar)
    signal, squares, noise = (power / elements[:, None]).T
    spread = squares - np.square(signal)
    # A constant utterance has no signal, and noise that is zero throughout has no power.
    has_snr = (spread > 0) & (noise > 0)
    utterances = 10 * np.log10(ratio * spread[has_snr] / noise[has_snr])
    low, median, high = np.percentile(utterances, (5, 50, 95)) if has_snr.any() else (np.nan,) * 3
    with np.errstate(divide="ignore"):  # noise that is zero throughout gives an infinite SNR
        whole = 10 * np.log10(ratio * variance / (power[:, 2].sum() / elements.sum()))
    return dict(zip(MEASURES, (whole, low, median, high, int((~has_snr).sum())), strict=True))
