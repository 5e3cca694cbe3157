"""Values of a configuration are normalised, and unsupported values are refused."""

from __future__ import annotations

import datetime
from argparse import Namespace
from pathlib import Path

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan.config import check_config
from nmer.plan.loading import plan_of, read_config
from nmer.plan.plan import Plan
from nmer.plan.values import check_keys

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def config() -> dict:
    return shipped_config() | {"experiment": "tiny"}


@pytest.fixture
def tiny(config) -> dict:
    return config["experiments"]["tiny"]


def test_integers_can_be_written_with_a_decimal_point(config, tiny):
    expected = Plan(config)
    tiny.update(repeats=2.0, folds=1.0, snr_db=[-10.0], tables=[1.0, 2.0, 3.0, 4.0, 5.0])
    tiny["training"]["constant_epochs"] = 1.0
    config["compute"]["threads"] = 1.0
    config["training"]["batch_size"] = 128.0
    plan = Plan(config)
    assert plan.scores() == expected.scores()
    assert plan.tables_settings(4) == expected.tables_settings(4)
    assert [type(value) for value in (plan.repeats, plan.threads, *plan.tables)] == [int] * 7
    assert plan.trainings() == expected.trainings()


@pytest.mark.parametrize(
    ("entry", "section", "expected"),
    [
        ("training={learning_rate: 1e-3, batch_size: 16}", "training", {"learning_rate": 1e-3, "batch_size": 16}),
        ("training={keep_models: false, pretraining: {dropout: .5}}", "training", {"keep_models": False}),
        ("systems={nmer: {layers: 2, invariance_weight: 0.5e+1}}", "systems", {"nmer": {"invariance_weight": 5.0}}),
        ("noise={kinds: {impulse: {frequency: 0.5}}, fixed_chain: 100}", "noise", {"fixed_chain": 100}),
        ("experiments={tiny: {snr_db: [-10, -20], folds: all, repeats: 3}}", "experiments", {"tiny": {"repeats": 3}}),
        ("datasets={mosi: {path: 2024/x.pkl, dims: {a: 5}}}", "datasets", {"mosi": {"path": "2024/x.pkl"}}),
    ],
)
def test_numbers_inside_a_mapping_of_the_command_line_are_numbers(config, entry, section, expected):
    def contains(found: dict, wanted: dict) -> bool:
        return all(contains(found[k], v) if isinstance(v, dict) else found[k] == v for k, v in wanted.items())

    overrides = read_config([], [entry])
    plan = Plan(read_config([REPOSITORY / "config.yaml"], ["experiment=tiny", entry]), overrides)
    assert contains(plan.config[section], expected)


def test_text_of_a_file_that_looks_like_a_number_is_still_refused(config):
    config["training"]["learning_rate"] = "1e-3"
    with pytest.raises(ConfigError, match="is text to YAML"):
        Plan(config, {"experiment": "tiny"})


def test_the_status_reads_the_command_line_as_the_workflow_does(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    entries = ["experiment=tiny", "experiments={tiny: {repeats: 3}}"]
    assert plan_of(Namespace(config=entries, configfile=[])).repeats == 3


def test_a_home_folder_can_be_written_with_a_tilde(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("@noise_kind('mine')\ndef mine(shape, generator): ...\n")
    config["data"] = "~/corpora"
    config["noise"]["kinds"]["mine"] = {"file": "~/mine.py"}
    config["experiments"]["tiny"]["noise"] = ["mine"]
    plan = Plan(config)
    assert plan.data == f"{tmp_path}/corpora"
    assert plan.config["noise"]["kinds"]["mine"]["file"] == f"{tmp_path}/mine.py"
    assert config["data"] == "~/corpora", "the argument is not changed"


REFUSED = {
    "nan": (lambda c: c["training"].update(weight_decay=float("nan")), "training.weight_decay: nan is not a finite"),
    "inf": (lambda c: c["training"].update(clip_norm=float("inf")), "training.clip_norm: inf is not a finite number"),
    "a huge number": (lambda c: c["noise"].update(seed=10**30), "noise.seed: a number of 31 digits is too large"),
    "many repeats": (lambda c: c["experiments"]["tiny"].update(repeats=10**9), "experiments.tiny.repeats: 1000000000"),
    "a key that YAML reads as true": (lambda c: c["training"].update({True: 1}), "training: the key True is not text"),
    "a key that is a number": (lambda c: c["datasets"].update({5: {}}), "datasets: the key 5 is not text"),
    "a null key": (lambda c: c.update({None: {}}), "config: the key None is not text"),
    "a date": (lambda c: c["experiments"]["tiny"].update(repeats=datetime.date(2026, 1, 1)), "is a date to YAML"),
    "no epochs": (
        lambda c: c["experiments"]["tiny"]["training"].update(constant_epochs=0, decay_epochs=0),
        "experiments.tiny.training: constant_epochs and decay_epochs are both 0",
    ),
    "no epochs of pretraining": (
        lambda c: c["experiments"]["tiny"]["training"].update(pretraining={"constant_epochs": 0, "decay_epochs": 0}),
        "experiments.tiny.training.pretraining: constant_epochs and decay_epochs are both 0",
    ),
    "a reserved experiment": (
        lambda c: c["experiments"].update(features=c["experiments"]["tiny"]),
        "experiments: the name 'features' is reserved",
    ),
    "an experiment for the logs": (
        lambda c: c["experiments"].update(logs=c["experiments"]["tiny"]),
        "experiments: the name 'logs' is reserved",
    ),
    "a noise named like the clean scores": (
        lambda c: c["noise"]["kinds"].update(clean={"kind": "gaussian"}),
        "noise.kinds: the name 'clean' is reserved",
    ),
    "a command in an experiment's name": (
        lambda c: c["experiments"].update({"a;touch PWNED;b": c["experiments"]["tiny"]}),
        "experiments: 'a;touch PWNED;b' is not a valid name. Use lower-case letters",
    ),
    "a line break in a name": (lambda c: c["datasets"].update({"mine\n": {}}), "datasets: the key 'mine\\n' contains"),
    "a line break in a system": (
        lambda c: c["experiments"]["tiny"].update(systems=["nmer\n"]),
        "experiments.tiny.systems.0: 'nmer\\n' is not a valid name",
    ),
    "a very long name": (
        lambda c: c["experiments"].update({"x" * 70: c["experiments"]["tiny"]}),
        "is too long. Correct the value.",
    ),
    "a zero byte in a path": (lambda c: c.update(data="a\0b"), "data: 'a\\x00b' contains an invalid character"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_values_that_no_key_can_have_are_refused_with_their_key(config, fault):
    change, message = REFUSED[fault]
    change(config)
    with pytest.raises(ConfigError) as raised:
        check_config(config)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_mapping_that_contains_itself_is_refused(config):
    config["training"]["pretraining"] = config["training"]
    with pytest.raises(ConfigError, match=r"training\.pretraining: refers to itself"):
        check_config(config)


def test_an_anchor_can_be_used_twice(config):
    config["experiments"]["demo"]["training"] = config["experiments"]["tiny"]["training"]
    check_config(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is given twice"),
        ("x:\n  - {a: 1, a: 1}\n", "line 2: the key 'a' is given twice"),
        ("training: {learning_rate: 0.1}\nnoise: {}\ntraining: {}\n", "line 3: the key 'training' is given twice"),
    ],
)
def test_a_repeated_key_is_refused_with_its_line(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        check_keys(file)
    with pytest.raises(ConfigError, match=message):
        read_config([file], [])


def test_files_without_repeated_keys_and_invalid_yaml_pass_the_check_of_keys(tmp_path):
    for text in ("a: &x {b: 1}\nc: *x\nd: {a: 2, b: 3}\n", "a: [", "", "\xff"):
        (tmp_path / "mine.yaml").write_text(text, encoding="latin-1")
        check_keys(tmp_path / "mine.yaml")
    check_keys(tmp_path / "none.yaml")
    check_keys(REPOSITORY / "config.yaml")


def test_an_unknown_home_folder_is_reported(config):
    config["data"] = "~nobody_of_that_name/x"
    with pytest.raises(ConfigError, match="data: the home folder in '~nobody_of_that_name/x' is unknown"):
        Plan(config)
