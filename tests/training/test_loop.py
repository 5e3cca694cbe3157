"""The training loop follows SPEC 3.3 to 3.5 step by step, and an interrupted training ends like any other."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import train
from sklearn import metrics as reference
from small_fold import (
    CLASSES,
    DIMS,
    FOLDS,
    IDS,
    LABELS,
    SMALL_NMER,
    builder,
    fold_data,
    make_files,
    normalised,
    run_settings,
    run_step,
    utterance,
)
from torch import nn

from nmer.errors import TrainingError
from nmer.plan.settings import TrainingSettings
from nmer.systems.interface import System
from nmer.training import loop as training
from nmer.training import repeats
from nmer.training.loop import make_batch, train_epoch, train_repeat, validate
from nmer.training.models import load_model

NO_TARGETS = None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Bare(System):
    """The least of a system: the mean frame of every modality, two linear sub-networks in a row."""

    def __init__(self) -> None:
        super().__init__(DIMS, len(CLASSES), 0.0)
        self.first = nn.Linear(sum(DIMS.values()), 5)
        self.second = nn.Linear(5, self.classes)
        self.batches = []

    def encode(self, modality, sequences):
        return sequences.values.sum(dim=1) / sequences.lengths[:, None]

    def fuse(self, encodings):
        return {"logits": self.second(self.first(torch.cat(list(encodings.values()), dim=1)))}

    def loss(self, outputs, batch):
        self.batches.append(batch)
        return super().loss(outputs, batch)


def scripted(monkeypatch, scores: list[float]) -> list[dict]:
    """Makes validation return these UAs; returns the system's weights at each of them."""
    seen: list[dict] = []

    def validation(system, _data, _settings):
        seen.append({name: value.clone() for name, value in system.state_dict().items()})
        return {"val_WA": 0.0, "val_UA": scores[len(seen) - 1], "val_F1": 0.0}

    monkeypatch.setattr(training, "validate", validation)
    return seen


# ---- one epoch


def test_an_epoch_sees_every_training_utterance_once_and_keeps_the_last_smaller_batch(data):
    system = Bare()
    optimiser = torch.optim.SGD(system.parameters(), lr=0.0)
    orders = []
    for epoch in range(2):
        system.batches.clear()
        train_epoch(system, optimiser, data, run_settings(batch_size=4), 1, epoch, NO_TARGETS)
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


@pytest.mark.parametrize(("regime", "noisy"), [("clean", False), ("all", True)])
def test_an_epoch_feeds_what_its_regime_says(data, regime, noisy):
    system = Bare()
    optimiser = torch.optim.SGD(system.parameters(), lr=0.0)
    train_epoch(system, optimiser, data, run_settings(regime=regime, batch_size=9), 1, 0, NO_TARGETS)
    (batch,) = system.batches
    for modality in DIMS:
        assert (batch.noisy[modality] == noisy).all()
        found = batch.observed[modality].values.double().sum(dim=(0, 1))
        expected = sum(normalised(modality, n, noisy).sum(axis=0) for n in FOLDS[1]["train"])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_under_six_conditions_the_flags_of_a_batch_say_which_sequences_are_noisy(data):
    system = Bare()
    optimiser = torch.optim.SGD(system.parameters(), lr=0.0)
    train_epoch(system, optimiser, data, run_settings(regime="six", batch_size=3), 1, 0, NO_TARGETS)
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


def test_each_subnetwork_is_clipped_by_its_own_norm(data):
    settings = run_settings(batch_size=9, clip_norm=0.05)
    torch.manual_seed(0)
    system = Bare()
    before = {name: value.clone() for name, value in system.named_parameters()}
    train_epoch(system, torch.optim.SGD(system.parameters(), lr=1.0), data, settings, 1, 0, NO_TARGETS)
    (batch,) = system.batches
    with torch.no_grad():
        for name, parameter in system.named_parameters():
            parameter.copy_(before[name])
    nn.functional.cross_entropy(system(batch)["logits"], batch.labels).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in system.named_parameters()}
    system.zero_grad()
    train_epoch(system, torch.optim.SGD(system.parameters(), lr=1.0), data, settings, 1, 0, NO_TARGETS)
    after = dict(system.named_parameters())
    for part in ("first", "second"):
        names = [f"{part}.weight", f"{part}.bias"]
        norm = math.sqrt(sum(float(gradients[name].double().square().sum()) for name in names))
        assert norm > 0.1
        for name in names:
            torch.testing.assert_close(after[name].detach(), before[name] - gradients[name] * 0.05 / norm)


def test_gradients_within_the_norm_are_left_alone(data):
    system = Bare()
    before = {name: value.detach().clone() for name, value in system.named_parameters()}
    settings = run_settings(batch_size=9, clip_norm=1e6)
    train_epoch(system, torch.optim.SGD(system.parameters(), lr=0.5), data, settings, 1, 0, NO_TARGETS)
    for name, parameter in system.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] - 0.5 * parameter.grad)


def test_the_loss_of_an_epoch_is_the_mean_over_its_utterances_whatever_the_batches(data):
    class TwoTerms(Bare):
        def loss(self, outputs, batch):
            return super().loss(outputs, batch) | {"size": 3 * outputs["logits"].square().mean()}

    torch.manual_seed(0)
    system = TwoTerms()
    optimiser = torch.optim.SGD(system.parameters(), lr=0.0)
    whole, parts = (
        train_epoch(system, optimiser, data, run_settings(batch_size=size), 1, 0, NO_TARGETS) for size in (9, 4)
    )
    assert parts == pytest.approx(whole, rel=1e-5)
    assert set(parts) == {"loss", "loss_classification", "loss_size"}
    assert parts["loss"] == pytest.approx(parts["loss_classification"] + parts["loss_size"])


class Broken(Bare):
    """Its term ``odd`` becomes infinite in the fifth batch of a training."""

    def loss(self, outputs, batch):
        factor = float("inf") if len(self.batches) == 4 else 0.0
        return super().loss(outputs, batch) | {"odd": outputs["logits"].square().sum() * factor}


def test_a_loss_that_is_not_finite_stops_and_says_where(data):
    settings = run_settings(system="nmer", epochs=9, batch_size=9)
    with pytest.raises(TrainingError) as error:
        train_repeat(Broken, data, settings, repeat=7)
    for word in ("nmer", "small", "fold 1", "repeat 7", "epoch 5", "'odd'"):
        assert word in str(error.value)


def test_the_term_that_was_the_first_not_to_be_finite_is_named_not_those_it_spoilt(data):
    # Its gradient makes the weights not-a-number, so that every term of the following batches is one too.
    with pytest.raises(TrainingError, match=r"epoch 2: the loss term 'odd'"):
        train_repeat(Broken, data, run_settings(epochs=3, batch_size=4), repeat=1)


def test_the_best_weights_until_the_loss_was_not_finite_are_kept_and_their_file_is_named(data, tmp_path):
    checkpoint = tmp_path / "progress" / "repeat1.pt"
    with pytest.raises(TrainingError) as error:
        train_repeat(Broken, data, run_settings(epochs=9, batch_size=9), 1, checkpoint=checkpoint)
    kept = tmp_path / "progress" / "repeat1_best.pt"
    assert str(kept) in str(error.value)
    # The first four epochs are whole: a training of four is the same up to there.
    weights, history = train_repeat(Broken, data, run_settings(epochs=4, batch_size=9), 1)
    state = torch.load(kept, weights_only=True)
    assert equal(state["best"]["weights"], weights)
    assert state["history"] == history
    best = next(row["epoch"] for row in history if row["val_UA"] == max(other["val_UA"] for other in history))
    assert f"of epoch {best}:" in str(error.value)


# ---- what a batch offers


def test_a_batch_offers_the_clean_sequences_of_noisy_utterances_and_the_modalities_deviations(data):
    rows = data.splits["train"][[3, 0, 5]]
    batch = make_batch(data, rows, torch.ones(3, 3, dtype=torch.bool))
    for modality in DIMS:
        clean, observed = batch.clean(modality), batch.observed[modality]
        for place, number in enumerate(rows.tolist()):
            frames = int(clean.lengths[place])
            for sequences, noisy in ((clean, False), (observed, True)):
                expected = normalised(modality, number, noisy)
                assert len(expected) == frames
                np.testing.assert_allclose(sequences.values[place, :frames], expected, atol=1e-4)
        everything = np.concatenate([utterance(modality, number) for number in range(len(IDS))]).astype(np.float64)
        # A standardised modality is in units of its own spread (SPEC 2.6).
        deviation = 1.0 if modality == "a" else everything.std()
        assert batch.deviations[modality] == pytest.approx(deviation, rel=1e-5)


def test_a_system_is_given_the_modalities_that_it_reads_and_no_others(data):
    flags = torch.zeros(2, 3, dtype=torch.bool)
    assert set(make_batch(data, data.splits["train"][:2], flags, modalities=("v",)).observed) == {"v"}


# ---- optimisation


def test_the_optimiser_is_adamw_with_the_settings_rate_decay_and_default_betas(data, monkeypatch):
    rates = []

    def epoch(_system, optimiser, *_rest):
        (group,) = optimiser.param_groups
        assert isinstance(optimiser, torch.optim.AdamW)
        assert (group["betas"], group["weight_decay"]) == ((0.9, 0.999), 1e-5)
        rates.append(group["lr"])
        optimiser.step()
        return {"loss": 0.0}

    monkeypatch.setattr(training, "train_epoch", epoch)
    scripted(monkeypatch, [0.5] * 60)
    settings = run_settings(**{"epochs": 30, "decay_epochs": 30})
    _weights, history = train_repeat(Bare, data, settings, 1)
    expected = [2e-4 * (1 - max(0, e + 1 - 30) / 31) for e in range(60)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert [row["learning_rate"] for row in history] == pytest.approx(expected, rel=1e-12)
    assert rates[30] == pytest.approx(2e-4 * 0.9677, rel=1e-4)
    assert rates[59] == pytest.approx(2e-4 * 0.0323, rel=2e-3)


def test_a_training_step_is_adamws(data, monkeypatch):
    scripted(monkeypatch, [0.5])
    settings = run_settings(epochs=1, batch_size=9, learning_rate=0.01, weight_decay=0.3, clip_norm=1e6)
    made = []

    def build():
        system = Bare()
        made.append({name: value.detach().clone() for name, value in system.named_parameters()})
        build.system = system
        return system

    after, _history = train_repeat(build, data, settings, 1)
    for name, parameter in build.system.named_parameters():
        gradient, before = parameter.grad, made[0][name]
        # Of the first step: both moments are corrected to the gradient and its square.
        expected = before * (1 - 0.01 * 0.3) - 0.01 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(after[name], expected, rtol=1e-5, atol=1e-6)


# ---- selection


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.3, 0.5, 0.5, 0.4], 1), ([0.2, 0.2, 0.2, 0.2], 0), ([0.1, 0.2, 0.3, 0.4], 3), ([0.0] * 4, 0)],
)
def test_the_earliest_epoch_of_the_highest_validation_ua_is_kept(data, monkeypatch, scores, best):
    seen = scripted(monkeypatch, scores)
    weights, history = train_repeat(Bare, data, run_settings(epochs=4), 1)
    assert equal(weights, seen[best])
    assert not any(equal(weights, other) for number, other in enumerate(seen) if number != best)
    assert [row["val_UA"] for row in history] == scores
    assert [(row["repeat"], row["epoch"]) for row in history] == [(1, 1), (1, 2), (1, 3), (1, 4)]


@pytest.mark.parametrize(
    ("regime", "conditions"), [("clean", ["avl"]), ("all", ["none"]), ("six", ["a", "v", "l", "av", "al", "vl"])]
)
def test_validation_pools_the_conditions_of_the_regime(data, regime, conditions):
    torch.manual_seed(2)
    system = Bare()
    labels, guesses = [], []
    for condition in conditions:
        clean = "" if condition == "none" else condition
        for number in FOLDS[1]["val"]:
            features = [normalised(m, number, m not in clean).mean(axis=0) for m in DIMS]
            logits = system.second(system.first(torch.tensor(np.concatenate(features), dtype=torch.float32)))
            guesses.append(int(logits.argmax()))
            labels.append(int(LABELS[number]))
    assert validate(system, data, run_settings(regime=regime)) == pytest.approx(
        {
            "val_WA": reference.accuracy_score(labels, guesses),
            "val_UA": reference.recall_score(labels, guesses, average="macro"),
            "val_F1": reference.f1_score(labels, guesses, average="macro"),
        }
    )


def test_test_utterances_change_nothing(files, tmp_path):
    import h5py

    changed = [tmp_path / path.name for path in files]
    for source, target in zip(files, changed, strict=True):
        shutil.copy(source, target)
        with h5py.File(target, "r+") as file:
            for modality in DIMS:
                frames = sum(len(normalised(modality, n, False)) for n in range(15))
                file[modality]["values"][frames:] = 1e3
    settings = run_settings(regime="six", epochs=2)
    first, second = (train_repeat(builder(), fold_data(tuple(pair)), settings, 1) for pair in (files, changed))
    assert equal(first[0], second[0])
    assert first[1] == second[1]


# ---- seeds and resuming


def test_equal_names_train_equal_weights_and_another_repeat_trains_others(data):
    settings = run_settings(regime="six", epochs=2)
    torch.manual_seed(11)
    first, history = train_repeat(builder(), data, settings, 1)
    torch.manual_seed(22)
    again, same_history = train_repeat(builder(), data, settings, 1)
    other, _history = train_repeat(builder(), data, settings, 2)
    assert equal(first, again)
    assert history == same_history
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))


def test_training_does_not_depend_on_noise_kind_or_level_names(data):
    one = train_repeat(builder(), data, run_settings(regime="six", noise="gaussian", snr_db=-10), 1)
    two = train_repeat(builder(), data, run_settings(regime="six", noise="impulse", snr_db=-40), 1)
    assert equal(one[0], two[0])


class InterruptionError(Exception):
    """Stands for a job that is killed."""


@pytest.mark.parametrize("system", ["men", "nmer"])
@pytest.mark.parametrize("killed_at", [1, 3])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(data, tmp_path, monkeypatch, system, killed_at):
    settings = run_settings(system, "six", epochs=2, decay_epochs=2, learning_rate=1e-3)
    teacher = builder("two_tower")().requires_grad_(False) if system == "nmer" else None
    build, checkpoint = builder(system), tmp_path / "new" / "repeat1.pt"
    weights, history = train_repeat(build, data, settings, 1, teacher)

    epochs, whole = [], training.train_epoch

    def counted(*arguments):
        epochs.append(arguments[5])
        if arguments[5] == killed_at and len(epochs) == killed_at + 1:
            raise InterruptionError
        return whole(*arguments)

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(training, "train_epoch", counted)
    with pytest.raises(InterruptionError):
        train_repeat(build, data, settings, 1, teacher, checkpoint)
    torch.manual_seed(123)
    resumed, resumed_history = train_repeat(build, data, settings, 1, teacher, checkpoint)
    assert epochs == [*range(killed_at + 1), *range(killed_at, 4)]
    assert equal(resumed, weights)
    assert resumed_history == history

    finished, finished_history = train_repeat(build, data, settings, 1, teacher, checkpoint)
    assert len(epochs) == 5
    assert equal(finished, weights)
    assert finished_history == history


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda _content: b""])
def test_a_damaged_checkpoint_is_not_used_and_the_training_ends_as_without_it(data, tmp_path, capsys, damage):
    checkpoint, settings = tmp_path / "repeat1.pt", run_settings(epochs=2)
    weights, history = train_repeat(builder(), data, settings, 1, checkpoint=checkpoint)
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    again, same_history = train_repeat(builder(), data, settings, 1, checkpoint=checkpoint)
    assert equal(again, weights)
    assert same_history == history
    assert f"warning: {checkpoint}: is damaged and is not used." in capsys.readouterr().err


def test_a_checkpoint_with_one_changed_bit_is_not_used(data, tmp_path, capsys):
    checkpoint, settings = tmp_path / "repeat1.pt", run_settings(epochs=2)
    weights, _history = train_repeat(builder(), data, settings, 1, checkpoint=checkpoint)
    content = bytearray(checkpoint.read_bytes())
    somewhere = content.index(next(iter(weights.values())).numpy().tobytes()[:64]) + 5
    content[somewhere] ^= 1
    checkpoint.write_bytes(content)
    again, _history = train_repeat(builder(), data, settings, 1, checkpoint=checkpoint)
    assert equal(again, weights)
    assert "is damaged" in capsys.readouterr().err


def test_every_epoch_says_which_versions_it_was_trained_with(data):
    _weights, history = train_repeat(builder(), data, run_settings(epochs=2), 1)
    assert all(f"torch {torch.__version__}" in row["versions"] for row in history)


STEP = """
import sys, train
from nmer import command
from nmer.training import loop as training
from nmer.training import repeats

training.CHECKPOINT_SECONDS = 0
command.run(train.main)
"""


@pytest.mark.parametrize("sort", [signal.SIGKILL, signal.SIGTERM])
def test_a_step_that_is_killed_goes_on_from_its_checkpoint_and_ends_in_the_same_bytes(files, tmp_path, sort):
    settings = MEN | {"repeats": 2, "training": {"constant_epochs": 30, "decay_epochs": 0, "batch_size": 4}}
    arguments = step_arguments(files, tmp_path, noisy=None)
    command = [sys.executable, "-c", STEP, "--settings", json.dumps(settings)]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    environment = os.environ | {"PYTHONPATH": str(Path(train.__file__).parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    # Somewhere in the second repeat.
    while not list((tmp_path / "checkpoints").glob("*/repeat2.pt")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(sort)
    assert process.wait(timeout=30) != 0
    assert not arguments["model"].exists()
    run_step(train, settings, **arguments)
    whole = step_arguments(files, tmp_path / "whole", noisy=None)
    run_step(train, settings, **whole)
    for name in ("model", "history"):
        assert arguments[name].read_bytes() == whole[name].read_bytes()
    assert [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".pt"))] == []


def test_progress_is_not_saved_more_often_than_needed(data, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(training, "save_progress", lambda path, *_rest: saved.append(path))
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 3600)
    train_repeat(Bare, data, run_settings(epochs=5), 1, checkpoint=tmp_path / "x.pt")
    assert saved == [tmp_path / "x.pt"]


# ---- teacher


def test_the_teacher_stays_frozen_in_evaluation_mode_and_unchanged_and_the_student_starts_from_it(data, monkeypatch):
    teacher = builder("two_tower")().requires_grad_(False).train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    at_start, whole = {}, training.train_epoch

    def spy(system, *rest):
        at_start.update({name: value.clone() for name, value in system.state_dict().items()})
        monkeypatch.setattr(training, "train_epoch", whole)
        return whole(system, *rest)

    monkeypatch.setattr(training, "train_epoch", spy)
    weights, _history = train_repeat(builder("nmer"), data, run_settings("nmer", "six"), 1, teacher)
    assert equal(dict(teacher.state_dict()), before)
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    for part in ("towers.specific.", "towers.invariance.", "towers.invariance_mlp."):
        inherited = [name for name in before if name.startswith(part)]
        assert inherited
        assert all(torch.equal(at_start[name], before[name]) for name in inherited)
        assert not any(torch.equal(weights[name], before[name]) for name in inherited if "weight" in name)


def test_the_targets_of_a_batch_are_the_teachers_encodings_of_the_same_utterances_alone(data, monkeypatch):
    teacher = builder("two_tower")().requires_grad_(False)
    student = builder("nmer")()
    batches, whole = [], student.loss
    monkeypatch.setattr(student, "loss", lambda outputs, batch: batches.append(batch) or whole(outputs, batch))
    train_repeat(lambda: student, data, run_settings("nmer", "six", epochs=1, batch_size=4), 1, teacher)
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
                # Which utterance it is, is seen from the sequence where it is as noisy as the target.
                for position, target in enumerate(getattr(batch, field)[modality]):
                    assert float((expected - target).abs().amax(dim=1).min()) < 1e-4
                    if bool(batch.noisy[modality][position]) == state:
                        length = int(batch.observed[modality].lengths[position])
                        frames = batch.observed[modality].values[position, :length]
                        alone = type(batch.observed[modality])(frames[None], torch.tensor([length]))
                        torch.testing.assert_close(teacher.encode(modality, alone)[0], target, rtol=0, atol=1e-4)


# ---- the step


def step_arguments(files, folder, **changes) -> dict:
    given = {
        "features": files[0],
        "noisy": files[1],
        "model": folder / "run" / "model.safetensors",
        "history": folder / "run" / "history.csv",
        "checkpoints": folder / "checkpoints",
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


MEN = {"dataset": "small", "system": "men", "regime": "clean", "fold": 1, "repeats": 2}
SHORT = {"training": {"constant_epochs": 1, "decay_epochs": 1, "batch_size": 4}}


def test_the_step_writes_all_repeats_their_history_and_a_digest_and_cleans_up(files, tmp_path, data):
    run_step(train, MEN | SHORT, **step_arguments(files, tmp_path, noisy=None))
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "model.safetensors.sha256", "history.csv"}
    history = pd.read_csv(folder / "history.csv")
    assert history[["repeat", "epoch"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert {"learning_rate", "loss", "loss_classification", "val_WA", "val_UA", "val_F1"} <= set(history)
    for repeat in (1, 2):
        expected, _history = train_repeat(builder(), data, run_settings(epochs=1, decay_epochs=1), repeat)
        assert equal(load_model(folder / "model.safetensors", repeat), expected)
    assert [path for path in (tmp_path / "checkpoints").rglob("*") if path.suffix == ".pt"] == []
    if shutil.which("sha256sum"):
        check = ["sha256sum", "--check", "--strict", "model.safetensors.sha256"]
        assert subprocess.run(check, cwd=folder, capture_output=True).returncode == 0


def test_the_step_starts_nmer_from_the_teacher_of_the_same_repeat(files, tmp_path, monkeypatch):
    pretraining = {"dataset": "small", "system": "two_tower", "regime": "clean", "fold": 1, "repeats": 2}
    teacher = tmp_path / "teacher" / "model.safetensors"
    given = step_arguments(files, tmp_path, noisy=None, model=teacher, history=tmp_path / "teacher" / "history.csv")
    run_step(train, pretraining | SHORT, **given)
    seen, whole = [], repeats.train_repeat

    def spy(build, data, settings, repeat, teacher, *rest):
        seen.append((repeat, teacher.state_dict(), [parameter.requires_grad for parameter in teacher.parameters()]))
        return whole(build, data, settings, repeat, teacher, *rest)

    monkeypatch.setattr(repeats, "train_repeat", spy)
    nmer = MEN | SHORT | {"system": "nmer", "regime": "six", "options": SMALL_NMER}
    run_step(train, nmer, **step_arguments(files, tmp_path, teacher=teacher))
    assert [repeat for repeat, _state, _flags in seen] == [1, 2]
    for repeat, state, flags in seen:
        assert equal(dict(state), load_model(teacher, repeat))
        assert not any(flags)


@pytest.mark.parametrize(
    ("settings", "changes", "words"),
    [
        ({"epochs": 3}, {}, ["epochs"]),
        ({"training": {"epochs": 3}}, {}, ["epochs"]),
        ({"system": "mne"}, {}, ["mne", "men"]),
        ({"options": {"layers": 2}}, {}, ["men", "layers"]),
        ({"fold": 9}, {}, ["fold 9"]),
        ({"regime": "six"}, {"noisy": None}, ["noisy"]),
        ({"regime": "sx"}, {}, ["sx"]),
        ({"system": "nmer", "regime": "six", "options": SMALL_NMER}, {}, ["teacher"]),
        ({}, {"features": "absent.h5"}, ["absent.h5"]),
        ({}, {"noisy": "absent.h5"}, ["absent.h5"]),
        ({"system": "nmer", "regime": "six", "options": SMALL_NMER}, {"teacher": "absent.st"}, ["absent.st"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_step_refuses_in_one_line_what_it_cannot_do(files, tmp_path, capsys, settings, changes, words):
    changes = {name: tmp_path / value if value else None for name, value in changes.items()}
    with pytest.raises(SystemExit) as ending:
        run_step(train, MEN | SHORT | settings, **step_arguments(files, tmp_path, **changes))
    said = capsys.readouterr().err
    assert ending.value.code == 1
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert all(word in said for word in words)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_resumed_only_for_the_same_settings_code_and_inputs(files, tmp_path):
    from types import SimpleNamespace

    other = tmp_path / "other.h5"
    other.write_bytes(b"other")
    other.with_name("other.h5.sha256").write_text("0123  other.h5\n")
    base = {"settings": "{}", "code": "c", "features": files[0], "noisy": files[1], "teacher": None}
    changes = [
        {},
        {"settings": '{"repeats": 2}'},
        {"code": "d"},
        {"features": other},
        {"noisy": other},
        {"noisy": None},
        {"teacher": other},
    ]
    keys = [train.checkpoint_key(SimpleNamespace(**base | change)) for change in changes]
    assert len(set(keys)) == len(keys)
    assert keys[0] == train.checkpoint_key(SimpleNamespace(**base))


def test_the_default_training_of_a_run_is_the_papers():
    assert TrainingSettings() == run_settings(epochs=30, decay_epochs=30, batch_size=128).training
