"""The plan: which jobs an experiment has, where their files stand, and what each job's settings say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import yaml

from nmer.experiment.plan import Plan

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def make_plan():
    """A plan for an experiment of the shipped configuration, changed by ``change(config)``."""

    def make(experiment: str = "tiny", change=lambda _: None, **top) -> Plan:
        config = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | {"experiment": experiment, **top}
        change(config)
        return Plan(config)

    return make


@pytest.fixture
def paper_data(tmp_path) -> Path:
    """Files where the paper's corpora are expected; their content is never read by the plan."""
    root = tmp_path / "IEMOCAP_features_2021"
    for name in ("A/comparE.h5", "V/denseface.h5", "L/bert_large.h5"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(root / name, "w"):
            pass
    for fold in range(1, 11):
        (root / "target" / str(fold)).mkdir(parents=True)
        np.save(root / "target" / str(fold) / "trn_label.npy", np.zeros(1))
    (tmp_path / "mosei_senti_data.pkl").write_bytes(b"")
    return tmp_path


def wildcards(**values) -> SimpleNamespace:
    return SimpleNamespace(**values)


def test_the_papers_grid_of_men_and_nmer_has_as_many_trainings_as_the_paper_implies(make_plan, paper_data):
    plan = make_plan("paper", data=str(paper_data))
    jobs = plan.trainings()
    # SPEC 6.4 per fold: MEN 1, NMER's stage A 1, NMER under 4 SNRs x 2 kinds, and 4 all-noisy ones for Table 5.
    per_fold = 1 + 1 + 8 + 4
    assert sum(job.dataset == "iemocap" for job in jobs) == 10 * per_fold
    assert sum(job.dataset == "mosei" for job in jobs) == 1 * per_fold
    assert len(set(jobs)) == len(jobs)


def test_every_training_leaves_its_model_in_a_place_of_its_own(make_plan):
    plan = make_plan("demo")
    models = [
        plan.model(job.dataset, job.system, job.regime, job.fold, job.corruption and job.corruption.name)
        for job in plan.trainings()
    ]
    assert len(set(models)) == len(models)


def test_paths_are_those_that_the_contract_names(make_plan):
    plan = make_plan()
    root = Path("results/tiny")
    clean = plan.model("tiny_mosei", "men", "clean", 1)
    assert clean == root / "runs/tiny_mosei/men/clean/fold1/model.safetensors"
    noisy = plan.model("tiny_mosei", "nmer", "six", 1, "gaussian_-10dB")
    assert noisy == root / "runs/tiny_mosei/nmer/six/gaussian_-10dB/fold1/model.safetensors"
    teacher = plan.teacher(wildcards(dataset="tiny_mosei", system="nmer", fold="1"))
    assert teacher == [root / "teachers/tiny_mosei/two_tower/fold1/model.safetensors"]
    assert root / "scores/tiny_mosei/men/clean/gaussian_-10dB.csv" in plan.scores()
    assert root / "scores/tiny_mosei/nmer/all/gaussian_-10dB.csv" in plan.scores()


def test_the_first_folds_of_a_corpus_are_run_and_a_fixed_split_has_one(make_plan):
    plan = make_plan("tiny", lambda c: c["experiments"]["tiny"].update(folds=3))
    assert plan.folds("tiny_iemocap") == [1, 2, 3]
    assert plan.folds("tiny_mosei") == [1]
    plan = make_plan("tiny", lambda c: c["experiments"]["tiny"].pop("folds"))
    assert plan.folds("tiny_iemocap") == list(range(1, 11))


def test_levels_may_be_given_per_noise_kind(make_plan):
    plan = make_plan("demo")
    assert sorted(plan.corruptions) == ["gaussian_-10dB", "gaussian_-40dB", "impulse_-10dB"]


def test_the_all_noisy_regime_runs_under_the_reference_noise_and_only_for_table_5(make_plan):
    levels = {(regime, c.name) for _, _, regime, c in make_plan("demo").evaluations() if regime == "all"}
    assert levels == {("all", "gaussian_-10dB"), ("all", "gaussian_-40dB")}
    plan = make_plan("demo", lambda c: c["experiments"]["demo"].update(tables=[1, 2]))
    assert all(regime != "all" for _, _, regime, _ in plan.evaluations())


TRAIN = wildcards(dataset="tiny_mosei", system="nmer", regime="six", corruption="gaussian_-10dB", fold="1")


def test_settings_leave_out_what_stands_at_its_default(make_plan):
    plan = make_plan("tiny", lambda c: c["training"].update(learning_rate=0.0002, clip_norm=2.0))
    settings = json.loads(plan.training_settings(TRAIN))
    assert settings == {
        "dataset": "tiny_mosei",
        "system": "nmer",
        "regime": "six",
        "noise": "gaussian",
        "snr_db": -10,
        "fold": 1,
        "repeats": 2,
        "evaluation": "one_condition",
        "options": {"layers": 1, "feed_forward": 16},
        "training": {"constant_epochs": 1, "decay_epochs": 1, "clip_norm": 2.0},
    }


def test_an_experiments_options_win_over_the_general_ones(make_plan):
    def change(config):
        config["systems"] = {"nmer": {"layers": 4, "heads": 8}}

    options = json.loads(make_plan("tiny", change).training_settings(TRAIN))["options"]
    assert options == {"layers": 1, "feed_forward": 16, "heads": 8}


def test_pretraining_is_shorter_unless_told_otherwise(make_plan, tmp_path):
    stage = wildcards(dataset="tiny_mosei", stage="two_tower", fold="1")
    plan = make_plan("tiny", lambda c: c["experiments"]["tiny"].update(training={}))
    assert json.loads(plan.training_settings(stage))["training"] == {
        "constant_epochs": 20,
        "decay_epochs": 20,
        "clip_norm": 0.5,
    }
    plan = make_plan("tiny")
    assert json.loads(plan.training_settings(stage))["training"] == {
        "constant_epochs": 1,
        "decay_epochs": 1,
        "clip_norm": 0.5,
    }


def test_noise_settings_do_not_depend_on_the_experiment(make_plan):
    corruption = wildcards(dataset="tiny_mosei", corruption="gaussian_-10dB")
    other = make_plan("tiny", lambda c: c["experiments"]["tiny"].update(repeats=9, systems=["men"]))
    assert make_plan().corruption_settings(corruption) == other.corruption_settings(corruption)
    assert make_plan().calibration_settings(corruption) == other.calibration_settings(corruption)
    # The same eps serves every SNR, so the level is no part of the settings of the noise.
    assert "snr_db" not in json.loads(make_plan().corruption_settings(corruption))


def test_one_systems_options_are_no_part_of_anothers_settings(make_plan):
    men = wildcards(dataset="tiny_mosei", system="men", regime="clean", fold="1")
    change = {"nmer": {"invariance_weight": 3.0}}
    other = make_plan("tiny", lambda c: c.update(systems=change))
    assert make_plan().training_settings(men) == other.training_settings(men)
    assert make_plan().training_settings(TRAIN) != other.training_settings(TRAIN)


def test_a_users_system_is_planned_from_its_file_without_importing_it(make_plan, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "raise RuntimeError('imported')\n"
        "@system('mine', pretraining='men', regimes=('six',), options={'width': 8})\n"
        "class Mine: pass\n"
    )

    def change(config):
        config["systems"] = {"mine": {"file": str(file), "width": 16}}
        config["experiments"]["tiny"]["systems"] = ["mine"]

    plan = make_plan("tiny", change)
    mine = wildcards(dataset="tiny_mosei", system="mine", regime="six", corruption="gaussian_-10dB", fold="1")
    settings = json.loads(plan.training_settings(mine))
    assert (settings["file"], settings["options"]) == (str(file), {"width": 16})
    assert plan.teacher(mine) == [Path("results/tiny/runs/tiny_mosei/men/clean/fold1/model.safetensors")]


def test_models_of_runs_can_be_given_up_but_clean_ones_stay(make_plan):
    assert make_plan().keeps_models
    assert not make_plan("tiny", lambda c: c["training"].update(keep_models=False)).keeps_models

    def keep_in_this_experiment(config):
        config["training"]["keep_models"] = False
        config["experiments"]["tiny"]["training"]["keep_models"] = True

    assert make_plan("tiny", keep_in_this_experiment).keeps_models
