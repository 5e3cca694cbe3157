"""Moments accumulated piece by piece equal NumPy's over all frames."""

from __future__ import annotations

import numpy as np
import pytest

from nmer.corpora import moments
from nmer.corpora.moments import GroupedMoments, Moments, typical_frame

SCALES = np.array([1.0, 1e-6, 1e3, 50.0])
CENTRES = np.array([0.0, 2e-5, -4e4, 1.0])


@pytest.fixture
def utterances() -> list[np.ndarray]:
    """Frames of 40 utterances with 1 to 30 frames; some end in zero frames, some contain only these."""
    random = np.random.default_rng(3)
    made = []
    for number, length in enumerate(random.integers(1, 31, 40).tolist()):
        frames = (CENTRES + SCALES * random.standard_normal((length, 4))).astype(np.float32)
        frames[length // 2 + 1 :] = 0
        made.append(np.zeros_like(frames) if number in (7, 8, 21) else frames)
    return made


def gather(utterances: list[np.ndarray], group_of: np.ndarray, at_once: int) -> GroupedMoments:
    """Add some utterances at a time."""
    gathered = GroupedMoments(group_of)
    for first in range(0, len(utterances), at_once):
        block = utterances[first : first + at_once]
        gathered.add(first, np.concatenate(block), np.cumsum([0, *map(len, block)]))
    return gathered


def assert_moments_of(found: Moments, frames: np.ndarray) -> None:
    frames = frames.astype(np.float64)
    assert found.count == len(frames)
    np.testing.assert_allclose(found.mean, frames.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.spread, frames.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("piece", [1, 9, 2**16])
def test_mean_and_deviation_do_not_depend_on_the_pieces(utterances, monkeypatch, piece):
    monkeypatch.setattr(moments, "PIECE_ELEMENTS", piece)
    frames = np.concatenate(utterances)
    assert_moments_of(Moments.of(frames, typical_frame(frames[:5])), frames)


@pytest.mark.parametrize("at_once", [1, 4, 40])
def test_any_union_of_groups_has_the_moments_of_its_frames_with_and_without_zeros(utterances, at_once):
    group_of = np.random.default_rng(0).integers(0, 4, len(utterances))
    gathered = gather(utterances, group_of, at_once)
    for groups in ([0], [2, 3], [0, 1, 2, 3]):
        frames = np.concatenate([u for u, group in zip(utterances, group_of, strict=True) if group in groups])
        assert_moments_of(gathered.of(groups), frames)
        assert_moments_of(gathered.of(groups, zeros=False), np.array([row for row in frames if any(row)]))
    assert_moments_of(gathered.of(), np.concatenate(utterances))


def test_utterances_of_zeros_are_counted(utterances):
    assert gather(utterances, np.zeros(40, int), 6).zero_utterances == 3


def test_a_constant_dimension_has_variance_exactly_zero_in_every_union_of_groups(utterances):
    constant = np.float32(12345.678)
    group_of = np.arange(len(utterances)) % 3
    for frames in utterances:
        frames[:, 2] = constant
    gathered = gather(utterances, group_of, 7)
    for groups in ([0], [1, 2], None):
        assert gathered.of(groups).variance[2] == 0
        assert gathered.of(groups).mean[2] == constant
        assert gathered.of(groups).spread[2] == 1
        assert (gathered.of(groups).variance[[0, 1, 3]] > 0).all()


@pytest.mark.parametrize("value", [0.1, -7.3, 0.0])
def test_a_dimension_constant_in_some_groups_has_variance_exactly_zero_there(utterances, value):
    # Sums are relative to the first utterance, which is in another group, so they are not zero here.
    group_of = np.arange(len(utterances)) % 3
    for number in np.flatnonzero(group_of == 1):
        utterances[number][:, 2] = value
    gathered = gather(utterances, group_of, 7)
    found = gathered.of([1])
    assert (found.mean[2], found.variance[2], found.spread[2]) == (np.float32(value), 0, 1)
    assert (gathered.of([0, 1]).variance > 0).all()
    assert (gathered.of([1], zeros=False).variance[2], gathered.of([1]).count) == (0, found.count)


def test_the_first_frame_can_be_an_outlier(utterances):
    utterances[0][0] = 1e6
    frames = np.concatenate(utterances)
    found = gather(utterances, np.zeros(40, int), 10).of()
    np.testing.assert_allclose(found.variance, frames.astype(np.float64).var(axis=0), rtol=1e-9)


def test_the_pooled_variance_is_over_all_elements_in_units_of_centre_and_scale(utterances):
    frames = np.concatenate(utterances)
    found = gather(utterances, np.zeros(40, int), 10).of()
    in_units = (frames.astype(np.float64) - CENTRES) / SCALES
    assert found.pooled_variance() == pytest.approx(frames.astype(np.float64).var(), rel=1e-12)
    assert found.pooled_variance(CENTRES, SCALES) == pytest.approx(in_units.var(), rel=1e-12)


def test_no_frames_have_mean_zero_and_deviation_one():
    nothing = Moments.of(np.zeros((0, 2), np.float32), np.array([3.0, 4.0]))
    assert nothing.mean.tolist() == [0, 0]
    assert nothing.spread.tolist() == [1, 1]
