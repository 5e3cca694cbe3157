"""Experiments with a score target: default plans, and errors before any job."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan.plan import Plan

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared" / "data"
SCORED = {
    "layout": "mosei_pickle",
    "target": "score",
    "generate": {"utterances": 400, "dims": {"a": 8, "v": 6, "l": 10}, "frames": 6},
}
CLASSES = {key: value for key, value in SCORED.items() if key != "target"}


def config(experiment: dict | None = None, dataset: dict | None = None, **others: object) -> dict:
    """A configuration with one experiment on a generated corpus of scores."""
    base = {"datasets": ["opinions"], "systems": ["nmer", "ridge"], "noise": ["gaussian"], "snr_db": [-10]}
    datasets = {"opinions": SCORED | (dataset or {}), "classes": CLASSES}
    return {"experiment": "x", "experiments": {"x": base | (experiment or {})}, "datasets": datasets} | others


def settings_of(plan: Plan, dataset: str = "opinions", **wildcards: str) -> dict:
    named = {"system": "nmer", "regime": "incomplete", "corruption": "gaussian_-10dB", "fold": "1"}
    return json.loads(plan.training_settings(SimpleNamespace(**(named | {"dataset": dataset} | wildcards))))


def test_scores_are_selected_by_mae_and_reported_by_mae_and_correlation():
    plan = Plan(config())
    assert plan.metrics == ("MAE", "Corr")
    assert settings_of(plan)["training"]["selection"] == "MAE"
    assert json.loads(plan.features_settings(SimpleNamespace(dataset="opinions")))["target"] == "score"
    assert plan.display_settings().target == "score"


def test_figures_of_classes_are_omitted_from_experiments_on_scores():
    of_scores, of_classes = Plan(config()), Plan(config({"datasets": ["classes"], "systems": ["nmer"]}))
    assert {"confusion", "recall"} == set(of_classes.figures) - set(of_scores.figures)


def test_settings_of_classes_omit_the_target():
    plan = Plan(config({"datasets": ["classes"], "systems": ["nmer"]}))
    settings = settings_of(plan, "classes")
    assert "training" not in settings
    assert "target" not in json.loads(plan.features_settings(SimpleNamespace(dataset="classes")))
    assert "target" not in json.loads(plan.check_settings(SimpleNamespace(system="nmer")))


def test_the_loss_and_the_selection_of_scores_can_be_chosen():
    training = {"selection": "Corr", "score_loss": "MSE", "pretraining": {"selection": "loss"}}
    plan = Plan(config({"training": training}))
    assert settings_of(plan)["training"] == {"selection": "Corr", "score_loss": "MSE"}
    pretraining = settings_of(plan, stage="two_tower")["training"]
    assert pretraining["selection"] == "loss"


FAULTS = {
    "a metric of scores for classes": (
        {"datasets": ["classes"], "systems": ["nmer"], "metrics": ["Acc-7"]},
        r"experiments\.x\.metrics: metric 'Acc-7' needs real-valued scores, .*'target: classes'",
    ),
    "a metric of classes for scores": ({"metrics": ["MAE", "UA"]}, r"x\.metrics: metric 'UA' needs classes"),
    "a misspelt metric": ({"metrics": ["mae"]}, r"unknown metric 'mae'\."),
    "datasets of both targets": ({"datasets": ["opinions", "classes"]}, r"targets differ \(opinions score, classes cl"),
    "a selection of classes": ({"training": {"selection": "UA"}}, r"x\.training\.selection: 'UA' does not exist .*MAE"),
    "a selection of pretraining": (
        {"training": {"pretraining": {"selection": "F1"}}},
        r"x\.training\.pretraining\.selection: 'F1' does not exist",
    ),
    "a selection of scores for classes": (
        {"datasets": ["classes"], "systems": ["nmer"], "training": {"selection": "MAE"}},
        r"'MAE' does not exist for datasets with 'target: classes'\. Choose from: WA, UA",
    ),
    "a loss of scores for classes": (
        {"datasets": ["classes"], "systems": ["nmer"], "training": {"score_loss": "MSE"}},
        r"x\.training\.score_loss: the datasets have classes",
    ),
    "a selection of a system": (
        {"system_options": {"nmer": {"training": {"selection": "WA"}}}},
        r"x\.system_options\.nmer\.training\.selection: 'WA' does not exist",
    ),
    "an unknown loss": ({"training": {"score_loss": "L2"}}, r"score_loss: 'L2' is not possible. Choose from: L1, MSE"),
    "a reference row for classes": (
        {"systems": ["nmer", "logistic_regression"]},
        r"'logistic_regression' does not predict",
    ),
    "a reference row for scores": (
        {"datasets": ["classes"], "systems": ["nmer", "ridge"]},
        r"'ridge' does not predict the datasets' 'target: classes'.*: majority, logistic_regression",
    ),
    "a figure for classes": ({"figures": ["confusion"]}, r"x\.figures: 'confusion' shows classes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_impossible_combination_ends_in_one_line(fault):
    experiment, message = FAULTS[fault]
    with pytest.raises(ConfigError, match=message) as error:
        Plan(config(experiment))
    assert "\n" not in str(error.value)


DATASET_FAULTS = {
    "a misspelt target": ({"target": "scores"}, r"target: 'scores' is not possible\. Choose from: classes, score"),
    "a target that is not text": ({"target": True}, r"datasets\.opinions\.target: True is not possible"),
    "classes of a score target": ({"classes": ["a", "b"]}, r"opinions.*classes"),
    "a layout without scores": (
        {"layout": "iemocap_mmin"},
        r"opinions\.target: layout 'iemocap_mmin' reads classes only",
    ),
    "a misspelt option": ({"options": {"score": "s.csv"}}, r"unknown key 'score'\. Did you mean 'scores'"),
}


@pytest.mark.parametrize("fault", DATASET_FAULTS)
def test_a_fault_of_a_dataset_ends_in_one_line(fault):
    dataset, message = DATASET_FAULTS[fault]
    with pytest.raises(ConfigError, match=message):
        Plan(config(dataset=dataset))


def test_the_message_on_the_general_selection_names_the_key_that_overrides_it():
    with pytest.raises(ConfigError, match=r"^training\.selection: .*Or override it in experiments\.x\.training"):
        Plan(config(training={"selection": "WA"}))
    Plan(config({"training": {"selection": "MAE"}}, training={"selection": "WA"}))


@pytest.mark.skipif(not REAL.exists(), reason=f"no {REAL}")
def test_the_experiments_on_real_scores_and_classes_have_equally_many_trainings():
    shipped = shipped_config() | {"data": str(REAL)}
    classes, scores = (Plan(shipped | {"experiment": name}) for name in ("mosi", "mosi_score"))
    assert len(scores.trainings()) == len(classes.trainings())
    assert scores.reference_systems == ["median", "ridge"]
    assert {path.name for path in scores.raw_files("mosi_sentiment")} == {"mosi_senti_data.pkl", "scores.csv"}
