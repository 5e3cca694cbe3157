"""The training loop selects by validation UA, and resuming does not change the result (SPEC 3.3, 3.4)."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import torch
from small_fold import (
    DIMS,
    Bare,
    builder,
    equal,
    fold_data,
    make_files,
    normalised,
    run_settings,
    train_one,
)

from nmer.errors import TrainingError
from nmer.plan.running import LIVE_HISTORY
from nmer.training import loop
from nmer.training.one_by_one import OneByOne
from nmer.training.optimiser import AdamW


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def data(files):
    return fold_data(files)


def scripted(monkeypatch, scores: list) -> list[dict]:
    """Let validation return these UAs or rows of scores; return the system's weights at each validation."""
    seen: list[dict] = []

    def validation(self):
        seen.append(self.weights(1))
        found = scores[len(seen) - 1]
        return [found if isinstance(found, dict) else {"val_WA": 0.0, "val_UA": found, "val_F1": 0.0}]

    monkeypatch.setattr(OneByOne, "validate", validation)
    return seen


class Broken(Bare):
    """Its term ``odd`` becomes infinite in the fifth batch of a training."""

    def loss(self, outputs, batch):
        factor = float("inf") if len(self.batches) == 4 else 0.0
        return super().loss(outputs, batch) | {"odd": outputs["logits"].square().sum() * factor}


def test_a_loss_that_is_not_finite_ends_training_with_its_location(data):
    settings = run_settings(system="nmer", epochs=9, batch_size=9)
    with pytest.raises(TrainingError) as error:
        train_one(Broken, data, settings, repeat=7)
    for word in ("nmer", "small", "fold 1", "repeat 7", "epoch 5", "'odd'"):
        assert word in str(error.value)


def test_the_first_term_that_is_not_finite_is_named(data):
    # Its gradient makes the weights NaN, and so every term of later batches.
    with pytest.raises(TrainingError, match=r"epoch 2: the loss term 'odd'"):
        train_one(Broken, data, run_settings(epochs=3, batch_size=4), repeat=1)


def test_the_best_weights_before_a_loss_that_is_not_finite_are_saved_and_named(data, tmp_path):
    checkpoint = tmp_path / "progress" / "repeat1.pt"
    with pytest.raises(TrainingError) as error:
        train_one(Broken, data, run_settings(epochs=9, batch_size=9), 1, checkpoint=checkpoint)
    kept = tmp_path / "progress" / "repeat1_best.pt"
    assert str(kept) in str(error.value)
    # The first four epochs are complete: a training of four epochs is the reference.
    weights, history = train_one(Broken, data, run_settings(epochs=4, batch_size=9), 1)
    state = torch.load(kept, weights_only=True)
    assert equal(state["best"]["weights"], weights)
    assert state["history"] == history
    best = next(row["epoch"] for row in history if row["val_UA"] == max(other["val_UA"] for other in history))
    assert f"of epoch {best}:" in str(error.value)


# ---- optimisation


def test_the_optimiser_is_adamw_with_the_configured_rate_and_decay_and_default_betas(data, monkeypatch):
    rates, whole = [], AdamW.step

    def step(optimiser):
        (group,) = optimiser.param_groups
        assert isinstance(optimiser, torch.optim.AdamW)
        assert (group["betas"], group["weight_decay"]) == ((0.9, 0.999), 1e-5)
        rates.append(group["lr"])
        whole(optimiser)

    monkeypatch.setattr(AdamW, "step", step)
    scripted(monkeypatch, [0.5] * 60)
    settings = run_settings(**{"epochs": 30, "decay_epochs": 30, "batch_size": 9})
    _weights, history = train_one(Bare, data, settings, 1)
    expected = [2e-4 * (1 - max(0, e + 1 - 30) / 31) for e in range(60)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert [row["learning_rate"] for row in history] == pytest.approx(expected, rel=1e-12)
    assert rates[30] == pytest.approx(2e-4 * 0.9677, rel=1e-4)
    assert rates[59] == pytest.approx(2e-4 * 0.0323, rel=2e-3)


def test_a_training_step_is_that_of_adamw(data, monkeypatch):
    scripted(monkeypatch, [0.5])
    settings = run_settings(epochs=1, batch_size=9, learning_rate=0.01, weight_decay=0.3, clip_norm=1e6)
    made = []

    def build():
        system = Bare()
        made.append({name: value.detach().clone() for name, value in system.named_parameters()})
        build.system = system
        return system

    after, _history = train_one(build, data, settings, 1)
    for name, parameter in build.system.named_parameters():
        gradient, before = parameter.grad, made[0][name]
        # In the first step, the corrected moments are the gradient and its square.
        expected = before * (1 - 0.01 * 0.3) - 0.01 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(after[name], expected, rtol=1e-5, atol=1e-6)


# ---- selection


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.3, 0.5, 0.5, 0.4], 1), ([0.2, 0.2, 0.2, 0.2], 0), ([0.1, 0.2, 0.3, 0.4], 3), ([0.0] * 4, 0)],
)
def test_the_earliest_epoch_with_the_highest_validation_ua_is_selected(data, monkeypatch, scores, best):
    seen = scripted(monkeypatch, scores)
    weights, history = train_one(Bare, data, run_settings(epochs=4), 1)
    assert equal(weights, seen[best])
    assert not any(equal(weights, other) for number, other in enumerate(seen) if number != best)
    assert [row["val_UA"] for row in history] == scores
    assert [(row["repeat"], row["epoch"]) for row in history] == [(1, 1), (1, 2), (1, 3), (1, 4)]


SCORES = [
    {"val_UA": 0.4, "val_WA": 0.6, "val_F1": 0.1, "val_WF1": 0.2, "val_loss": 2.0},
    {"val_UA": 0.3, "val_WA": 0.7, "val_F1": 0.2, "val_WF1": 0.2, "val_loss": float("nan")},
    {"val_UA": 0.5, "val_WA": 0.7, "val_F1": 0.2, "val_WF1": 0.4, "val_loss": 3.0},
    {"val_UA": 0.5, "val_WA": 0.1, "val_F1": 0.3, "val_WF1": 0.3, "val_loss": 1.0},
    {"val_UA": 0.1, "val_WA": 0.1, "val_F1": 0.1, "val_WF1": 0.1, "val_loss": 1.0},
]


@pytest.mark.parametrize(("selection", "best"), [("UA", 2), ("WA", 1), ("F1", 3), ("WF1", 2), ("loss", 3)])
def test_the_selected_score_or_the_lowest_loss_selects_the_epoch(data, monkeypatch, selection, best):
    seen = scripted(monkeypatch, SCORES)
    weights, history = train_one(Bare, data, run_settings(epochs=5, selection=selection), 1)
    assert equal(weights, seen[best])
    assert len(history) == 5


@pytest.mark.parametrize(
    ("scores", "patience", "trained"),
    [
        ([0.3, 0.5, 0.5, 0.4, 0.6, 0.7], 2, 4),
        ([0.3, 0.5, 0.5, 0.4, 0.6, 0.7], 3, 6),
        ([0.3, 0.2, 0.4, 0.1, 0.5, 0.6], 1, 2),
        ([0.3] * 6, 0, 6),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 6),
    ],
)
def test_training_stops_after_patience_epochs_without_improvement(data, monkeypatch, scores, patience, trained):
    scripted(monkeypatch, scores)
    _weights, history = train_one(Bare, data, run_settings(epochs=6, patience=patience), 1)
    assert [row["val_UA"] for row in history] == scores[:trained]


def test_early_stopping_changes_nothing_before_it_stops(data, monkeypatch):
    settings = {"system": "men", "regime": "incomplete", "epochs": 3, "decay_epochs": 3}
    whole = train_one(builder(), data, run_settings(**settings), 1)[1]
    stopped = train_one(builder(), data, run_settings(**settings, patience=1), 1)[1]
    assert stopped == whole[: len(stopped)]


def test_test_utterances_change_nothing(files, tmp_path):
    import h5py

    changed = [tmp_path / path.name for path in files]
    for source, target in zip(files, changed, strict=True):
        shutil.copy(source, target)
        with h5py.File(target, "r+") as file:
            for modality in DIMS:
                frames = sum(len(normalised(modality, n, False)) for n in range(15))
                file[modality]["values"][frames:] = 1e3
    settings = run_settings(regime="incomplete", epochs=2)
    first, second = (train_one(builder(), fold_data(tuple(pair)), settings, 1) for pair in (files, changed))
    assert equal(first[0], second[0])
    assert first[1] == second[1]


# ---- seeds and resuming


def test_equal_names_give_equal_weights_and_another_repeat_gives_others(data):
    settings = run_settings(regime="incomplete", epochs=2)
    torch.manual_seed(11)
    first, history = train_one(builder(), data, settings, 1)
    torch.manual_seed(22)
    again, same_history = train_one(builder(), data, settings, 1)
    other, _history = train_one(builder(), data, settings, 2)
    assert equal(first, again)
    assert history == same_history
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))


def test_training_does_not_depend_on_noise_kind_or_level_names(data):
    one = train_one(builder(), data, run_settings(regime="incomplete", noise="gaussian", snr_db=-10), 1)
    two = train_one(builder(), data, run_settings(regime="incomplete", noise="impulse", snr_db=-40), 1)
    assert equal(one[0], two[0])


class InterruptionError(Exception):
    """Simulates a killed job."""


@pytest.mark.parametrize(("system", "killed_at"), [("men", 1), ("nmer", 3)])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(data, tmp_path, monkeypatch, system, killed_at):
    settings = run_settings(system, "incomplete", epochs=2, decay_epochs=2, learning_rate=1e-3)
    teacher = builder("two_tower")().requires_grad_(False) if system == "nmer" else None
    build, checkpoint = builder(system), tmp_path / "new" / "repeat1.pt"
    weights, history = train_one(build, data, settings, 1, teacher)

    epochs, whole = [], OneByOne.train_epoch

    def counted(self, epoch, rate):
        epochs.append(epoch)
        if epoch == killed_at and len(epochs) == killed_at + 1:
            raise InterruptionError
        return whole(self, epoch, rate)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(OneByOne, "train_epoch", counted)
    with pytest.raises(InterruptionError):
        train_one(build, data, settings, 1, teacher, checkpoint)
    torch.manual_seed(123)
    resumed, resumed_history = train_one(build, data, settings, 1, teacher, checkpoint)
    assert epochs == [*range(killed_at + 1), *range(killed_at, 4)]
    assert equal(resumed, weights)
    assert resumed_history == history

    finished, finished_history = train_one(build, data, settings, 1, teacher, checkpoint)
    assert len(epochs) == 5
    assert equal(finished, weights)
    assert finished_history == history


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_a_resumed_training_stops_early_where_an_uninterrupted_one_does(data, tmp_path, monkeypatch, killed_at):
    settings, checkpoint = run_settings(epochs=9, patience=2), tmp_path / "repeat1.pt"
    # The fourth epoch is the last: two have passed since the best one.
    values, epochs, whole = [0.3, 0.5, 0.2, 0.4, 0.9, 0.9, 0.9, 0.9, 0.9], [], OneByOne.train_epoch

    def counted(self, epoch, rate):
        epochs.append(epoch)
        if epochs == list(range(killed_at + 1)):
            raise InterruptionError
        return whole(self, epoch, rate)

    monkeypatch.setattr(OneByOne, "validate", lambda _self: [{"val_UA": values[epochs[-1]]}])
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(OneByOne, "train_epoch", counted)
    with pytest.raises(InterruptionError):
        train_one(builder(), data, settings, 1, checkpoint=checkpoint)
    resumed, history = train_one(builder(), data, settings, 1, checkpoint=checkpoint)
    assert epochs == [*range(killed_at + 1), *range(killed_at, 4)]
    # A finished training trains no more epochs.
    again, same_history = train_one(builder(), data, settings, 1, checkpoint=checkpoint)
    assert len(epochs) == 5
    assert equal(again, resumed)
    assert same_history == history
    epochs.append("uninterrupted")
    expected, expected_history = train_one(builder(), data, settings, 1)
    assert equal(resumed, expected)
    assert history == expected_history


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda _content: b""])
def test_a_damaged_checkpoint_is_ignored(data, tmp_path, capsys, damage):
    checkpoint, settings = tmp_path / "repeat1.pt", run_settings(epochs=2)
    weights, history = train_one(builder(), data, settings, 1, checkpoint=checkpoint)
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    again, same_history = train_one(builder(), data, settings, 1, checkpoint=checkpoint)
    assert equal(again, weights)
    assert same_history == history
    assert f"warning: {checkpoint}: is damaged and is not used." in capsys.readouterr().err


def test_a_checkpoint_with_one_changed_bit_is_not_used(data, tmp_path, capsys):
    checkpoint, settings = tmp_path / "repeat1.pt", run_settings(epochs=2)
    weights, _history = train_one(builder(), data, settings, 1, checkpoint=checkpoint)
    content = bytearray(checkpoint.read_bytes())
    somewhere = content.index(next(iter(weights.values())).numpy().tobytes()[:64]) + 5
    content[somewhere] ^= 1
    checkpoint.write_bytes(content)
    again, _history = train_one(builder(), data, settings, 1, checkpoint=checkpoint)
    assert equal(again, weights)
    assert "is damaged" in capsys.readouterr().err


def test_every_epoch_records_the_library_versions(data):
    _weights, history = train_one(builder(), data, run_settings(epochs=2), 1)
    assert all(f"torch {torch.__version__}" in row["versions"] for row in history)


def test_progress_is_not_saved_more_often_than_needed(data, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda path, *_rest: saved.append(path))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 3600)
    train_one(Bare, data, run_settings(epochs=5), 1, checkpoint=tmp_path / "x.pt")
    assert saved == [tmp_path / "x.pt"]


def rows_of(path):
    return pd.read_csv(path)[["repeat", "epoch", "val_UA"]]


def test_the_live_history_equals_the_history_and_the_log_has_one_line_per_epoch(data, tmp_path, capsys):
    checkpoint = tmp_path / "progress" / "repeat1.pt"
    _weights, history = train_one(Bare, data, run_settings(system="nmer", epochs=3), 1, checkpoint=checkpoint)
    live = rows_of(checkpoint.with_name(LIVE_HISTORY))
    assert live.to_dict("records") == [{key: row[key] for key in live} for row in history]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 3
    assert lines[2] == (
        f"epoch 3 of 3, repeat 1: loss {history[2]['loss']:.4f}; validation UA {history[2]['val_UA']:.4f}"
    )


def test_a_resumed_training_duplicates_no_row_and_keeps_rows_of_other_repeats(data, tmp_path):
    checkpoint = tmp_path / "progress" / "repeat1.pt"
    settings = run_settings(system="nmer", epochs=4)
    train_one(Bare, data, run_settings(system="nmer", epochs=2), 1, checkpoint=checkpoint)
    live = checkpoint.with_name(LIVE_HISTORY)
    # Killed before the next checkpoint: rows newer than the last one, the last row truncated, and repeat 2.
    first = live.read_text().splitlines()
    other, newer = "2" + first[1][1:], first[2].replace("1,2,", "1,3,", 1)
    live.write_text("\n".join([*first, other, newer, newer[:9]]))
    _weights, history = train_one(Bare, data, settings, 1, checkpoint=checkpoint)
    kept = rows_of(live)
    assert kept.loc[kept["repeat"] == 2, "epoch"].tolist() == [1]
    assert kept.loc[kept["repeat"] == 1, "epoch"].tolist() == [1, 2, 3, 4]
    assert kept.loc[kept["repeat"] == 1, "val_UA"].tolist() == [row["val_UA"] for row in history]
