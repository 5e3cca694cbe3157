"""Sweeps in the plan: one variant per value, a table and a figure, and refused configurations."""

from __future__ import annotations

import copy
import json

import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan.jobs import jobs
from nmer.plan.plan import Plan
from nmer.results.sweep import SweepSettings


def make_plan(sweep: dict | None, systems: dict | None = None, **experiment: object) -> Plan:
    config = shipped_config() | {"experiment": "tiny"}
    config["systems"] = systems or {}
    config["experiments"]["tiny"] |= ({"sweep": sweep} if sweep else {}) | experiment
    return Plan(config)


def test_a_sweep_adds_a_variant_per_value_and_shares_equal_trainings():
    plan = make_plan({"system": "nmer", "over": {"divergence_weight": [0.01, 1]}}, systems={"nmer": {"latent": 8}})
    assert plan.systems == ["men", "nmer", "nmer_divergence_weight_0.01", "nmer_divergence_weight_1"]
    assert plan.trained_as("nmer_divergence_weight_1") == "nmer"
    histories = {path.parts[-5] for path in plan.sweep_histories()}
    assert histories == {"nmer", "nmer_divergence_weight_0.01"}


def test_several_keys_are_combined_and_training_keys_count():
    over = {"latent": [8.0, 16], "training.learning_rate": [0.001, 0.002]}
    plan = make_plan({"system": "nmer", "over": over}, systems={"nmer": {"title": "Ours"}})
    assert len(plan.sweep) == 4
    assert plan.titles()["nmer_latent_8_learning_rate_0.001"] == "Ours, latent 8, learning_rate 0.001"
    assert plan._overrides("nmer_latent_8_learning_rate_0.001")["options"]["latent"] == 8
    assert plan._training_of("nmer_latent_16_learning_rate_0.002").learning_rate == 0.002


def test_values_and_options_keep_the_order_of_the_configuration():
    over = {"training.learning_rate": [0.002, 0.001], "latent": [2, 16]}
    plan = make_plan({"system": "nmer", "over": over})
    about = SweepSettings.from_mapping(json.loads(plan.sweep_settings()))
    expected = [{"training.learning_rate": rate, "latent": size} for rate in (0.002, 0.001) for size in (2, 16)]
    assert list(about.sweep.values()) == expected
    assert about.options == "training.learning_rate, latent"


def test_the_table_and_figure_of_a_sweep_require_a_sweep():
    config = shipped_config() | {"experiment": "tiny"}
    config["experiments"]["tiny"].pop("figures")
    plain = Plan(copy.deepcopy(config))
    config["experiments"]["tiny"]["sweep"] = {"system": "men", "over": {"training.dropout": [0.1, 0.5]}}
    swept = Plan(config)
    rules = [{(job.rule, job.output.name) for job in jobs(plan)} for plan in (plain, swept)]
    added = {("sweep_table", "sweep.csv"), ("draw_figure", "sweep.png")}
    assert not rules[0] & added
    assert rules[1] >= added
    settings = json.loads(swept.sweep_settings())
    assert settings["trained_as"] == {"men_dropout_0.1": "men_dropout_0.1", "men_dropout_0.5": "men"}


FAULTS = {
    "an unknown option": (
        {"system": "nmer", "over": {"divergence_wight": [1]}},
        "experiments.tiny.sweep.over: 'nmer' has no option 'divergence_wight'. Did you mean 'divergence_weight'?",
    ),
    "an option of another system": ({"system": "men", "over": {"latent": [8]}}, "'men' has no option 'latent'"),
    "a value of the wrong type": (
        {"system": "nmer", "over": {"latent": ["many"]}},
        "experiments.tiny.sweep.over.latent: 'many' is not like its default 64.",
    ),
    "an impossible choice": (
        {"system": "nmer", "over": {"divergence_reduction": ["median"]}},
        "sweep.over.divergence_reduction: 'median' is not possible.",
    ),
    "an impossible training value": (
        {"system": "nmer", "over": {"training.dropout": [2]}},
        "experiments.tiny.sweep.over.training.dropout: 2 is",
    ),
    "a selection that the target does not have": (
        {"system": "nmer", "over": {"training.selection": ["UA", "MAE"]}},
        "experiments.tiny.sweep.over.training.selection: 'MAE' does not exist for datasets with 'target: classes'",
    ),
    "an unknown system": ({"system": "nmerr", "over": {"latent": [8]}}, "Unknown system 'nmerr'. Did you mean 'nmer'?"),
    "a uni-modal system": ({"system": "unimodal_a", "over": {"training.dropout": [0]}}, "'unimodal_a' has no variants"),
    "an unused key": (
        {"system": "nmer", "ovr": {}},
        "experiments.tiny.sweep: unknown key 'ovr'. Did you mean 'over'?",
    ),
    "no values": ({"system": "nmer", "over": {"latent": []}}, "experiments.tiny.sweep.over.latent: [] "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_impossible_sweep_is_refused_with_its_key(fault):
    sweep, message = FAULTS[fault]
    with pytest.raises(ConfigError) as raised:
        make_plan(sweep)
    assert message in str(raised.value)


def test_the_figure_of_a_sweep_without_a_sweep_is_refused():
    with pytest.raises(ConfigError, match=r"tiny\.figures: 'sweep' needs sweep"):
        make_plan(None, figures=["sweep"])
