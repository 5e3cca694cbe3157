"""``conditions`` of an experiment: the incomplete conditions that are scored and averaged."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from shipped import shipped_config

from nmer.errors import ConfigError
from nmer.plan import conditions
from nmer.plan.plan import Plan


def plan(chosen_conditions: object, modalities: list[str] | None = None) -> Plan:
    config = shipped_config() | {"experiment": "tiny"}
    config["experiments"]["tiny"].update(conditions=chosen_conditions, datasets=["tiny_mosei"])
    if modalities:
        corpus = config["datasets"]["tiny_mosei"]
        corpus["modalities"] = modalities
        corpus["generate"]["dims"] = dict.fromkeys(modalities, 8)
    return Plan(config)


def test_chosen_conditions_change_noisy_evaluations_and_no_training():
    chosen, everything = plan(["l", "al"]), plan(["a", "v", "l", "av", "al", "vl"])
    run = {"dataset": "tiny_mosei", "system": "nmer", "fold": 1, "corruption": "gaussian_-10dB"}
    for regime in ("incomplete", "all_noisy"):
        w = SimpleNamespace(**run, regime=regime)
        assert json.loads(chosen.evaluation_settings(w))["conditions"] == ["l", "al"]
        assert chosen.training_settings(w) == everything.training_settings(w)
    alone = SimpleNamespace(**run | {"system": "unimodal_a"}, regime="all_noisy")
    assert "conditions" not in json.loads(chosen.evaluation_settings(alone))
    assert json.loads(chosen.tables_settings())["conditions"] == ["l", "al"]


def test_all_noisy_and_all_clean_are_always_tested():
    assert conditions.tested_conditions("nmer", True, ("a", "v", "l"), ["al", "l"]) == ("l", "al", "none", "avl")
    assert conditions.tested_conditions("nmer", True, ("a", "l"), ["l"]) == ("l", "none", "al")
    assert conditions.tested_conditions("unimodal_a", True, ("a", "v", "l"), ["l"]) == ("none",)
    assert conditions.tested_conditions("men", False, ("a", "v", "l"), ["l"]) == ("avl",)


def test_with_one_condition_per_utterance_only_utterances_of_chosen_conditions_are_scored():
    names = [f"utterance {number}" for number in range(60)]
    items = conditions.test_items(("l", "none"), "one_condition", "mosei", names, ("a", "v", "l"))
    expected = [n for n, name in enumerate(names) if conditions.fixed_condition("mosei", name, ("a", "v", "l")) == "l"]
    assert 0 < len(expected) < len(names)
    np.testing.assert_array_equal(items["l"], expected)
    assert len(items["none"]) == len(names)


@pytest.mark.parametrize(
    ("chosen_conditions", "modalities", "message"),
    [
        (["la"], None, "experiments.tiny.conditions"),
        ([], None, "experiments.tiny.conditions"),
        (["none"], None, "experiments.tiny.conditions"),
        (["l", "l"], None, "experiments.tiny.conditions"),
        (["l", "av"], ["a", "l"], "no dataset of the experiment has the incomplete condition 'av'."),
        (["v"], ["a", "l"], "no dataset of the experiment has the incomplete condition 'v'."),
    ],
)
def test_conditions_that_cannot_be_scored_are_refused_in_one_line(chosen_conditions, modalities, message):
    with pytest.raises(ConfigError) as error:
        plan(chosen_conditions, modalities)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
