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


def test_men_is_trained_on_clean_data_with_cross_entropy_alone():
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


def test_the_two_tower_pretraining_reads_invariant_features_from_a_tower_of_their_own():
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
def test_a_pretraining_is_no_run_of_its_own(name):
    assert systems.declaration(name).attributes == {"pretraining": "none", "regimes": ()}
