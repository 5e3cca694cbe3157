"""Train once, test everywhere in the plan: trainings, evaluations, paths, settings and errors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan.jobs import jobs
from nmer.plan.plan import Plan

DATASET = "tiny_iemocap"


def make_plan(noise_section: dict | None = None, /, **experiment: object) -> Plan:
    config = shipped_config() | {"experiment": "tiny"}
    config["noise"] |= noise_section or {}
    config["experiments"]["tiny"] |= {"datasets": [DATASET], "snr_db": [-10, -20]} | experiment
    return Plan(config)


def places(plan: Plan, paths: list[Path], below: str) -> set[str]:
    """Return the folders of NMER's files in the regime ``incomplete``, relative to its own."""
    folder = plan.folder / below / DATASET / "nmer" / "incomplete"
    return {str(path.relative_to(folder)) for path in paths if path.is_relative_to(folder)}


def settings(plan: Plan, trained: str) -> dict:
    w = SimpleNamespace(dataset=DATASET, system="nmer", regime="incomplete", fold=1, trained=trained)
    return json.loads(plan.training_settings(w))


def test_own_is_the_default_and_changes_nothing():
    plain, own = make_plan(), make_plan(train_at="own")
    assert own.trainings() == plain.trainings()
    assert own.scores() == plain.scores() == plain.shown_scores()
    assert not plain.elsewhere()
    assert not {job.rule for job in jobs(plain)} & {"train_elsewhere", "evaluate_elsewhere", "levels_table"}


def test_every_training_is_tested_at_every_level_and_tables_show_its_training_level():
    plan = make_plan(train_at=["mixed", "clean", -10], test_at=[-10, -15.5], tables=[2])
    trained = [plan.trained(training) for training in plan.trainings()]
    assert places(plan, trained, "runs") == {
        f"trained_{name}/fold1/model.safetensors" for name in ("mixed", "clean", "gaussian_-10dB")
    }
    assert places(plan, plan.scores(), "scores") == {
        f"trained_{name}/gaussian_{level}dB.csv"
        for name in ("mixed", "clean", "gaussian_-10dB")
        for level in ("-10", "-15.5")
    }
    assert places(plan, plan.shown_scores(), "scores") == {"trained_gaussian_-10dB/gaussian_-10dB.csv"}
    assert plan.snr_db == {"gaussian": [-10]}
    # MEN, trained on clean data, has one training and is tested at the same levels.
    assert {path.name for path in plan.scores() if "/men/clean/" in str(path)} == {
        "gaussian_-10dB.csv",
        "gaussian_-15.5dB.csv",
    }
    assert plan.corruptions_of(DATASET) == ["gaussian_-10dB", "gaussian_-15.5dB", "gaussian_-20dB"]


def test_settings_contain_the_training_levels():
    plan, own = make_plan(train_at=["mixed", "clean", -20]), make_plan()
    mixed, clean, level = (settings(plan, name) for name in ("mixed", "clean", "gaussian_-20dB"))
    assert mixed["mixed"] == ["gaussian_-10dB", "gaussian_-20dB"]
    assert (mixed["trained_at"], clean["trained_at"]) == ("mixed", "clean")
    assert "noise" not in mixed
    assert "noise" not in clean
    w = SimpleNamespace(dataset=DATASET, system="nmer", regime="incomplete", fold=1, corruption="gaussian_-20dB")
    assert level == json.loads(own.training_settings(w)), "the same settings as without test levels"
    read = {name: len(plan.training_noise(SimpleNamespace(dataset=DATASET, trained=name))) for name in plan.trained_at}
    assert read == {"mixed": 2, "clean": 0, "gaussian_-20dB": 1}
    tested = SimpleNamespace(**vars(w) | {"trained": "mixed", "corruption": "gaussian_-10dB"})
    assert json.loads(plan.evaluation_settings(tested))["trained_at"] == "mixed"


def test_a_single_training_is_reported_at_all_levels_and_test_levels_do_not_change_training_levels():
    assert make_plan(train_at="mixed", test_at=[-5, -15]).snr_db == {"gaussian": [-5, -15]}
    assert list(make_plan(test_at=[-10, -15]).trained_at) == ["gaussian_-10dB", "gaussian_-20dB"]


def test_regimes_can_be_selected():
    plan = make_plan(regimes=["all_noisy"], tables=[2])
    assert {(training.system, training.regime) for training in plan.trainings()} == {
        ("two_tower", "clean"),
        ("men", "clean"),
        ("nmer", "all_noisy"),
    }


FAULTS = {
    "a kind that is not run": ({"test_at": {"impulse": [-10]}}, "tiny.test_at: 'impulse' is not in the experiment's"),
    "a misspelt word": ({"train_at": "mixt"}, "experiments.tiny.train_at: 'mixt'"),
    "a rate of a kind with an SNR": ({"test_at": {"gaussian": ["half"]}}, "experiments.tiny.test_at"),
    "test levels without a training level": (
        {"train_at": [-10, -20], "test_at": [-5]},
        "experiments.tiny.test_at: tables show each level of train_at at its own test level",
    ),
    "a reference row": (
        {"train_at": "mixed", "systems": ["nmer", "majority"]},
        "experiments.tiny.systems: 'majority' is always trained at its test level",
    ),
    "SNRs without a kind that has one": (
        {"noise": ["zero"], "snr_db": [], "test_at": [-5]},
        "experiments.tiny",
    ),
    "an unknown regime": ({"regimes": ["all_nosy"]}, "experiments.tiny.regimes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_impossible_studies_are_refused_with_their_key(fault):
    keys, message = FAULTS[fault]
    with pytest.raises(ConfigError) as raised:
        make_plan(**keys)
    assert message in str(raised.value)


def test_mixed_levels_are_not_drawn_fresh():
    with pytest.raises(ConfigError, match=r"tiny\.train_at: mixed levels do not support fresh noise"):
        make_plan({"train_draws": "fresh"}, train_at="mixed")
