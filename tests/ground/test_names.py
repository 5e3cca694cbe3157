"""Conditions and modalities follow SPEC section 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmer import names


@pytest.mark.parametrize(
    ("condition", "noisy"),
    [
        ("a", ("v", "l")),
        ("v", ("a", "l")),
        ("l", ("a", "v")),
        ("av", ("l",)),
        ("al", ("v",)),
        ("vl", ("a",)),
        ("none", ("a", "v", "l")),
        ("avl", ()),
    ],
)
def test_a_condition_is_named_by_its_clean_modalities(condition, noisy):
    assert names.noisy_modalities(condition) == noisy


def test_the_six_conditions_leave_out_all_clean_and_all_noisy():
    assert set(names.CONDITIONS) == {*names.SIX_CONDITIONS, "none", "avl"}
    assert names.SIX_CONDITIONS == ("a", "v", "l", "av", "al", "vl")


def test_arrays_are_ordered_a_v_l_and_systems_concatenate_a_l_v():
    assert names.MODALITIES == ("a", "v", "l")
    assert names.CONCATENATION_ORDER == ("a", "l", "v")


def test_a_corruption_is_named_by_kind_and_level_and_a_kind_without_level_by_itself():
    assert names.corruption_name("gaussian", -10) == "gaussian_-10dB"
    assert names.corruption_name("impulse", 0) == "impulse_0dB"
    assert [names.corruption_name("gaussian", level) for level in (-10.0, -7.5)] == [
        "gaussian_-10dB",
        "gaussian_-7.5dB",
    ]
    assert names.corruption_name("zero", None) == "zero"


def test_systems_are_in_the_order_of_the_paper_followed_by_custom_ones():
    systems = ["zebra", "nmer_no_inv", "nmer", "alpha", "men", "mmin"]
    assert names.in_paper_order(systems) == ["men", "mmin", "nmer", "nmer_no_inv", "zebra", "alpha"]


NOISE_NAMES = st.builds(str.__add__, st.sampled_from("adz"), st.text("abdz019_", max_size=6))
"""Names of noise kinds that the schema of the configuration allows: [a-z][a-z0-9_]*."""

LEVEL = st.none() | st.integers(-60, 30)


@given(st.lists(st.tuples(NOISE_NAMES, LEVEL), unique=True))
def test_different_corruptions_have_different_names_without_a_dot_or_a_slash(corruptions):
    found = [names.corruption_name(*corruption) for corruption in corruptions]
    assert len(set(found)) == len(found)
    assert all(Path(name).name == name == Path(name).stem for name in found)


@given(NOISE_NAMES, LEVEL, st.lists(st.sampled_from(["a", "b.c", "x y"]), min_size=1))
def test_predictions_are_next_to_their_scores_under_a_distinct_name(noise, level, folders):
    scores = Path(*folders, names.corruption_name(noise, level) + ".csv")
    found = names.predictions_path(scores)
    assert found.parent == scores.parent
    assert found.name == f"{scores.name.removesuffix('.csv')}_predictions.csv.gz"
    assert names.predictions_path(str(scores)) == found


@given(st.lists(st.sampled_from([*names.PAPER_SYSTEMS, "own", "another", "unimodal_a"]), unique=True))
def test_ordering_as_in_the_paper_keeps_the_systems_and_is_idempotent(systems):
    found = names.in_paper_order(systems)
    own = [name for name in systems if name not in names.PAPER_SYSTEMS]
    assert found == [name for name in names.PAPER_SYSTEMS if name in systems] + own
    assert names.in_paper_order(found) == found
