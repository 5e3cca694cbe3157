"""CIF-MMIN and its pretraining `contrastive` compute SYSTEMS.md, section 5."""

from __future__ import annotations

import math

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
    padded,
    random_utterances,
    reversed_triple,
    small_system,
    squared_error,
)
from torch.nn.functional import leaky_relu

from nmer.systems.blocks.cascade import GuidedResidualCascade
from nmer.systems.building import build_system
from nmer.systems.contrastive import contrast


@pytest.mark.parametrize(
    ("count", "equal", "expected"), [(128, False, 2.12591), (128, True, 4.84419), (4, False, -1.61967)]
)
def test_the_contrast_has_its_golden_values(count, equal, expected):
    rows = torch.ones(count, count) if equal else torch.eye(count)
    assert contrast(rows, 3 * rows).item() == pytest.approx(expected, abs=1e-5)


def test_the_contrast_leaves_the_positive_out_of_the_denominator_in_both_directions():
    first, second = torch.randn(5, 7), torch.randn(5, 7)
    cosines = torch.tensor([[(a @ b / a.norm() / b.norm()).item() for b in second] for a in first])
    similarity = math.e * cosines
    losses = []
    for matrix in (similarity, similarity.T):
        losses += [-matrix[i, i] + sum(matrix[i, j].exp() for j in range(5) if j != i).log() for i in range(5)]
    assert contrast(first, second).item() == pytest.approx((sum(losses) / 10).item(), abs=1e-5)
    assert contrast(first[:1], second[:1]).item() == 0


def test_the_pretraining_weights_the_pairs_in_its_loss():
    system, batch = small_system("contrastive"), batch_of(random_utterances(), teacher_width=0)
    found = system.loss(system(batch), batch)
    projected = {}
    for m in DIMS:
        first, _leaky, norm, second, _leaky2 = system.projections[m]
        invariant = system.encode(m, batch.observed[m])[:, 128:]
        projected[m] = leaky_relu(second(norm(leaky_relu(first(invariant)))))
    pairs = {"lv": 0.25, "la": 0.25, "va": 0.5}
    expected = sum(weight * contrast(projected[x], projected[y]) for (x, y), weight in pairs.items())
    torch.testing.assert_close(found["contrast"], expected)
    specific = in_order({m: system.encode(m, batch.observed[m]) for m in DIMS}, SPECIFIC)
    torch.testing.assert_close(found["classification"], cross_entropy(system.classifier(specific), batch.labels))
    system.zero_grad()
    found["contrast"].backward()
    reached = {
        name for name, parameter in system.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    assert reached == {n for n, _ in system.named_parameters() if n.startswith(("towers.invariance.", "projections."))}


def test_the_contrast_of_two_modalities_has_weight_1():
    torch.manual_seed(1)
    system = build_system("contrastive", {"a": 4, "l": 5}, CLASSES, 0.0)
    utterances = {m: own for m, own in random_utterances().items() if m != "v"}
    batch = batch_of(utterances | {"v": random_utterances()["v"]}, teacher_width=0)
    outputs = system.eval()(batch)
    expected = contrast(outputs["projected_l"], outputs["projected_a"])
    torch.testing.assert_close(system.loss(outputs, batch)["contrast"], expected)


@pytest.mark.parametrize("modality", DIMS)
@torch.no_grad()
def test_the_invariance_tower_takes_the_maximum_of_an_lstm_for_every_modality(modality):
    system, frames = small_system("cif_mmin").eval(), random_utterances()[modality][1]
    found = system.encode(modality, padded([frames]))[0]
    outputs, _state = system.towers.invariance[modality].lstm(frames)
    torch.testing.assert_close(found[128:], outputs.max(dim=0).values)
    torch.testing.assert_close(found[:128], system.towers.specific[modality](padded([frames]))[0])


@torch.no_grad()
def test_the_cascade_reads_the_previous_block_and_returns_the_sum_of_its_last_input_and_output():
    cascade, features, invariant = GuidedResidualCascade(12), torch.randn(3, 12), torch.randn(3, 12)
    output = features
    for encoder, decoder in zip(cascade.encoders, cascade.decoders, strict=True):
        read = output + invariant
        output = decoder(encoder(read))
    torch.testing.assert_close(cascade(features, invariant), cascade.transition(read + output))
    for decoder in cascade.decoders:
        for part in decoder[::2]:
            part.weight.zero_()
            part.bias.zero_()
    torch.testing.assert_close(cascade(features, invariant), cascade.transition(invariant))


@pytest.mark.parametrize("target", ["reversed", "clean"])
def test_every_term_of_the_loss(target):
    weights = {"classification_weight": 2.0, "imagination_weight": 3.0, "invariance_weight": 5.0}
    system = small_system("cif_mmin", target=target, **weights)
    batch = batch_of(random_utterances(len(CONDITIONS)))
    encodings = {m: system.encode(m, batch.observed[m]) for m in DIMS}
    features, invariant = in_order(encodings, SPECIFIC), in_order(encodings, INVARIANT)
    imagined = system.imagination(features, invariant)
    wanted = batch.teacher_clean if target == "clean" else reversed_triple(batch)
    expected = {
        "classification": 2 * cross_entropy(system.classifier(features + imagined), batch.labels),
        "imagination": 3 * squared_error(imagined, in_order(wanted, SPECIFIC)),
        "invariance": 5 * squared_error(invariant, in_order(batch.teacher_clean, INVARIANT)),
    }
    found = system.loss(system(batch), batch)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_both_towers_start_from_the_teachers():
    teacher, student = small_system("contrastive"), small_system("cif_mmin")
    student.inherit(teacher)
    assert all(
        torch.equal(own, teacher.state_dict()[f"towers.{name}"]) for name, own in student.towers.state_dict().items()
    )
