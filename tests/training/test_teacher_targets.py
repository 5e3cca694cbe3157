"""Stacked teachers encode like individual ones: every utterance and copy once, on first access."""

from __future__ import annotations

import itertools
from collections import Counter

import h5py
import numpy as np
import pytest
import torch
from small_fold import CPU, DIMS, FOLDS, make_files, make_teachers

from nmer.names import MODALITIES
from nmer.systems.blocks import recurrence
from nmer.systems.blocks.step_counts import stated_counts
from nmer.training import teacher_targets
from nmer.training.data import FoldData
from nmer.training.teacher_targets import StackedTargets, TeacherTargets, batches_of_similar_length

REPEATS = [1, 2, 3]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The small corpus with three draws."""
    files = make_files(tmp_path_factory.mktemp("targets"))
    with h5py.File(files[1], "r+") as file:
        random = np.random.default_rng(3)
        for m, draw in itertools.product(DIMS, (1, 2)):
            values = file[f"{m}/values"][:]
            file[f"{m}/values_draw{draw}"] = values + random.standard_normal(values.shape).astype(np.float32)
    return FoldData(*files, 1, CPU, draws=3)


@pytest.fixture
def teachers():
    torch.manual_seed(5)
    return list(make_teachers("men", REPEATS).values())


def batch_of(repeats: int, seed: int, copies: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return utterances and copies of a batch of five per repeat, in a different order for each."""
    random = np.random.default_rng(seed)
    rows = np.concatenate([random.permutation(FOLDS[1]["train"])[:5] for _repeat in range(repeats)])
    return torch.from_numpy(rows), torch.from_numpy(random.choice(copies, len(rows)))


@pytest.mark.parametrize("among", [(0,), (1, 2, 3)], ids=["clean", "noisy"])
@pytest.mark.parametrize("frames", [1, 14, 2**21])
def test_stacked_teachers_encode_like_each_teacher_individually(data, teachers, monkeypatch, among, frames):
    monkeypatch.setattr(teacher_targets, "TEACHER_FRAMES", frames)
    stacked, alone = StackedTargets(teachers, data), [TeacherTargets(teacher, data) for teacher in teachers]
    for seed in range(2):
        rows, copies = batch_of(len(REPEATS), seed, among)
        found = stacked.lookup(rows, copies, among)
        assert set(found) == set(MODALITIES)
        for m in MODALITIES:
            parts = zip(alone, rows.chunk(len(REPEATS)), copies.chunk(len(REPEATS)), strict=True)
            expected = torch.cat([own.lookup(*part, among)[m] for own, *part in parts])
            torch.testing.assert_close(found[m], expected, rtol=1e-5, atol=1e-5)
    # The teachers differ, so confusing repeats would fail.
    first, second, *_others = found["l"].chunk(len(REPEATS))
    assert (first - second).abs().max() > 0.01


def test_bounds_of_a_training_batch_do_not_apply_to_a_teachers_batch_of_the_same_shape(data, teachers, monkeypatch):
    monkeypatch.setattr(recurrence, "pads", lambda _values: True)  # as on a GPU
    rows, copies = batch_of(len(REPEATS), 0, (0,))
    expected = StackedTargets(teachers, data).lookup(rows, copies, (0,))["a"]
    lengths = data.lengths("a", data.training_rows)
    shape = len(lengths), int(lengths.max())
    with stated_counts({shape: (shape[0],) + (1,) * (shape[1] - 1)}):
        found = StackedTargets(teachers, data).lookup(rows, copies, (0,))["a"]
    assert torch.equal(found, expected)


def test_stacked_teachers_encode_the_training_split_of_a_modality_on_first_access(data, teachers, monkeypatch):
    seen: Counter = Counter()
    whole = data.sequences

    def counted(modality, rows, copies, longest=None):
        seen.update((modality, row, copy) for row, copy in zip(rows.tolist(), copies.tolist(), strict=True))
        return whole(modality, rows, copies, longest)

    monkeypatch.setattr(data, "sequences", counted)
    stacked = StackedTargets(teachers, data)
    rows, copies = batch_of(len(REPEATS), 0, (1, 2, 3))
    found = stacked.lookup(rows, copies, (1, 2, 3))
    assert not seen
    for _look in range(2):
        found["v"]
        assert seen == {("v", row, copy): 1 for row in FOLDS[1]["train"].tolist() for copy in (1, 2, 3)}


@pytest.mark.parametrize("most", [1, 10, 25, 1000])
def test_teachers_encode_batches_of_similar_length(monkeypatch, most):
    monkeypatch.setattr(teacher_targets, "TEACHER_FRAMES", most)
    lengths = np.array([3, 9, 1, 4, 9, 2, 2, 5])
    found = list(batches_of_similar_length(lengths))
    assert sorted(np.concatenate([batch for batch, _longest in found]).tolist()) == list(range(8))
    for batch, longest in found:
        assert longest == lengths[batch].max()
        assert longest * len(batch) <= most or len(batch) == 1
    for (one, _), (other, _) in itertools.pairwise(found):
        assert lengths[one].min() >= lengths[other].max()


def test_stacked_targets_do_not_depend_on_the_batch_that_reads_them_first(data, teachers):
    batches = [batch_of(len(REPEATS), seed, (1, 2, 3)) for seed in range(2)]
    one, other = StackedTargets(teachers, data), StackedTargets(teachers, data)
    forwards = [one.lookup(*batch, (1, 2, 3))["a"] for batch in batches]
    backwards = [other.lookup(*batch, (1, 2, 3))["a"] for batch in reversed(batches)]
    assert all(torch.equal(*pair) for pair in zip(forwards, reversed(backwards), strict=True))


def test_the_teachers_are_in_evaluation_mode(data):
    teachers = [teacher.train() for teacher in make_teachers("men", [1]).values()]
    StackedTargets(teachers, data)
    assert not teachers[0].training
