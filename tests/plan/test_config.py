"""A fault in the configuration is reported in one sentence that names the key."""

from __future__ import annotations

import copy

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError, DataError
from nmer.plan.config import check_config


@pytest.fixture
def config() -> dict:
    """The shipped configuration."""
    return shipped_config()


@pytest.mark.parametrize("experiment", ["demo", "tiny"])
def test_the_default_experiments_on_synthetic_corpora_are_valid(config, experiment):
    check_config(config | {"experiment": experiment})


FAULTS = {
    "a misspelt section": (
        lambda c: c.update(trainings={}),
        "config: unknown key 'trainings'. Did you mean 'training'?",
    ),
    "a misspelt key": (
        lambda c: c["training"].update(learning_rat=0.1),
        "training: unknown key 'learning_rat'. Did you mean 'learning_rate'?",
    ),
    "a misspelt key of an experiment": (
        lambda c: c["experiments"]["tiny"].update(repeat=2),
        "experiments.tiny: unknown key 'repeat'. Did you mean 'repeats'?",
    ),
    "a number that YAML reads as text": (
        lambda c: c["training"].update(learning_rate="1e-3"),
        "training.learning_rate: '1e-3' is text to YAML, not a number",
    ),
    "a wrong type": (
        lambda c: c["training"].update(batch_size=[1]),
        "training.batch_size: [1] is not of type integer",
    ),
    "text instead of a whole number": (
        lambda c: c["experiments"]["tiny"].update(repeats="3"),
        "experiments.tiny.repeats: '3' is text to YAML, not an integer. Write it without quotes, like 10.",
    ),
    "a value of none of the allowed types": (
        lambda c: c["experiments"]["tiny"].update(train_at=-10),
        "experiments.tiny.train_at: -10 is not possible. Give 'own', 'mixed', 'clean', a list or a mapping.",
    ),
    "a number of folds that is not whole": (
        lambda c: c["experiments"]["tiny"].update(folds=1.5),
        "experiments.tiny.folds: 1.5 is not possible. Give 'all', a whole number or a list.",
    ),
    "a missing key": (
        lambda c: c["experiments"]["tiny"].update(sweep={"system": "nmer"}),
        "experiments.tiny.sweep: missing key 'over'. Add it.",
    ),
    "a selection by an unknown score": (
        lambda c: c["training"].update(selection="accuracy"),
        "training.selection: 'accuracy' is not possible. Choose from: UA, WA, F1, WF1, MAE, Corr, loss",
    ),
    "a misspelt selection of pretraining": (
        lambda c: c["training"].update(pretraining={"selecton": "loss"}),
        "training.pretraining: unknown key 'selecton'. Did you mean 'selection'?",
    ),
    "a negative patience": (
        lambda c: c["training"].update(patience=-1),
        "training.patience: -1 is less than the minimum of 0",
    ),
    "a fractional patience": (
        lambda c: c["experiments"]["tiny"].update(training={"patience": 0.5}),
        "experiments.tiny.training.patience: 0.5 is not of type integer",
    ),
    "an impossible choice": (
        lambda c: c["noise"].update(calibration={"mode": "nearest"}),
        "noise.calibration.mode: 'nearest' is not possible. Choose from: integer_T, exact_abar",
    ),
    "a value out of range": (
        lambda c: c["experiments"]["tiny"].update(repeats=0),
        "experiments.tiny.repeats: 0 is less",
    ),
    "a level for a noise without an SNR": (
        lambda c: c["experiments"]["tiny"].update(noise=["gaussian", "zero"], snr_db={"gaussian": [-10], "zero": [0]}),
        "experiments.tiny.snr_db: noise kind 'zero' has no SNR. Remove its list.",
    ),
    "levels of the uni-modality benchmark without a noise that has an SNR": (
        lambda c: c["experiments"]["tiny"].update(
            noise=["zero"], snr_db={}, systems=["unimodal_a"], unimodal={"snr_db": [0]}
        ),
        "experiments.tiny.unimodal.snr_db: no noise kind of the experiment has an SNR. Remove the list.",
    ),
    "an unknown kind behind a noise": (
        lambda c: c["noise"]["kinds"].update(lose={"kind": "drop_frame"}),
        "noise.kinds.lose: Unknown noise kind 'drop_frame'. Did you mean 'drop_frames'?",
    ),
    "an option beyond its bounds": (
        lambda c: c["noise"]["kinds"].update(lose={"kind": "drop_frames", "share": 1.5}),
        "noise.kinds.lose.share: 1.5 is too large. Give at most 1.0.",
    ),
    "an unknown schedule": (
        lambda c: c["noise"].update(schedule="cosine"),
        "noise.schedule: 'cosine' is not possible. Choose from: linear, scaled_linear",
    ),
    "an unknown number of draws": (lambda c: c["noise"].update(train_draws="many"), "noise.train_draws: 'many'"),
    "an unknown experiment": (lambda c: c.update(experiment="tini"), "experiment: unknown name 'tini'"),
    "an unknown dataset": (
        lambda c: c["experiments"]["tiny"].update(datasets=["tiny_mosi"]),
        "experiments.tiny.datasets: unknown name 'tiny_mosi' (not among datasets). Did you mean 'tiny_mosei'?",
    ),
    "an unknown system": (
        lambda c: c["experiments"]["tiny"].update(systems=["nmerr"]),
        "experiments.tiny.systems: Unknown system 'nmerr'. Did you mean 'nmer'?",
    ),
    "a pretraining listed as a system": (
        lambda c: c["experiments"]["tiny"].update(systems=["two_tower"]),
        "experiments.tiny.systems: 'two_tower' is a pretraining stage, not a system",
    ),
    "an unknown option of a system": (
        lambda c: c.update(systems={"nmer": {"layer": 3}}),
        "systems.nmer: unknown key 'layer'. Did you mean 'layers'?",
    ),
    "an option of the wrong type": (
        lambda c: c["experiments"]["tiny"]["system_options"].update(nmer={"layers": "two"}),
        "experiments.tiny.system_options.nmer.layers: 'two' is not like its default 5",
    ),
    "an unknown choice of an option": (
        lambda c: c.update(systems={"mctn": {"form": "rign"}}),
        "systems.mctn.form: 'rign' is not possible. Choose from: ring, hier.",
    ),
    "a weight that is not a number": (
        lambda c: c.update(systems={"nmer": {"invariance_weight": float("nan")}}),
        "systems.nmer.invariance_weight: nan is too small. Give at least 0.0.",
    ),
    "a dropout above one": (
        lambda c: c.update(systems={"nmer": {"transformer_dropout": 1.5}}),
        "systems.nmer.transformer_dropout: 1.5 is too large. Give at most 0.99.",
    ),
    "heads that do not divide the width": (
        lambda c: c.update(systems={"nmer": {"heads": 7}}),
        "systems.nmer.heads: 7 is not possible. Choose from: 1, 2, 3,",
    ),
    "less than one step": (
        lambda c: c.update(systems={"mctn": {"steps": 0}}),
        "systems.mctn.steps: 0 is too small. Give at least 1.",
    ),
    "an unknown form of the pretraining": (
        lambda c: c["experiments"]["tiny"].update(system_options={"nmer": {"invariance": "towers"}}),
        "experiments.tiny.system_options.nmer.invariance: 'towers' is not possible. Choose from: two_tower, stacked.",
    ),
    "a uni-modal dataset that is not run": (
        lambda c: c["experiments"]["tiny"].update(unimodal={"datasets": ["tiny_mosie"]}),
        "experiments.tiny.unimodal.datasets: 'tiny_mosie' is not in the experiment's datasets. Did you mean",
    ),
    "a noise of Figure 3 that is not run": (
        lambda c: c["experiments"]["tiny"].update(embedding={"noise": ["gausian"]}),
        "experiments.tiny.embedding.noise: 'gausian' is not in the experiment's noise. Did you mean",
    ),
    "options of an unknown system": (lambda c: c.update(systems={"menn": {}}), "systems: Unknown system 'menn'"),
    "an unknown noise kind": (
        lambda c: c["experiments"]["tiny"].update(noise=["gausian"]),
        "experiments.tiny.noise: Unknown noise kind 'gausian'. Did you mean 'gaussian'?",
    ),
    "an unknown option of a noise kind": (
        lambda c: c["noise"]["kinds"]["impulse"].update(rate=0.1),
        "noise.kinds.impulse: unknown key 'rate'",
    ),
    "no levels for a noise kind": (
        lambda c: c["experiments"]["tiny"].update(snr_db={"impulse": [-10]}),
        "experiments.tiny.snr_db: no list for noise kind 'gaussian'",
    ),
    "an unknown layout": (
        lambda c: c["datasets"]["tiny_mosei"].update(layout="mosei_pickel"),
        "datasets.tiny_mosei: Unknown layout 'mosei_pickel'. Did you mean 'mosei_pickle'?",
    ),
    "an unknown setting of a generated corpus": (
        lambda c: c["datasets"]["tiny_mosei"]["generate"].update(utterance=9),
        "datasets.tiny_mosei: ",
    ),
    "a decreasing schedule": (lambda c: c["noise"].update(beta_start=0.2), "noise.beta_start is larger than"),
    "the key file in system_options": (
        lambda c: c["experiments"]["tiny"]["system_options"].update(nmer={"file": "mine.py"}),
        "experiments.tiny.system_options.nmer: 'file' belongs in systems.nmer",
    ),
    "neither files nor a generator": (
        lambda c: c["datasets"]["tiny_mosei"].pop("generate"),
        "datasets.tiny_mosei: set exactly one of 'path'",
    ),
    "a missing user file": (
        lambda c: (c.update(systems={"mine": {"file": "mine.py"}}), c["experiments"]["tiny"].update(systems=["mine"])),
        "experiments.tiny.systems: mine.py: no such file. Name the Python file that declares the system 'mine'.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_key(config, fault):
    change, message = FAULTS[fault]
    config["experiment"] = "tiny"
    change(config)
    with pytest.raises(ConfigError) as raised:
        check_config(config)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_corpus_is_named_with_its_dataset_and_a_remedy(config, tmp_path):
    config |= {"experiment": "mosi", "data": str(tmp_path)}
    with pytest.raises(DataError, match=r"datasets\.mosi: .*mosi_senti_data\.pkl: no such file.*--config data="):
        check_config(config)


def test_levels_that_no_uni_modal_system_reads_are_accepted(config):
    config["experiments"]["tiny"].update(noise=["zero"], snr_db={}, systems=["men"], unimodal={"snr_db": [0]})
    check_config(config | {"experiment": "tiny"})


def test_a_faulty_experiment_does_not_stop_another(config):
    other = copy.deepcopy(config) | {"experiment": "tiny", "data": "nowhere"}
    other["experiments"]["mosi"]["datasets"] = ["mosi"]
    check_config(other)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ('regimes=("incomplet",)', "'mine' has the unknown regime 'incomplet'. Did you mean 'incomplete'?"),
        ('pretraining="two_towr"', "Did you mean 'two_tower'?"),
        ('ablation_of="nmr"', "Did you mean 'nmer'?"),
        ('ablation_of="mine"', "'mine' is an ablation of itself"),
    ],
)
def test_declarations_of_a_custom_system_are_checked_before_any_job(config, tmp_path, declaration, message):
    file = tmp_path / "mine.py"
    file.write_text(f"@system('mine', {declaration})\nclass Mine: pass\n")
    config |= {"experiment": "tiny", "systems": {"mine": {"file": str(file)}}}
    config["experiments"]["tiny"]["systems"] = ["mine"]
    with pytest.raises(ConfigError) as raised:
        check_config(config)
    assert str(file) in str(raised.value)
    assert message in str(raised.value)


def test_the_choices_of_an_option_can_be_numbers(config, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("@system('mine')\nclass Mine:\n    k: Literal[1, 2] = 1\n")
    config |= {"experiment": "tiny", "systems": {"mine": {"file": str(file), "k": 3}}}
    with pytest.raises(ConfigError, match=r"systems\.mine\.k: 3 is not possible\. Choose from: 1, 2\."):
        check_config(config)
