"""IF-MMIN computes SPEC 4.3: imagination guided by invariant features, which are tied to the clean teacher's."""

from __future__ import annotations

import pytest
import torch
from small_systems import (
    CLASSES,
    CONDITIONS,
    DIMS,
    INVARIANT,
    SPECIFIC,
    batch_of,
    cross_entropy,
    in_order,
    layer_sizes,
    padded,
    random_utterances,
    reversed_triple,
    small_system,
    squared_error,
)

from nmer.options import Bounds
from nmer.systems.blocks.cascade import GuidedCascadeAutoencoder
from nmer.systems.registry import pretraining, systems


def test_the_defaults_are_the_specifications():
    declared = systems.declaration("if_mmin")
    assert declared.attributes == {
        "pretraining": "shared",
        "regimes": ("incomplete", "all_noisy"),
        "fewest_modalities": 2,
    }
    assert declared.declared["invariant_features"].choices == ("raw", "sigmoid", "tanh")
    assert all(declared.declared[weight].bounds == Bounds(0.0) for weight in WEIGHTS)
    assert declared.options == {
        "invariant_features": "raw",
        "classification_weight": 1.0,
        "imagination_weight": 1.0,
        "invariance_weight": 100.0,
    }
    assert pretraining(declared) == "shared"


@pytest.mark.parametrize("modality", DIMS)
def test_an_encoding_is_the_specific_feature_and_the_invariant_feature_computed_from_it(modality):
    system, sequences = small_system("if_mmin").eval(), padded(random_utterances()[modality])
    specific = system.towers.specific[modality](sequences)
    expected = torch.cat([specific, system.towers.invariance_mlp(specific)], dim=1)
    torch.testing.assert_close(system.encode(modality, sequences), expected)


def test_the_codes_of_the_guided_cascade_are_classified_with_features_in_the_order_a_l_v():
    system = small_system("if_mmin").eval()
    encodings = {m: torch.randn(4, 256) for m in DIMS}
    invariant = in_order(encodings, INVARIANT)
    imagined, codes = system.imagination(in_order(encodings, SPECIFIC), invariant)
    expected = {"logits": system.classifier(codes), "imagined": imagined, "invariant": invariant}
    outputs = system.fuse(encodings)
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, msg=name)
    assert layer_sizes(system.classifier) == [(320, 128), (128, 128), (128, CLASSES)]
    assert type(system.imagination) is GuidedCascadeAutoencoder


WEIGHTS = {"classification_weight": 3.0, "imagination_weight": 0.5, "invariance_weight": 7.0}


@pytest.mark.parametrize("weights", [{}, WEIGHTS], ids=["default weights", "other weights"])
@pytest.mark.parametrize("conditions", [*((c,) for c in CONDITIONS), CONDITIONS], ids="+".join)
def test_the_three_terms_follow_their_formulas_with_the_reversed_and_with_the_clean_triple(conditions, weights):
    system = small_system("if_mmin", **weights).eval()
    batch = batch_of(random_utterances(count=7), conditions=conditions)
    outputs = system(batch)
    encodings = {m: system.encode(m, batch.observed[m]) for m in DIMS}
    specific, invariant = in_order(encodings, SPECIFIC), in_order(encodings, INVARIANT)
    target = in_order(reversed_triple(batch, (conditions * 7)[:7]), SPECIFIC)
    classification, imagination, invariance = weights.values() or (1.0, 1.0, 100.0)
    expected = {
        "classification": classification * cross_entropy(outputs["logits"], batch.labels),
        "imagination": imagination * squared_error(system.imagination(specific, invariant)[0], target),
        "invariance": invariance * squared_error(invariant, in_order(batch.teacher_clean, INVARIANT)),
    }
    found = system.loss(outputs, batch)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
