"""A training step of one repeat follows SPEC 3.3 and 3.5."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_fold import (
    DIMS,
    FOLDS,
    LABELS,
    Bare,
    builder,
    equal,
    fold_data,
    make_files,
    normalised,
    run_settings,
    train_one,
)
from torch import nn

from nmer.training import one_by_one
from nmer.training.loop import mean_terms
from nmer.training.one_by_one import OneByOne


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


class Sgd(torch.optim.SGD):
    """Plain gradient descent instead of the optimiser, so a step reveals its gradients."""

    def __init__(self, parameters, learning_rate, _weight_decay) -> None:
        super().__init__(parameters, lr=learning_rate)

    def set_learning_rate(self, learning_rate) -> None:
        for group in self.param_groups:
            group["lr"] = learning_rate


@pytest.fixture
def train_epoch(data, monkeypatch):
    """Return a function that trains one epoch by plain gradient descent and returns the losses."""
    monkeypatch.setattr(one_by_one, "AdamW", Sgd)

    def one_epoch(system, settings, epoch=0, learning_rate=0.0):
        return OneByOne(lambda: system, data, settings, 1).train_epoch(epoch, learning_rate)

    return one_epoch


# ---- one epoch


def test_an_epoch_uses_every_training_utterance_once_including_the_last_smaller_batch(train_epoch):
    system = Bare()
    orders = []
    for epoch in range(2):
        system.batches.clear()
        train_epoch(system, run_settings(batch_size=4), epoch)
        assert [len(batch.labels) for batch in system.batches] == [4, 4, 1]
        means = torch.cat([system.encode("v", batch.observed["v"]) for batch in system.batches])
        expected = torch.tensor(np.stack([normalised("v", n, False).mean(axis=0) for n in FOLDS[1]["train"]]))
        distances = torch.cdist(means.double(), expected)
        orders.append(distances.argmin(dim=1).tolist())
        assert distances.min(dim=1).values.max() < 1e-5
        assert sorted(orders[-1]) == list(range(9))
        labels = torch.cat([batch.labels for batch in system.batches])
        assert labels.tolist() == [LABELS[FOLDS[1]["train"][position]] for position in orders[-1]]
    assert orders[0] != orders[1] != list(range(9))


@pytest.mark.parametrize(("regime", "noisy"), [("clean", False), ("all_noisy", True)])
def test_the_regime_determines_which_modalities_are_noisy(train_epoch, regime, noisy):
    system = Bare()
    train_epoch(system, run_settings(regime=regime, batch_size=9))
    (batch,) = system.batches
    for modality in DIMS:
        assert (batch.noisy[modality] == noisy).all()
        found = batch.observed[modality].values.double().sum(dim=(0, 1))
        expected = sum(normalised(modality, n, noisy).sum(axis=0) for n in FOLDS[1]["train"])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_the_flags_of_a_batch_match_its_noisy_sequences(train_epoch):
    system = Bare()
    train_epoch(system, run_settings(regime="incomplete", batch_size=3))
    seen = set()
    for batch in system.batches:
        flags = torch.stack([batch.noisy[m] for m in DIMS], dim=1)
        assert ((flags.sum(dim=1) == 1) | (flags.sum(dim=1) == 2)).all()
        seen |= {tuple(row) for row in flags.tolist()}
        for modality in DIMS:
            means = system.encode(modality, batch.observed[modality]).double().numpy()
            for mean, flag in zip(means, batch.noisy[modality].tolist(), strict=True):
                same, other = (
                    min(np.abs(normalised(modality, n, state).mean(axis=0) - mean).max() for n in FOLDS[1]["train"])
                    for state in (flag, not flag)
                )
                assert same < 1e-4 < other
    assert len(seen) > 2


def test_each_subnetwork_is_clipped_separately(train_epoch):
    settings = run_settings(batch_size=9, clip_norm=0.05)
    torch.manual_seed(0)
    system = Bare()
    before = {name: value.clone() for name, value in system.named_parameters()}
    train_epoch(system, settings, learning_rate=1.0)
    (batch,) = system.batches
    with torch.no_grad():
        for name, parameter in system.named_parameters():
            parameter.copy_(before[name])
    nn.functional.cross_entropy(system(batch)["logits"], batch.labels).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in system.named_parameters()}
    system.zero_grad()
    train_epoch(system, settings, learning_rate=1.0)
    after = dict(system.named_parameters())
    for part in ("first", "second"):
        names = [f"{part}.weight", f"{part}.bias"]
        norm = math.sqrt(sum(float(gradients[name].double().square().sum()) for name in names))
        assert norm > 0.1
        for name in names:
            torch.testing.assert_close(after[name].detach(), before[name] - gradients[name] * 0.05 / norm)


def test_gradients_within_the_norm_are_not_changed(train_epoch):
    system = Bare()
    before = {name: value.detach().clone() for name, value in system.named_parameters()}
    settings = run_settings(batch_size=9, clip_norm=1e6)
    train_epoch(system, settings, learning_rate=0.5)
    for name, parameter in system.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 0.5 * parameter.grad)


def test_the_loss_of_an_epoch_is_the_mean_over_its_utterances_for_any_batch_size(train_epoch):
    class TwoTerms(Bare):
        def loss(self, outputs, batch):
            return super().loss(outputs, batch) | {"size": 3 * outputs["logits"].square().mean()}

    torch.manual_seed(0)
    system = TwoTerms()
    whole, parts = (
        mean_terms(train_epoch(system, run_settings(batch_size=size)), run_settings(), [1], 0, [1])[1]
        for size in (9, 4)
    )
    assert parts == pytest.approx(whole, rel=1e-5)
    assert set(parts) == {"loss", "loss_classification", "loss_size"}
    assert parts["loss"] == pytest.approx(parts["loss_classification"] + parts["loss_size"])


# ---- teacher


def test_the_teacher_is_frozen_and_the_student_starts_from_its_weights(data, monkeypatch):
    teacher = builder("two_tower")().requires_grad_(False).train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    at_start, whole = {}, OneByOne.train_epoch

    def spy(self, *arguments):
        if not at_start:
            at_start.update(self.weights(1))
        return whole(self, *arguments)

    monkeypatch.setattr(OneByOne, "train_epoch", spy)
    weights, _history = train_one(builder("nmer"), data, run_settings("nmer", "incomplete"), 1, teacher)
    assert equal(dict(teacher.state_dict()), before)
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    for part in ("towers.specific.", "towers.invariance.", "towers.invariance_mlp."):
        inherited = [name for name in before if name.startswith(part)]
        assert inherited
        assert all(torch.equal(at_start[name], before[name]) for name in inherited)
        assert not any(torch.equal(weights[name], before[name]) for name in inherited if "weight" in name)


def test_the_targets_of_a_batch_are_the_teachers_encodings_of_its_utterances(data, monkeypatch):
    teacher = builder("two_tower")().requires_grad_(False)
    student = builder("nmer")()
    batches, whole = [], student.loss
    monkeypatch.setattr(student, "loss", lambda outputs, batch: batches.append(batch) or whole(outputs, batch))
    train_one(lambda: student, data, run_settings("nmer", "incomplete", epochs=1, batch_size=4), 1, teacher)
    assert [len(batch.labels) for batch in batches] == [4, 4, 1]
    teacher.eval()
    for modality in DIMS:
        for state, field in ((False, "teacher_clean"), (True, "teacher_noisy")):
            expected = []
            for number in range(9):
                frames = torch.from_numpy(normalised(modality, number, state).astype(np.float32))
                alone = type(batches[0].observed[modality])(frames[None], torch.tensor([len(frames)]))
                expected.append(teacher.encode(modality, alone)[0])
            expected = torch.stack(expected)
            for batch in batches:
                # The sequence identifies the utterance where it is as noisy as the target.
                for position, target in enumerate(getattr(batch, field)[modality]):
                    assert float((expected - target).abs().amax(dim=1).min()) < 1e-4
                    if bool(batch.noisy[modality][position]) == state:
                        length = int(batch.observed[modality].lengths[position])
                        frames = batch.observed[modality].values[position, :length]
                        alone = type(batch.observed[modality])(frames[None], torch.tensor([length]))
                        torch.testing.assert_close(teacher.encode(modality, alone)[0], target, rtol=0, atol=1e-4)
