"""Bounds on how many utterances of a padded batch have a frame at each step.

Computed to its full length, a batch with one long utterance is mostly padding. A GPU cannot look at lengths without
being synchronised, but a training knows the lengths of its batches in advance. It states the bounds here, and LSTMs
leave out the utterances beyond them, the shortest ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

UNITS = 8
"""Bounds are multiples of an eighth of the batch, so that few different numbers of rows occur."""

DEVIATIONS = 5.0
"""Standard deviations above the mean that a bound for random batches lies."""

Counts = tuple[int, ...]
"""Number of utterances to compute at each step; it never rises."""

_stated: dict[tuple[int, int], Counts] = {}
_reporting: list[bool] = []


class MoreFramesError(RuntimeError):
    """A system reads sequences in the shape of a batch, but with more frames than the batch has."""


@contextmanager
def stated_counts(counts: Mapping[tuple[int, int], Counts]) -> Iterator[None]:
    """State bounds for the batches encoded in the block. counts: by utterances and padded length of a batch."""
    outer = dict(_stated)
    _stated.update(counts)
    try:
        yield
    finally:
        _stated.clear()
        _stated.update(outer)


@contextmanager
def reporting() -> Iterator[None]:
    """Raise MoreFramesError where bounds are exceeded in the block, which synchronises a GPU."""
    _reporting.append(True)
    try:
        yield
    finally:
        _reporting.pop()


def require(complete: Tensor) -> None:
    """Stop if sequences have more frames than stated. complete: () bool. Outside :func:`reporting`, a GPU stops later,
    with an error from which the process cannot recover."""
    message = "A batch has more frames than its step counts state."
    if _reporting and not complete:
        raise MoreFramesError(message)
    torch._assert_async(complete, message)


def step_counts(batch: int, longest: int) -> Counts:
    """Return the utterances to compute at each step of a batch padded to ``longest`` frames: by default, all."""
    return _stated.get((batch, longest), (batch,) * longest)


def first_rows(counts: Counts, device: torch.device) -> Tensor:
    """Return the first row of each step, computed on the device: a copy from the host would interrupt a capture."""
    parts, row = [], 0
    for count, group in groupby(counts):
        number = len(list(group))
        parts.append(torch.arange(row, row + number * count, count, device=device))
        row += number * count
    return torch.cat(parts)


def random_batch_counts(lengths: np.ndarray, batch: int, longest: int) -> Counts:
    """Return bounds that practically all random batches satisfy, if no utterance exceeds ``longest``.

    lengths: (utterances,) frames of everything that batches are drawn from. The bound is ``DEVIATIONS`` standard
    deviations above the expected number of utterances with a frame, for draws with replacement.
    """
    there = (lengths[:, None] > np.arange(longest)).sum(axis=0)
    share = there / len(lengths)
    bound = batch * share + DEVIATIONS * np.sqrt(batch * share * (1 - share))
    return _in_units(np.minimum(bound, there), batch)


def exact_counts(lengths: np.ndarray, longest: int) -> Counts:
    """Return bounds for one known batch. lengths: (batch,) frames."""
    return _in_units((lengths[:, None] > np.arange(longest)).sum(axis=0), len(lengths))


def satisfies(lengths: np.ndarray, counts: Counts) -> bool:
    """Return whether batches stay within the bounds. lengths: (batches, utterances) frames."""
    allowed = (np.array(counts) > np.arange(lengths.shape[1])[:, None]).sum(axis=1)
    return bool((np.sort(lengths, axis=1)[:, ::-1] <= allowed).all())


def larger(one: Counts, other: Counts) -> Counts:
    """Return bounds for both of two kinds of batches of equal shape."""
    return tuple(map(max, one, other))


def _in_units(bound: np.ndarray, batch: int) -> Counts:
    unit = -(-batch // UNITS)
    return tuple(np.clip(unit * np.ceil(bound / unit), min(unit, batch), batch).astype(int).tolist())
