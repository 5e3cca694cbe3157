"""Additional draws of training noise: one of several stored copies per epoch, or fresh noise (SPEC 2.7)."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from small_fold import CPU, DIMS, FOLDS, IDS, builder, make_files, run_settings, train_one, utterance

from nmer.names import MODALITIES
from nmer.noise.corruption import NoiseSource
from nmer.noise.kinds.gaussian import gaussian
from nmer.noisy_embeddings.fresh_noise import FreshNoise
from nmer.plan.conditions import FRESH_COPY, training_copies
from nmer.training import loop
from nmer.training.batches import make_batch
from nmer.training.data import FoldData
from nmer.training.one_by_one import OneByOne
from nmer.training.teacher_targets import TeacherTargets

LEVELS = {"a": 0.3, "v": 0.5, "l": 0.8}


def space() -> dict[str, tuple]:
    frames = np.concatenate([utterance("a", number) for number in range(len(IDS))]).astype(np.float64)
    return {"a": (frames.mean(axis=0), frames.std(axis=0))}


@pytest.fixture
def files(tmp_path):
    """The small corpus with three draws: every value of draw k of an utterance is its number plus 100 k."""
    features, noisy = make_files(tmp_path)
    with h5py.File(noisy, "r+") as file:
        file.attrs["settings"] = json.dumps({"dataset": "small", "noise": "gaussian"})
        for m in DIMS:
            file[m].attrs["alpha_bar"] = LEVELS[m]
            frames = [np.full_like(utterance(m, number), number) for number in range(len(IDS))]
            for draw in (1, 2):
                file[f"{m}/values_draw{draw}"] = np.concatenate(frames) + 100 * draw
    return features, noisy


def test_every_copy_can_be_read(files):
    data = FoldData(*files, 1, CPU, draws=3)
    rows, copies = torch.tensor([3, 3, 3, 3]), torch.tensor([0, 1, 2, 3])
    found = data.sequences("v", rows, copies).values
    np.testing.assert_array_equal(found[0], utterance("v", 3))
    np.testing.assert_array_equal(found[1], utterance("v", 3, noisy=True))
    assert (found[2] == 103).all()
    assert (found[3] == 203).all()


def test_copies_are_drawn_uniformly_every_epoch_and_equal_for_every_system():
    drawn = np.array([training_copies(4, 3000, "small", 1, 1, epoch) for epoch in range(5)])
    assert set(np.unique(drawn)) == {1, 2, 3, 4}
    assert np.bincount(drawn.ravel())[1:] / drawn.size == pytest.approx([0.25] * 4, abs=0.02)
    assert (drawn[0] == drawn[1]).mean() == pytest.approx(0.25, abs=0.05)
    np.testing.assert_array_equal(drawn[0], training_copies(4, 3000, "small", 1, 1, 0))
    assert set(training_copies(1, 50, "small", 1, 1, 0)) == {1}
    assert set(training_copies("fresh", 50, "small", 1, 1, 0)) == {FRESH_COPY}


def test_a_batch_contains_the_drawn_copy_of_noisy_modalities_and_its_teacher_encoding(files):
    data = FoldData(*files, 1, CPU, draws=3)
    teacher = builder()().eval()
    targets = TeacherTargets(teacher, data)
    rows, copies = torch.tensor([4, 5, 6]), torch.tensor([2, 1, 3])
    flags = torch.tensor([[True, True, False]] * 3)
    batch = make_batch(data, rows, flags, targets, MODALITIES, copies)
    assert (batch.observed["v"].values[0] == 104).all()
    np.testing.assert_array_equal(batch.observed["v"].values[1], utterance("v", 5, noisy=True))
    assert (batch.observed["v"].values[2] == 206).all()
    np.testing.assert_array_equal(batch.observed["l"].values[2], utterance("l", 6))
    for m in MODALITIES:
        for position in range(3):
            sequence = data.sequences(m, rows[position : position + 1], copies[position : position + 1])
            with torch.no_grad():
                expected = teacher.encode(m, sequence)[0]
            torch.testing.assert_close(batch.teacher_noisy[m][position], expected, rtol=1e-3, atol=1e-3)


def test_fresh_noise_is_the_closed_form_under_the_name_of_the_epoch(files):
    data = FoldData(*files, 1, CPU, spare=1)
    fresh = FreshNoise(*files)
    fresh.draw(data, FRESH_COPY, repeat=2, epoch=7)
    source = NoiseSource(gaussian, "gaussian", "small")
    training = np.concatenate([utterance("a", n) for n in FOLDS[1]["train"]]).astype(np.float64)
    for row in FOLDS[1]["train"].tolist():
        for m in MODALITIES:
            clean = utterance(m, row).astype(np.float64)
            mean, std = space().get(m, (0.0, 1.0))
            eps = source.eps(IDS[row], m, clean.shape, "repeat 2, epoch 7")
            expected = mean + std * (np.sqrt(LEVELS[m]) * (clean - mean) / std + np.sqrt(1 - LEVELS[m]) * eps)
            if m == "a":
                expected = (expected - training.mean(axis=0)) / training.std(axis=0)
            found = data.sequences(m, torch.tensor([row]), torch.tensor([FRESH_COPY])).values[0]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_fresh_noise_changes_with_epoch_and_repeat_and_nothing_else_changes(files):
    data = FoldData(*files, 1, CPU, spare=1)
    rows = torch.arange(len(IDS))
    before = {m: data.sequences(m, rows, torch.ones_like(rows)).values.clone() for m in MODALITIES}
    fresh, seen = FreshNoise(*files), []
    for repeat, epoch in ((1, 0), (1, 1), (2, 0), (1, 0)):
        fresh.draw(data, FRESH_COPY, repeat, epoch)
        seen.append(data.sequences("l", rows[:9], torch.full((9,), FRESH_COPY)).values.clone())
    assert torch.equal(seen[0], seen[3])
    assert (seen[0] != seen[1]).all()
    assert (seen[0] != seen[2]).all()
    for m in MODALITIES:
        assert torch.equal(data.sequences(m, rows, torch.ones_like(rows)).values, before[m])


def test_the_teacher_encodes_the_fresh_noise_of_the_epoch(files):
    data, teacher = FoldData(*files, 1, CPU, spare=1), builder()().eval()
    settings = run_settings("mmin", "incomplete", train_draws="fresh")
    learner = OneByOne(builder("mmin"), data, settings, 1, teacher, FreshNoise(*files))
    batches = []

    def recorded(rows, copies, among):
        found = TeacherTargets.lookup(learner._targets, rows, copies, among)
        if (copies == FRESH_COPY).all():
            batches.append((rows, found["v"]))
        return found

    learner._targets.lookup = recorded
    for epoch in (0, 1):
        batches.clear()
        learner.train_epoch(epoch, 0.0)
    for rows, found in batches:
        sequences = data.sequences("v", rows, torch.full_like(rows, FRESH_COPY))
        with torch.no_grad():
            torch.testing.assert_close(found, teacher.encode("v", sequences), rtol=1e-3, atol=1e-3)
    assert batches


@pytest.mark.parametrize("draws", [3, "fresh"])
def test_validation_always_uses_the_first_draw(files, draws):
    copies, spare = (1, 1) if draws == "fresh" else (3, 0)
    system = builder()().eval()
    settings = run_settings(regime="incomplete", train_draws=draws)
    plain = OneByOne(lambda: system, FoldData(*files, 1, CPU), run_settings(regime="incomplete"), 1).validate()
    data = FoldData(*files, 1, CPU, draws=copies, spare=spare)
    assert OneByOne(lambda: system, data, settings, 1).validate() == plain


@pytest.mark.parametrize("draws", [3, "fresh"])
def test_a_training_with_additional_draws_differs_and_resumes_to_the_same_weights(files, tmp_path, draws, monkeypatch):
    copies, spare = (1, 1) if draws == "fresh" else (3, 0)
    fresh = FreshNoise(*files) if draws == "fresh" else None

    def train(settings, data, checkpoint=None):
        return train_one(builder(), data, settings, 1, None, checkpoint, fresh if settings.train_draws != 1 else None)

    data = FoldData(*files, 1, CPU, draws=copies, spare=spare)
    settings = run_settings(regime="incomplete", epochs=3, train_draws=draws)
    _weights, whole = train(settings, data)
    _weights, once = train(run_settings(regime="incomplete", epochs=3), FoldData(*files, 1, CPU))
    assert [row["loss"] for row in whole] != [row["loss"] for row in once]

    class CutError(Exception):
        pass

    original, epochs = OneByOne.train_epoch, []

    def cut_in_the_third_epoch(self, epoch, rate):
        epochs.append(epoch)
        if epochs == [0, 1, 2]:
            raise CutError
        return original(self, epoch, rate)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    monkeypatch.setattr(OneByOne, "train_epoch", cut_in_the_third_epoch)
    with pytest.raises(CutError):
        train(settings, data, tmp_path / "state.pt")
    _weights, resumed = train(settings, data, tmp_path / "state.pt")
    assert epochs == [0, 1, 2, 2]
    assert [row["loss"] for row in resumed] == [row["loss"] for row in whole]
