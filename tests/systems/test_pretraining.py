"""MEN and both stage-A pretrainings compute SPEC 4.1, 4.3 and 4.4."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_systems import CLASSES, DIMS, batch_of, cross_entropy, layer_sizes, padded, random_utterances, small_system

from nmer.systems.registry import systems


def test_men_classifies_the_encodings_concatenated_in_the_order_a_l_v():
    system = small_system("men").eval()
    encodings = {m: torch.randn(4, 128) for m in DIMS}
    expected = system.classifier(torch.cat([encodings["a"], encodings["l"], encodings["v"]], dim=1))
    assert torch.equal(system.fuse(encodings)["logits"], expected)
    assert layer_sizes(system.classifier) == [(384, 128), (128, 128), (128, CLASSES)]


def test_men_is_trained_on_clean_data_with_cross_entropy_only():
    assert systems.declaration("men").attributes == {"pretraining": "none", "regimes": ("clean",)}
    system = small_system("men").eval()
    batch = batch_of(random_utterances(count=5))
    outputs = system(batch)
    found = system.loss(outputs, batch)
    assert set(found) == {"classification"}
    torch.testing.assert_close(found["classification"], cross_entropy(outputs["logits"], batch.labels))


def test_the_shared_pretraining_stacks_invariant_on_specific_features():
    system = small_system("shared").eval()
    sequences = padded(random_utterances()["a"])
    specific = system.towers.specific["a"](sequences)
    expected = torch.cat([specific, system.towers.invariance_mlp(specific)], dim=1)
    assert torch.equal(system.encode("a", sequences), expected)


def test_the_two_tower_pretraining_computes_invariant_features_in_a_second_tower():
    system = small_system("two_tower").eval()
    sequences = padded(random_utterances()["l"])
    towers = system.towers
    specific, source = towers.specific["l"](sequences), towers.invariance["l"](sequences)
    expected = torch.cat([specific, towers.invariance_mlp(source)], dim=1)
    assert torch.equal(system.encode("l", sequences), expected)
    assert not torch.equal(specific, source)


@pytest.mark.parametrize("name", ["shared", "two_tower"])
def test_a_pretraining_classifies_specific_then_invariant_features_in_the_order_a_l_v(name):
    system = small_system(name).eval()
    encodings = {m: torch.randn(4, 256) for m in DIMS}
    features = [encodings[m][:, :128] for m in "alv"] + [encodings[m][:, 128:] for m in "alv"]
    assert torch.equal(system.fuse(encodings)["logits"], system.classifier(torch.cat(features, dim=1)))
    assert layer_sizes(system.classifier) == [(768, 128), (128, 128), (128, CLASSES)]


@pytest.mark.parametrize("name", ["shared", "two_tower"])
def test_a_pretraining_adds_the_discrepancy_of_the_invariant_features_to_the_cross_entropy(name):
    system = small_system(name).eval()
    batch = batch_of(random_utterances(count=6))
    outputs = system(batch)
    invariant = {m: system.encode(m, batch.observed[m])[:, 128:].detach().double().numpy() for m in DIMS}
    pairs = []
    for first, second in (("l", "v"), ("l", "a"), ("a", "v")):
        x, y = invariant[first], invariant[second]
        distances = [np.linalg.norm(x.mean(0) - y.mean(0))]
        for k in range(2, 6):
            distances.append(np.linalg.norm(((x - x.mean(0)) ** k).mean(0) - ((y - y.mean(0)) ** k).mean(0)))
        pairs.append(sum(distances))
    found = system.loss(outputs, batch)
    assert set(found) == {"classification", "discrepancy"}
    assert found["discrepancy"].item() == pytest.approx(sum(pairs) / 3, rel=1e-4)
    torch.testing.assert_close(found["classification"], cross_entropy(outputs["logits"], batch.labels))


@pytest.mark.parametrize("name", ["shared", "two_tower"])
def test_a_pretraining_is_never_scored(name):
    attributes = systems.declaration(name).attributes
    assert (attributes["pretraining"], attributes["regimes"]) == ("none", ())


PLAIN = {"invariant_features": "raw", "discrepancy_scaling": False, "discrepancy_weight": 1.0}


@pytest.mark.parametrize("name", ["shared", "two_tower"])
def test_defaults_of_invariant_features_and_discrepancy_follow_the_lineage(name):
    declared = systems.declaration(name)
    assert declared.options == PLAIN
    assert declared.attributes["passed_on"] == ("invariant_features",)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


BOUNDS = {"raw": lambda x: x, "sigmoid": sigmoid, "tanh": np.tanh}


def definition(x: np.ndarray, y: np.ndarray, length: float) -> float:
    """CMD of Zellinger et al. 2017, definition 2: the k-th term over the k-th power of b - a."""
    terms = [np.linalg.norm(x.mean(0) - y.mean(0)) / length]
    for k in range(2, 6):
        moments = [((values - values.mean(0)) ** k).mean(0) for values in (x, y)]
        terms.append(np.linalg.norm(moments[0] - moments[1]) / length**k)
    return sum(terms)


@pytest.mark.parametrize("scaling", [False, True], ids=["unscaled", "scaled"])
@pytest.mark.parametrize("form", BOUNDS)
@pytest.mark.parametrize("name", ["shared", "two_tower"])
def test_the_discrepancy_is_that_of_the_bounded_features_scaled_by_their_interval_and_weighted(name, form, scaling):
    options = {"invariant_features": form, "discrepancy_scaling": scaling, "discrepancy_weight": 0.25}
    system = small_system(name, **options).eval()
    batch = batch_of(random_utterances(count=6))
    invariant = {}
    for m in DIMS:
        encoders = system.towers.invariance if name == "two_tower" else system.towers.specific
        unbounded = system.towers.invariance_mlp(encoders[m](batch.observed[m])).detach().double().numpy()
        invariant[m] = BOUNDS[form](unbounded)
        encoded = system.encode(m, batch.observed[m]).detach().double().numpy()
        np.testing.assert_allclose(encoded[:, 128:], invariant[m], rtol=1e-5, atol=1e-6)
    values = np.concatenate(list(invariant.values()))
    length = {"raw": values.max() - values.min(), "sigmoid": 1.0, "tanh": 2.0}[form] if scaling else 1.0
    pairs = (("l", "v"), ("l", "a"), ("a", "v"))
    expected = sum(definition(invariant[first], invariant[second], length) for first, second in pairs) / 3
    found = system.loss(system(batch), batch)
    assert found["discrepancy"].item() == pytest.approx(0.25 * expected, rel=1e-3)


def shrunken(name: str, scaling: bool, factor: float) -> float:
    """Compute the discrepancy of raw features scaled by ``factor``."""
    torch.manual_seed(3)
    system = small_system(name, discrepancy_scaling=scaling).eval()
    batch = batch_of(random_utterances(count=6))
    outputs = system(batch)
    scaled = {key: value * (factor if key.startswith("invariant_") else 1) for key, value in outputs.items()}
    return system.loss(scaled, batch)["discrepancy"].item()


@pytest.mark.parametrize("name", ["shared", "two_tower"])
def test_shrinking_raw_features_lowers_their_discrepancy_unless_it_is_scaled_by_the_interval_of_the_batch(name):
    assert shrunken(name, False, 0.01) < 0.1 * shrunken(name, False, 1.0)
    assert shrunken(name, True, 0.01) == pytest.approx(shrunken(name, True, 1.0), rel=1e-3)


@pytest.mark.parametrize("name", ["shared", "two_tower"])
def test_the_scaled_discrepancy_of_equal_features_is_zero_with_a_finite_gradient(name):
    system = small_system(name, discrepancy_scaling=True)
    for parameter in system.towers.invariance_mlp.parameters():
        parameter.data.zero_()
    batch = batch_of(random_utterances(count=6))
    discrepancy = system.loss(system(batch), batch)["discrepancy"]
    discrepancy.backward()
    assert discrepancy.item() == pytest.approx(0, abs=1e-4)
    assert all(parameter.grad.isfinite().all() for parameter in system.towers.parameters())
