"""Levels in the plan: real-valued SNRs, rates, and refused configurations."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan.plan import Plan
from nmer.report_settings import ReportSettings


def make_plan(kinds: dict | None = None, **experiment: object) -> Plan:
    """Plan the tiny experiment with changed keys; None removes a key."""
    config = shipped_config() | {"experiment": "tiny"}
    config["noise"] = {"kinds": kinds or {}}
    whole = config["experiments"]["tiny"] | experiment
    config["experiments"]["tiny"] = {key: value for key, value in whole.items() if value is not None}
    return Plan(config)


def test_a_level_has_the_same_name_in_any_notation():
    plan = make_plan(snr_db=[-10.0, -7.5, 2.5])
    assert list(plan.corruptions) == ["gaussian_-10dB", "gaussian_-7.5dB", "gaussian_2.5dB"]
    settings = plan.calibration_settings(SimpleNamespace(dataset="tiny_mosei", corruption="gaussian_-10dB"))
    whole = make_plan().calibration_settings(SimpleNamespace(dataset="tiny_mosei", corruption="gaussian_-10dB"))
    assert settings == whole


def test_rates_are_levels_of_their_kind_and_need_no_snr():
    plan = make_plan(noise=["drop_frames", "missing"], snr_db=None, levels={"drop_frames": [0.3, 0.0], "missing": [1]})
    assert list(plan.corruptions) == ["drop_frames_0.3", "drop_frames_0", "missing_1"]
    assert plan.rates() == {"drop_frames": {"drop_frames_0": 0, "drop_frames_0.3": 0.3}, "missing": {"missing_1": 1}}
    w = SimpleNamespace(dataset="tiny_mosei", corruption="drop_frames_0.3")
    made = json.loads(plan.corruption_settings(w))
    assert made == {
        "dataset": "tiny_mosei",
        "noise": "drop_frames_0.3",
        "kind": "drop_frames",
        "options": {"share": 0.3},
    }
    assert "options" not in json.loads(
        plan.corruption_settings(SimpleNamespace(**vars(w) | {"corruption": "missing_1"}))
    )
    assert [path.name for path in plan.panels("tiny_mosei")] == ["drop_frames_0", "drop_frames_0.3"]


def test_a_configured_kind_can_have_rates_and_snrs_can_be_in_levels():
    kinds = {"lossy": {"kind": "drop_channels"}}
    plan = make_plan(kinds, noise=["lossy", "gaussian"], snr_db=None, levels={"lossy": [0.5], "gaussian": [-3.5]})
    assert list(plan.corruptions) == ["lossy_0.5", "gaussian_-3.5dB"]
    assert plan.reference_noise == "gaussian"


FAULTS = {
    "a kind in snr_db and levels": (
        {"levels": {"gaussian": [-5]}},
        "experiments.tiny.levels: noise kind 'gaussian' also has SNRs in snr_db. Keep one of them.",
    ),
    "a misspelt kind": (
        {"levels": {"gausian": [-5]}},
        "levels: 'gausian' is not in the experiment's noise. Did you mean",
    ),
    "a kind without a level": (
        {"noise": ["gaussian", "zero"], "levels": {"zero": [0.5]}},
        "experiments.tiny.levels: noise kind 'zero' has no level. Remove its list.",
    ),
    "a rate above 1": (
        {"noise": ["gaussian", "missing"], "levels": {"missing": [1.5]}},
        "experiments.tiny.levels.missing.rate: 1.5 is too large. Give at most 1.0.",
    ),
    "rates in snr_db": (
        {"noise": ["drop_frames"], "snr_db": {"drop_frames": [0.5]}},
        "experiments.tiny.snr_db: noise kind 'drop_frames' has no SNR. List its rates in levels.",
    ),
    "a list of SNRs for rates": (
        {"noise": ["drop_frames"], "levels": {"drop_frames": [0.5]}},
        "experiments.tiny.snr_db: no noise kind of the experiment has an SNR. Remove the list; rates belong in levels.",
    ),
    "a list of SNRs for kinds without a level": (
        {"noise": ["zero"]},
        "experiments.tiny.snr_db: no noise kind of the experiment has an SNR. Remove the list.",
    ),
    "no level at all": ({"snr_db": None}, "experiments.tiny.snr_db: no list for noise kind 'gaussian'. Add one."),
    "a level that is text": ({"snr_db": ["quiet"]}, "experiments.tiny.snr_db"),
    "a noise of the same name": (
        {"noise": ["drop_frames", "drop_frames_1"], "levels": {"drop_frames": [1.0]}},
        "the rate 1.0 runs as 'drop_frames_1', but another noise has this name. Rename it.",
    ),
}


@pytest.mark.parametrize("snr_db", [None, {}])
def test_an_experiment_without_an_snr_needs_no_list(snr_db):
    assert list(make_plan(noise=["zero"], snr_db=snr_db).corruptions) == ["zero"]


def test_steps_that_print_levels_know_the_rates():
    plan = make_plan(noise=["drop_frames"], snr_db=None, levels={"drop_frames": [0.3]}, figures=["figure3", "ranks"])
    rates = {"drop_frames": {"drop_frames_0.3": 0.3}}
    assert json.loads(plan.compared_settings(SimpleNamespace(other="demo")))["rates"] == rates
    for name in plan.drawings:
        assert json.loads(plan.figure_settings(SimpleNamespace(figure=name)))["rates"] == rates


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"noise": ["drop_frames"], "levels": {"drop_frames": [0.6, 0.3]}}, ["drop_frames_0.3", "drop_frames_0.6"]),
        ({"noise": ["zero", "missing"], "levels": {"missing": [0.5]}}, ["zero"]),
        ({"noise": ["drop_frames"], "levels": {"drop_frames": [0.3]}, "train_at": "mixed"}, ["drop_frames_0.3"]),
    ],
)
@pytest.mark.parametrize("clean", [{}, {"clean_reference": True}, {"train_clean": True}])
def test_single_modalities_without_an_snr_have_the_levels_of_the_reference_noise(keys, expected, clean):
    plan = make_plan(systems=["nmer", "unimodal_v"], snr_db=None, unimodal=clean, **keys)
    own = [run for run in plan.trainings() if run.system == "unimodal_v"]
    found = {(run.regime, run.corruption and run.corruption.name) for run in own}
    noisy = set() if "train_clean" in clean else {("all_noisy", name) for name in expected}
    assert found == noisy | ({("clean", None)} if clean else set())
    tested = [
        c and c.name
        for dataset, system, _, c in plan.evaluations()
        if (dataset, system) == ("tiny_mosei", "unimodal_v")
    ]
    assert sorted(filter(None, tested)) == expected
    assert (None in tested) == ("clean_reference" in clean)
    assert set(expected) <= set(plan.corruptions_of("tiny_mosei"))
    settings = ReportSettings.from_mapping(json.loads(plan.tables_settings(4)))
    assert [noise for noise, _level, _condition in settings.unimodal_places if noise] == expected


@pytest.mark.parametrize("fault", FAULTS)
def test_impossible_levels_are_refused_with_their_key(fault):
    keys, message = FAULTS[fault]
    with pytest.raises(ConfigError) as raised:
        make_plan({"drop_frames_1": {"kind": "zero"}}, **keys)
    assert message in str(raised.value)
