"""Conditions, settings and errors that follow from a dataset's modalities (SPEC 13)."""

from __future__ import annotations

import copy
import json
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from shipped import shipped_config

from nmer import names
from nmer.errors import ConfigError, DataError
from nmer.plan import conditions
from nmer.plan.plan import Plan
from nmer.report_settings import ReportSettings

SETS = [chosen for size in (1, 2, 3) for chosen in combinations("avl", size)]
IDS = [f"u{number}" for number in range(400)]


@pytest.fixture
def config() -> dict:
    """The default configuration with ``tiny`` on a synthetic corpus of a and l."""
    config = shipped_config() | {"experiment": "tiny"}
    config["experiments"]["tiny"]["datasets"] = ["tiny_iemocap"]
    generate = {"utterances": 120, "dims": {"a": 8, "l": 10}, "frames": {"a": 6, "l": 6}}
    config["datasets"]["tiny_iemocap"].update(modalities=["l", "a"], generate=generate)
    return config


@pytest.mark.parametrize("modalities", SETS)
def test_incomplete_conditions_are_the_proper_subsets(modalities):
    found = names.incomplete_conditions(modalities)
    subsets = {"".join(part) for size in range(1, len(modalities)) for part in combinations(modalities, size)}
    assert set(found) == subsets
    assert list(found) == [name for name in ("a", "v", "l", "av", "al", "vl") if name in subsets]
    assert names.conditions(modalities) == (*found, "none", "".join(modalities))
    for condition in names.conditions(modalities):
        noisy = names.noisy_modalities(condition, modalities)
        assert set(noisy) == set(modalities) - set("" if condition == "none" else condition)
        flags = conditions.noisy_flags(condition, modalities)
        assert [m for m, flag in zip(modalities, flags, strict=True) if flag] == list(noisy)


@pytest.mark.parametrize("modalities", SETS[3:])
def test_training_and_validation_use_the_incomplete_conditions_of_the_corpus(modalities):
    possible = names.incomplete_conditions(modalities)
    flags = conditions.training_flags("incomplete", 600, "d", 1, 1, 0, modalities)
    assert flags.shape == (600, len(modalities))
    rows = {tuple(conditions.noisy_flags(name, modalities).tolist()) for name in possible}
    assert {tuple(row) for row in flags.tolist()} == rows
    for regime, noisy in (("clean", False), ("all_noisy", True)):
        assert (conditions.training_flags(regime, 5, "d", 1, 1, 0, modalities) == noisy).all()
    items = conditions.validation_items("incomplete", "one_condition", "d", IDS, modalities)
    assert tuple(items) == possible
    assert sorted(np.concatenate(list(items.values())).tolist()) == list(range(len(IDS)))
    assert set(conditions.validation_items("clean", "one_condition", "d", IDS, modalities)) == {"".join(modalities)}


@pytest.mark.parametrize("evaluation", ["every_condition", "one_condition"])
def test_one_modality_is_tested_noisy_and_clean(evaluation):
    tested = conditions.tested_conditions("men", True, ("l",), ())
    assert tested == ("none", "l")
    items = conditions.test_items(tested, evaluation, "d", IDS, ("l",))
    assert {name: len(found) for name, found in items.items()} == {"none": 400, "l": 400}


def test_settings_omit_the_default_three_modalities(config):
    config["datasets"]["tiny_iemocap"].pop("modalities")
    config["datasets"]["tiny_iemocap"]["generate"] = {"utterances": 120}
    without = Plan(config)
    config["datasets"]["tiny_iemocap"]["modalities"] = ["l", "v", "a"]
    declared = Plan(config)
    w = SimpleNamespace(dataset="tiny_iemocap")
    for settings in ("features_settings", "corpus_settings"):
        assert getattr(declared, settings)(w) == getattr(without, settings)(w)
        assert "modalities" not in json.loads(getattr(without, settings)(w))


def test_fewer_modalities_reach_generator_features_and_tables_in_the_same_order(config):
    plan, w = Plan(config), SimpleNamespace(dataset="tiny_iemocap")
    assert json.loads(plan.corpus_settings(w))["modalities"] == ["a", "l"]
    assert json.loads(plan.features_settings(w))["modalities"] == ["a", "l"]
    tables = ReportSettings.from_mapping(json.loads(plan.tables_settings()))
    assert tables.datasets["tiny_iemocap"].modalities == ("a", "l")


def dataset(config: dict) -> dict:
    return config["datasets"]["tiny_iemocap"]


def tiny(config: dict) -> dict:
    return config["experiments"]["tiny"]


def one_modality(config: dict, **experiment: object) -> None:
    dataset(config).update(modalities=["l"], generate={"utterances": 120, "dims": {"l": 4}, "frames": {"l": 4}})
    tiny(config).update(experiment)


FAULTS = {
    "a misspelt key": (
        lambda c: dataset(c).update(modalitys=["a"]),
        "datasets.tiny_iemocap: unknown key 'modalitys'. Did you mean 'modalities'?",
    ),
    "an unknown modality": (
        lambda c: dataset(c).update(modalities=["a", "text"]),
        "datasets.tiny_iemocap.modalities.1: 'text' is not possible. Choose from: a, v, l.",
    ),
    "no modality": (lambda c: dataset(c).update(modalities=[]), "datasets.tiny_iemocap.modalities: []"),
    "a modality twice": (lambda c: dataset(c).update(modalities=["a", "a"]), "datasets.tiny_iemocap.modalities: "),
    "text": (
        lambda c: dataset(c).update(modalities="al"),
        "datasets.tiny_iemocap.modalities: 'al' is not of type array",
    ),
    "the width of an absent modality": (
        lambda c: dataset(c).update(dims={"a": 8, "v": 3}),
        "datasets.tiny_iemocap.dims: names v, which is not among the dataset's modalities (a, l).",
    ),
    "the normalisation of an absent modality": (
        lambda c: dataset(c).update(standardize=["v"]),
        "datasets.tiny_iemocap.standardize: names v, which is not among the dataset's modalities (a, l).",
    ),
    "a generator with another modality": (
        lambda c: dataset(c)["generate"].update(dims={"a": 1, "v": 1, "l": 1}),
        "datasets.tiny_iemocap: Key 'generate.dims' must give a and l each",
    ),
    "the uni-modal system of an absent modality": (
        lambda c: tiny(c).update(systems=["men", "unimodal_v"]),
        "experiments.tiny.systems: 'unimodal_v' cannot be trained on dataset 'tiny_iemocap' (modalities a, l): it "
        "needs the modality v. Remove it, or list other datasets in experiments.tiny.unimodal.datasets.",
    ),
    "incomplete conditions of one modality": (
        lambda c: one_modality(c, systems=["men", "nmer"]),
        "experiments.tiny.systems: 'nmer' cannot be trained on dataset 'tiny_iemocap' (modalities l): it needs at "
        "least 2 modalities. Remove the system or the dataset.",
    ),
    "heads that do not divide the token": (
        lambda c: tiny(c)["system_options"]["nmer"].update(heads=24),
        "'nmer' cannot be trained on dataset 'tiny_iemocap' (modalities a, l): its heads, 24, must divide 256 times "
        "the number of modalities, 512.",
    ),
    "the hierarchy of MCTN without video": (
        lambda c: (tiny(c).update(systems=["mctn"]), c["systems"].update(mctn={"form": "hier"})),
        "it needs the modality v with form 'hier'.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_one_line_before_any_job(config, fault):
    Plan(copy.deepcopy(config))
    change, message = FAULTS[fault]
    change(config)
    with pytest.raises(ConfigError) as error:
        Plan(config)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_custom_system_for_incomplete_conditions_is_refused_for_one_modality(config, tmp_path):
    (tmp_path / "mine.py").write_text('@system("mine")\nclass Mine: ...\n')
    config["systems"]["mine"] = {"file": str(tmp_path / "mine.py")}
    one_modality(config, systems=["mine"], system_options={})
    with pytest.raises(ConfigError, match="trained on incomplete conditions, which one modality does not have"):
        Plan(config)


def test_systems_that_read_one_modality_run_on_it(config):
    one_modality(config, systems=["men", "unimodal_l"])
    jobs = {(job.system, job.regime) for job in Plan(config).trainings()}
    assert jobs == {("men", "clean"), ("unimodal_l", "all_noisy")}


def test_reference_rows_need_no_incomplete_conditions(config):
    tiny(config)["systems"] = ["men", "majority", "logistic_regression"]
    two = {(system, regime) for _, system, regime, _ in Plan(config).evaluations() if system != "men"}
    assert two == {
        (name, regime) for name in ("majority", "logistic_regression") for regime in ("incomplete", "all_noisy")
    }
    one_modality(config)
    one = {(system, regime) for _, system, regime, _ in Plan(config).evaluations() if system != "men"}
    assert one == {("majority", "all_noisy"), ("logistic_regression", "all_noisy")}


def test_a_corpus_with_fewer_files_than_declared_names_the_key_before_any_job(config, tmp_path):
    for modality in "al":
        (tmp_path / "mine" / modality).mkdir(parents=True)
        (tmp_path / "mine" / modality / "u1.npy").write_bytes(b"x")
    (tmp_path / "mine" / "utterances.csv").write_text("id,label\nu1,x\n")
    config["data"] = str(tmp_path)
    config["datasets"]["mine"] = {"layout": "npy_folder", "path": "mine"}
    tiny(config)["datasets"] = ["mine"]
    with pytest.raises(DataError) as error:
        Plan(config)
    remedy = "no such file. Modalities found: a, l. Complete the corpus, or set datasets.mine.modalities to [a, l]."
    assert remedy in str(error.value)
    config["datasets"]["mine"]["modalities"] = ["a", "l"]
    Plan(config)
