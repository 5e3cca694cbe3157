"""MMIN computes SPEC 4.2: imagination of the teacher's reversed triple from codes that are classified, and back."""

from __future__ import annotations

import pytest
import torch
from small_systems import (
    CLASSES,
    CONDITIONS,
    DIMS,
    batch_of,
    cross_entropy,
    in_order,
    layer_sizes,
    logits,
    padded,
    random_utterances,
    reversed_triple,
    small_system,
    squared_error,
)
from torch import Tensor, nn

from nmer.options import Bounds
from nmer.systems.blocks.cascade import CascadeAutoencoder
from nmer.systems.interface import Batch, System
from nmer.systems.registry import pretraining, systems


def mmin(**options) -> System:
    return small_system("mmin", **options).eval()


def batch(count: int = 7, conditions: tuple[str, ...] = CONDITIONS) -> Batch:
    return batch_of(random_utterances(count), teacher_width=128, conditions=conditions)


def test_the_defaults_are_the_specifications():
    declared = systems.declaration("mmin")
    assert declared.attributes == {
        "pretraining": "men",
        "regimes": ("incomplete", "all_noisy"),
        "fewest_modalities": 2,
    }
    assert all(option.bounds == Bounds(0.0) for option in declared.declared.values())
    assert declared.options == {"classification_weight": 1.0, "imagination_weight": 4.0, "cycle_weight": 2.0}
    assert pretraining(declared) == "men"


@pytest.mark.parametrize("modality", DIMS)
def test_a_modalitys_encoding_is_that_of_its_encoder(modality):
    system, sequences = mmin(), padded(random_utterances()[modality])
    assert torch.equal(system.encode(modality, sequences), system.encoders[modality](sequences))


def test_the_codes_of_the_imagination_are_classified_and_its_output_is_mapped_back():
    system, data = mmin(), batch()
    features = in_order({m: system.encode(m, data.observed[m]) for m in DIMS})
    imagined, codes = system.imagination(features)
    returned, _codes = system.cycle(imagined)
    expected = {
        "logits": system.classifier(codes),
        "features": features,
        "imagined": imagined,
        "returned": returned,
    }
    outputs = system(data)
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, msg=name)
    assert layer_sizes(system.classifier) == [(320, 128), (128, 128), (128, CLASSES)]
    assert {type(system.imagination), type(system.cycle)} == {CascadeAutoencoder}


def test_evaluation_does_not_compute_the_cycle(monkeypatch):
    system, data = mmin(), batch()
    with torch.no_grad():
        expected = system(data)["logits"]

    def refuse(*_arguments):
        raise AssertionError("The way back was gone.")

    monkeypatch.setattr(system.cycle, "forward", refuse)
    torch.testing.assert_close(logits(system, data.observed), expected)


WEIGHTS = {"classification_weight": 3.0, "imagination_weight": 0.5, "cycle_weight": 7.0}


@pytest.mark.parametrize("weights", [{}, WEIGHTS], ids=["default weights", "other weights"])
@pytest.mark.parametrize("conditions", [*((c,) for c in CONDITIONS), CONDITIONS], ids="+".join)
def test_the_three_terms_follow_their_formulas_against_the_teachers_reversed_triple(conditions, weights):
    system, data = mmin(**weights), batch(conditions=conditions)
    outputs = system(data)
    target = in_order(reversed_triple(data, (conditions * 7)[:7]))
    features = in_order({m: system.encode(m, data.observed[m]) for m in DIMS})
    imagined = system.imagination(features)[0]
    classification, imagination, cycle = weights.values() or (1.0, 4.0, 2.0)
    expected = {
        "classification": classification * cross_entropy(outputs["logits"], data.labels),
        "imagination": imagination * squared_error(imagined, target),
        "cycle": cycle * squared_error(system.cycle(imagined)[0], features),
    }
    found = system.loss(outputs, data)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)


def gradients(system: System, loss: Tensor) -> list[Tensor]:
    parameters = [*system.encoders.parameters(), *system.imagination.parameters(), *system.cycle.parameters()]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters, found, strict=True)
    ]


def test_the_cycle_loss_reaches_the_encoders_only_through_the_imagined_encodings():
    system, data = mmin(), batch()
    # With initial weights the returned encodings are so much larger than x that its direct gradient would be invisible.
    for part in (*system.imagination.modules(), *system.cycle.modules()):
        if isinstance(part, nn.Linear):
            part.reset_parameters()

    def cycle(target_of_the_cycle) -> Tensor:
        features = in_order({m: system.encode(m, data.observed[m]) for m in DIMS})
        returned, _codes = system.cycle(system.imagination(features)[0])
        return 2.0 * ((target_of_the_cycle(features) - returned) ** 2).mean()

    found = gradients(system, system.loss(system(data), data)["cycle"])
    expected = gradients(system, cycle(torch.Tensor.detach))
    moving = gradients(system, cycle(lambda features: features))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
    encoders = len(list(system.encoders.parameters()))
    assert all(gradient.any() for gradient in found[:encoders])
    # Guard: without the stopped gradient the gradient of the encoders differs.
    for one, other in zip(found[:encoders], moving[:encoders], strict=True):
        assert (one - other).abs().max() > 0.1 * one.abs().max()


def test_classification_and_imagination_do_not_train_the_cycle():
    system, data = mmin(), batch()
    terms = system.loss(system(data), data)
    (terms["classification"] + terms["imagination"]).backward()
    assert all(parameter.grad is None for parameter in system.cycle.parameters())
    assert all(parameter.grad.any() for parameter in system.encoders.parameters())
