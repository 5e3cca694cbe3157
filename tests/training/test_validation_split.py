"""Validation equals plain forward passes under every condition and encodes each state once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from small_fold import (
    DIMS,
    FOLDS,
    IDS,
    LABELS,
    SYSTEMS,
    Bare,
    Plain,
    builder,
    fold_data,
    make_files,
    make_teachers,
    normalised,
    run_settings,
)

from nmer.plan.conditions import fixed_condition
from nmer.systems.interface import Sequences
from nmer.training import stacked, validation_split
from nmer.training.one_by_one import OneByOne
from nmer.training.stacked import Stacked
from nmer.training.validation_split import ValidationSplit

SIX = ("a", "v", "l", "av", "al", "vl")
VALIDATED = {
    ("clean", "every_condition"): lambda _number: ["avl"],
    ("all_noisy", "every_condition"): lambda _number: ["none"],
    ("incomplete", "every_condition"): lambda _number: SIX,
    ("clean", "one_condition"): lambda _number: ["avl"],
    ("all_noisy", "one_condition"): lambda _number: ["none"],
    ("incomplete", "one_condition"): lambda number: [fixed_condition("small", IDS[number])],
}
"""Regime and evaluation -> the conditions under which an utterance is validated (SPEC 3.4, 5.4)."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return fold_data(make_files(tmp_path_factory.mktemp("validation")))


def clean_modalities(condition: str) -> str:
    return "" if condition == "none" else condition


@torch.no_grad()
def plain_logits(system, number: int, condition: str) -> torch.Tensor:
    """Return logits (classes,) of a single utterance without padding."""
    encodings = {}
    for m in system.modalities:
        frames = normalised(m, number, m not in clean_modalities(condition)).astype(np.float32)
        encodings[m] = system.eval().encode(m, Sequences(torch.from_numpy(frames)[None], torch.tensor([len(frames)])))
    return system.fuse(encodings)["logits"][0]


def plain_scores(system, regime: str, evaluation: str) -> dict[str, float]:
    """Return scores from forward passes of single utterances without padding."""
    labels, guesses = [], []
    for number in FOLDS[1]["val"].tolist():
        for condition in VALIDATED[regime, evaluation](number):
            guesses.append(int(plain_logits(system, number, condition).argmax()))
            labels.append(int(LABELS[number]))
    assert len(set(guesses)) > 1
    return {
        "val_WA": reference.accuracy_score(labels, guesses),
        "val_UA": reference.recall_score(labels, guesses, average="macro"),
        "val_F1": reference.f1_score(labels, guesses, average="macro", zero_division=0),
        "val_WF1": reference.f1_score(labels, guesses, average="weighted", zero_division=0),
    }


@pytest.mark.parametrize(("regime", "evaluation"), VALIDATED)
def test_scores_equal_those_of_plain_forward_passes(data, regime, evaluation):
    settings = run_settings(regime=regime, evaluation=evaluation)
    torch.manual_seed(2)
    system = Bare()
    (found,) = OneByOne(lambda: system, data, settings, 1).validate()
    assert found == pytest.approx(plain_scores(system, regime, evaluation))


@pytest.mark.parametrize(("regime", "evaluation"), VALIDATED)
def test_scores_of_stacked_repeats_equal_those_of_plain_forward_passes(data, monkeypatch, regime, evaluation):
    monkeypatch.setattr(stacked, "VALIDATION_BATCH", 4)  # more than one batch of encodings and items
    settings = run_settings(regime=regime, evaluation=evaluation)
    learner = Stacked(Plain, data, settings, [1, 2, 3], {})
    expected = []
    for repeat in learner.repeats:
        system = Plain()
        system.load_state_dict(learner.weights(repeat))
        expected.append(plain_scores(system, regime, evaluation))
    for found, scores in zip(learner.validate(), expected, strict=True):
        assert found == pytest.approx(scores)
    assert len({scores["val_F1"] for scores in expected}) > 1


def plain_loss(system, regime: str) -> float:
    """Return the cross-entropy of single utterances without padding, computed by scikit-learn."""
    labels, probabilities = [], []
    for number in FOLDS[1]["val"].tolist():
        for condition in VALIDATED[regime, "every_condition"](number):
            probabilities.append(plain_logits(system, number, condition).double().softmax(dim=0).numpy())
            labels.append(int(LABELS[number]))
    return reference.log_loss(labels, np.stack(probabilities), labels=[0, 1, 2])


@pytest.mark.parametrize("regime", ["incomplete", "all_noisy", "clean"])
def test_the_validation_loss_equals_the_cross_entropy_of_plain_forward_passes(data, monkeypatch, regime):
    monkeypatch.setattr(stacked, "VALIDATION_BATCH", 4)
    settings = run_settings(regime=regime, selection="loss")
    learner = Stacked(Plain, data, settings, [1, 2], {})
    for repeat, found in zip([1, 2], learner.validate(), strict=True):
        system = Plain()
        system.load_state_dict(learner.weights(repeat))
        expected = plain_scores(system, regime, "every_condition") | {"val_loss": plain_loss(system, regime)}
        assert found == pytest.approx(expected, rel=1e-5)
        (alone,) = OneByOne(Plain, data, settings, repeat).validate()
        assert alone == pytest.approx(expected, rel=1e-5)


def test_there_is_no_validation_loss_if_a_score_selects(data):
    (found,) = OneByOne(Plain, data, run_settings(selection="WA"), 1).validate()
    assert set(found) == {"val_WA", "val_UA", "val_F1", "val_WF1"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_pass_for_all_repeats_equals_separate_passes(data, name):
    stage, regime, options = SYSTEMS[name]
    name = name.split()[0]
    settings, own = run_settings(name, regime), make_teachers(stage, [1, 2])
    learner = Stacked(builder(name, **options), data, settings, [1, 2], own)
    together = learner.validate()
    for repeat, found in zip(learner.repeats, together, strict=True):
        alone = OneByOne(builder(name, **options), data, settings, repeat, own.get(repeat))
        assert found == pytest.approx(alone.validate()[0])


@pytest.mark.parametrize("modalities", ["avl", "l"])
@pytest.mark.parametrize(("regime", "evaluation"), VALIDATED)
def test_every_utterance_is_predicted_under_its_conditions_from_shared_encodings(data, regime, evaluation, modalities):
    split = ValidationSplit(data, run_settings(regime=regime, evaluation=evaluation))
    encoded, classified, flags = [], [], []

    def encode(modality, rows, copies):
        encoded.extend((modality, *pair) for pair in zip(rows.tolist(), copies.tolist(), strict=True))
        # An encoding that identifies its utterance.
        return torch.stack([rows, copies], dim=1)

    def classify(encodings, noisy):
        classified.append(encodings)
        flags.append(noisy)
        return data.labels[encodings["l"][:, 0]]

    predictions = split.predict(tuple(modalities), encode, classify, at_once=4).numpy()
    assert all(len(part["l"]) <= 4 for part in classified)
    encodings, noisy = (
        {m: torch.cat([part[m] for part in parts]) for m in modalities} for parts in (classified, flags)
    )
    assert all(torch.equal(noisy[m], encodings[m][:, 1].bool()) for m in modalities)
    assert set(encodings) == set(modalities)
    expected = sorted(
        (number, condition)
        for number in FOLDS[1]["val"].tolist()
        for condition in VALIDATED[regime, evaluation](number)
    )
    rows = encodings["l"][:, 0].tolist()
    for m in modalities:
        assert encodings[m][:, 0].tolist() == rows
        assert sorted(zip(rows, encodings[m][:, 1].tolist(), strict=True)) == sorted(
            (number, int(m not in clean_modalities(condition))) for number, condition in expected
        )
    if modalities == "avl":
        names = {tuple(int(m not in clean_modalities(c)) for m in DIMS): c for c in (*SIX, "none", "avl")}
        predicted = [names[flags] for flags in zip(*(encodings[m][:, 1].tolist() for m in DIMS), strict=True)]
        assert sorted(zip(rows, predicted, strict=True)) == expected
    np.testing.assert_array_equal(split.labels, LABELS[rows])
    assert split.scores(predictions) == {"val_WA": 1.0, "val_UA": 1.0, "val_F1": 1.0, "val_WF1": 1.0}
    assert len(encoded) == len(set(encoded))
    assert set(encoded) == {
        (m, number, int(m not in clean_modalities(condition))) for number, condition in expected for m in modalities
    }


def test_encodings_with_frames_are_classified_in_parts_of_few_frames(data, monkeypatch):
    monkeypatch.setattr(validation_split, "FRAMES_AT_ONCE", 25)
    split = ValidationSplit(data, run_settings(regime="incomplete"))
    sizes = []

    def encode(modality, rows, copies):
        return Sequences(torch.zeros(len(rows), 6, 2), torch.ones(len(rows), dtype=torch.int64))

    def classify(encodings, noisy):
        sizes.append(len(encodings["a"].values))
        return torch.zeros(sizes[-1])

    assert len(split.predict(("a",), encode, classify, at_once=5)) == len(split.labels)
    assert max(sizes) == 4
    assert sum(sizes) == len(split.labels)
