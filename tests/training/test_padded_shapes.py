"""Batches of stacked repeats have a few shapes, which hold every utterance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nmer.systems.blocks.step_counts import exact_counts, random_batch_counts, satisfies, stated_counts, step_counts
from nmer.training.batches import EpochBatch
from nmer.training.padded_shapes import PADDED_LENGTHS, PaddedShapes, padded_lengths

LENGTHS = np.clip(np.round(35 * np.exp(0.7 * np.random.default_rng(0).standard_normal(2000))), 1, 308).astype(int)
"""Skewed like the audio of IEMOCAP: few utterances are long."""


class Lengths:
    """A corpus of which only the lengths are known."""

    def __init__(self, **lengths):
        self.modalities = tuple(lengths)
        self.training_rows = np.arange(len(next(iter(lengths.values()))))
        self.lengths = lambda modality, rows: lengths[modality][rows]


def batch_of(corpus: Lengths, rows: np.ndarray) -> EpochBatch:
    """A batch whose shape is determined by its lengths; its tensors are not read."""
    nothing = torch.zeros(0)
    return EpochBatch(nothing, nothing, nothing, {m: corpus.lengths(m, rows) for m in corpus.modalities})


def test_a_batch_is_padded_to_one_of_a_few_lengths_and_never_truncated():
    most = {"a": 340, "v": 50, "l": 22}
    found = {length: padded_lengths({"a": length, "v": 3, "l": 5}, most) for length in range(1, 341)}
    for length, padded in found.items():
        assert length <= padded["a"] <= 340
        assert (padded["v"], padded["l"]) == (50, 22)
    lengths = [padded["a"] for padded in found.values()]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == PADDED_LENGTHS
    # In the upper half, padding is at most one step between two lengths.
    step = 340 / (2 * PADDED_LENGTHS)
    assert all(padded["a"] - length <= step + 1 for length, padded in found.items() if length > 340 / 2 + step)


@pytest.mark.parametrize("widest", range(1, 60))
def test_padded_lengths_fit_utterances_of_any_length(widest):
    most = {"a": 1, "v": widest, "l": 1}
    found = [padded_lengths({"a": 1, "v": length, "l": 1}, most) for length in range(1, widest + 1)]
    assert all(length <= padded["v"] <= widest for length, padded in enumerate(found, start=1))
    assert len({padded["v"] for padded in found}) <= PADDED_LENGTHS
    assert all((padded["a"], padded["l"]) == (1, 1) for padded in found)


def test_exact_counts_hold_every_frame_and_nearly_nothing_else():
    counts = exact_counts(LENGTHS[:128], LENGTHS[:128].max())
    wanted = (LENGTHS[:128, None] > np.arange(len(counts))).sum(axis=0)
    assert all(one <= count < one + 128 / 8 for one, count in zip(wanted, counts, strict=True))
    assert satisfies(LENGTHS[None, :128], counts)


def test_a_count_that_is_too_small_at_any_step_is_noticed():
    lengths = LENGTHS[:64].reshape(2, 32)
    enough = tuple((lengths[:, :, None] > np.arange(lengths.max())).sum(axis=1).max(axis=0).tolist())
    assert satisfies(lengths, enough)
    for step in range(len(enough)):
        fewer = tuple(count - (number >= step) for number, count in enumerate(enough))
        assert not satisfies(lengths, fewer)


def test_counts_of_random_batches_hold_all_but_one_in_many_and_leave_out_most_of_the_padding():
    random, longest = np.random.default_rng(1), int(LENGTHS.max())
    counts = random_batch_counts(LENGTHS, 128, longest)
    drawn = [LENGTHS[random.permutation(len(LENGTHS))[:128]] for _ in range(2000)]
    assert all(satisfies(own[None], counts) for own in drawn)
    assert sum(counts) < 0.45 * 128 * longest


@pytest.mark.parametrize("size", [1, 5, 128])
def test_counts_are_full_where_all_lengths_are_equal(size):
    assert random_batch_counts(np.full(300, 50), size, 50) == (size,) * 50


def test_a_batch_beyond_the_expected_counts_is_padded_in_full():
    corpus = Lengths(a=LENGTHS, v=np.full(len(LENGTHS), 50))
    shapes, usual = PaddedShapes(corpus), np.arange(256).reshape(2, 128)
    expected = shapes.of_training(batch_of(corpus, usual), full=True)
    assert expected.counts[128, 50] == (128,) * 50
    unusual = np.stack([np.argsort(LENGTHS)[-128:]] * 2)
    padding = shapes.of_training(batch_of(corpus, unusual), full=True)
    assert padding.counts == {}
    assert padding.longest["a"] == LENGTHS.max()
    assert padding.key != shapes.of_training(batch_of(corpus, np.argsort(LENGTHS)[-1:][None]), full=True).key


def test_modalities_of_equal_shape_share_counts_that_hold_both():
    short = np.minimum(LENGTHS, np.where(np.arange(len(LENGTHS)) == LENGTHS.argmax(), 308, 10))
    corpus = Lengths(a=LENGTHS, v=short)
    rows = np.arange(128)[None]
    padding = PaddedShapes(corpus).of_training(batch_of(corpus, rows), full=False)
    (counts,) = padding.counts.values()
    assert satisfies(corpus.lengths("a", rows), counts)
    assert satisfies(corpus.lengths("v", rows), counts)


def test_counts_are_stated_within_a_block_only():
    with stated_counts({(4, 3): (4, 2, 1)}):
        assert step_counts(4, 3) == (4, 2, 1)
        assert step_counts(4, 2) == (4, 4)
    assert step_counts(4, 3) == (4, 4, 4)
