"""The conditions of utterances in training, validation and test (SPEC 5.4)."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from nmer.names import MODALITIES
from nmer.plan import conditions

SIX = ("a", "v", "l", "av", "al", "vl")
FLAGS = {
    "a": (False, True, True),
    "v": (True, False, True),
    "l": (True, True, False),
    "av": (False, False, True),
    "al": (False, True, False),
    "vl": (True, False, False),
    "none": (True, True, True),
    "avl": (False, False, False),
}
UTTERANCES = [f"video{number}[{number % 7}]" for number in range(600)]


def test_the_flags_of_a_condition_mark_its_noisy_modalities_in_the_order_a_v_l():
    assert {name: tuple(conditions.noisy_flags(name).tolist()) for name in FLAGS} == FLAGS


def test_training_draws_the_six_conditions_equally_often():
    count = 12_000
    flags = conditions.training_flags("incomplete", count, "iemocap", 1, 1, 0)
    assert (flags.shape, flags.dtype) == ((count, 3), bool)
    seen, often = np.unique(flags, axis=0, return_counts=True)
    assert {tuple(row) for row in seen.tolist()} == {FLAGS[condition] for condition in SIX}
    np.testing.assert_allclose(often, count / 6, atol=5 * math.sqrt(count * 5 / 36))


@pytest.mark.parametrize(("regime", "noisy"), [("clean", False), ("all_noisy", True)])
def test_the_other_regimes_are_entirely_clean_or_entirely_noisy(regime, noisy):
    assert (conditions.training_flags(regime, 50, "iemocap", 1, 1, 0) == noisy).all()


def test_training_conditions_differ_by_epoch_fold_repeat_and_dataset_and_are_reproducible():
    names = [("iemocap", 1, 1, 0), ("iemocap", 1, 1, 1), ("iemocap", 1, 2, 0), ("iemocap", 2, 1, 0), ("mosei", 1, 1, 0)]
    draws = [conditions.training_flags("incomplete", 300, *name) for name in names]
    again = [conditions.training_flags("incomplete", 300, *name) for name in names]
    for number, draw in enumerate(draws):
        np.testing.assert_array_equal(draw, again[number])
        for other in draws[:number]:
            # Independent draws give the same condition to a sixth of the utterances.
            assert (draw == other).all(axis=1).mean() == pytest.approx(1 / 6, abs=5 * math.sqrt(5 / 36 / 300))


def test_the_fixed_condition_of_an_utterance_is_the_hash_of_its_name():
    for name in UTTERANCES[:5]:
        text = f'["condition","mosei","{name}"]'
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        assert conditions.fixed_condition("mosei", name) == SIX[key % 6]


def by_utterance(items: dict[str, np.ndarray], utterances: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in utterances}
    for condition, positions in items.items():
        for position in positions:
            found[utterances[position]].append(condition)
    return found


def test_one_condition_per_utterance_is_fixed_and_independent_of_the_other_utterances():
    items = conditions.validation_items("incomplete", "one_condition", "mosei", UTTERANCES)
    assert tuple(items) == SIX
    assigned = by_utterance(items, UTTERANCES)
    assert all(len(names) == 1 for names in assigned.values())
    fewer = UTTERANCES[400:100:-3]
    again = by_utterance(conditions.validation_items("incomplete", "one_condition", "mosei", fewer), fewer)
    assert again == {name: assigned[name] for name in fewer}
    np.testing.assert_allclose([len(part) for part in items.values()], 100, atol=5 * math.sqrt(600 * 5 / 36))


def test_every_condition_validates_each_utterance_six_times():
    items = conditions.validation_items("incomplete", "every_condition", "iemocap", UTTERANCES[:9])
    assert by_utterance(items, UTTERANCES[:9]) == {name: list(SIX) for name in UTTERANCES[:9]}


@pytest.mark.parametrize("evaluation", ["every_condition", "one_condition"])
@pytest.mark.parametrize(("regime", "condition"), [("clean", "avl"), ("all_noisy", "none")])
def test_the_other_regimes_are_validated_on_all_utterances_under_their_condition(regime, condition, evaluation):
    items = conditions.validation_items(regime, evaluation, "iemocap", UTTERANCES[:9])
    assert by_utterance(items, UTTERANCES[:9]) == {name: [condition] for name in UTTERANCES[:9]}


@pytest.mark.parametrize("evaluation", ["every_condition", "one_condition"])
def test_tests_add_all_noisy_and_all_clean_for_all_utterances(evaluation):
    items = conditions.test_items((*SIX, "none", "avl"), evaluation, "mosei", UTTERANCES, MODALITIES)
    assert tuple(items) == (*SIX, "none", "avl")
    for condition in ("none", "avl"):
        assert items[condition].tolist() == list(range(len(UTTERANCES)))
    validated = conditions.validation_items("incomplete", evaluation, "mosei", UTTERANCES)
    for condition in SIX:
        np.testing.assert_array_equal(items[condition], validated[condition])


def test_only_the_configured_conditions_are_tested():
    assert list(conditions.test_items(("none",), "one_condition", "mosei", UTTERANCES, MODALITIES)) == ["none"]


@pytest.mark.parametrize(
    ("system", "noisy", "expected"),
    [
        ("nmer", True, (*SIX, "none", "avl")),
        ("men", False, ("avl",)),
        ("unimodal_v", True, ("none",)),
        ("unimodal_v", False, ("avl",)),
    ],
)
def test_one_modality_is_tested_noisy_and_clean_features_under_the_clean_condition_only(system, noisy, expected):
    assert conditions.tested_conditions(system, noisy, MODALITIES, ()) == expected
