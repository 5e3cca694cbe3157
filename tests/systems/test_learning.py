"""Properties of every system: it learns, gradients reach every parameter, utterances are independent."""

from __future__ import annotations

import pytest
import torch
from small_systems import (
    DIMS,
    SYSTEMS,
    TEACHERS,
    batch_for,
    disturbed,
    logits,
    padded,
    random_utterances,
    small_system,
)
from torch import nn

from nmer.systems.blocks.encodings import join, part
from nmer.systems.registry import systems

NOT_FALLING = ("divergence", "adversarial", "attraction")
"""Terms that need not fall towards zero: the divergence grows with an informative latent, an adversarial term has two
players, and attraction starts near 0 and falls to -1 for each representation."""

STEPS = 300
"""At most; most systems need 10 to 50, MMIN about 75."""


def test_every_built_in_system_has_a_small_form():
    assert sorted({name.split()[0] for name in SYSTEMS}) == systems.shipped()


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_overfits_a_small_batch_in_every_term_of_its_loss(name):
    system = small_system(name).train()
    batch = batch_for(name, system, random_utterances(count=8, seed=3), labels=[0, 2, 1, 1, 0, 2, 0, 1])
    optimiser = torch.optim.AdamW(system.parameters(), lr=1e-3, fused=True)
    first, falling = {}, {}
    for _step in range(STEPS):
        terms = system.loss(system(batch), batch)
        first = first or {term: value.item() for term, value in terms.items()}
        falling = {term: terms[term] / start for term, start in first.items() if start and term not in NOT_FALLING}
        if terms["classification"] < 0.03 and max(falling.values()) < 0.8:
            break
        optimiser.zero_grad()
        sum(terms.values()).backward()
        # Clipped as in training: large first gradients of a cascade would make Adam's later steps tiny.
        for part_of_it in system.subnetworks():
            nn.utils.clip_grad_norm_(part_of_it.parameters(), 1.0)
        optimiser.step()
    assert max(falling.values()) < 0.8, falling
    found = logits(system, batch.observed)
    assert nn.functional.cross_entropy(found, batch.labels).item() < 0.1
    assert torch.equal(found.argmax(dim=1), batch.labels)


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_reach_every_parameter(name):
    system = small_system(name).train()
    batch = batch_for(name, system, random_utterances(count=12))
    sum(system.loss(system(batch), batch).values()).backward()
    for parameter_name, parameter in system.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, parameter_name
        if parameter_name.endswith(("in_proj_weight", "in_proj_bias")):
            # Softmax over a single token is 1, so only the value rows have a gradient.
            query_and_key, gradient = gradient[: 2 * 768], gradient[2 * 768 :]
            assert not query_and_key.any(), parameter_name
        assert gradient.isfinite().all(), parameter_name
        if parameter_name == "hyper.0.norm_hyper.weight":
            # LNLN's hyper-modality starts constant, so it is 0 after normalisation until it changes.
            continue
        if name.endswith(" mean") and (".query." in parameter_name or ".key." in parameter_name):
            # A single token attends to itself for any query and key.
            assert not gradient.any(), parameter_name
            continue
        assert gradient.any(), parameter_name


@pytest.mark.parametrize("name", TEACHERS)
def test_training_changes_neither_a_frozen_teacher_nor_its_targets(name):
    teacher, student = small_system(TEACHERS[name], dropout=0.5), small_system(name)
    teacher.eval().requires_grad_(False)
    student.inherit(teacher)
    assert all(parameter.requires_grad for parameter in student.parameters())
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    batch = batch_for(name, student, random_utterances())
    for targets in (batch.teacher_clean, batch.teacher_noisy):
        for modality, target in targets.items():
            target.copy_(teacher.encode(modality, batch.observed[modality]))
    sum(student.train().loss(student(batch), batch).values()).backward()
    torch.optim.SGD(student.parameters(), lr=1.0).step()
    assert not any(part.training for part in teacher.modules())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not any(target.requires_grad for target in (*batch.teacher_clean.values(), *batch.teacher_noisy.values()))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_prediction_does_not_depend_on_size_order_or_neighbours_in_its_batch(name):
    system = small_system(name)
    utterances = random_utterances(count=7)
    # Lengths that make the first utterance the shortest in one batch and the longest in another.
    assert all(len({len(frames) for frames in utterances[m]}) > 3 for m in DIMS)

    def predicted(numbers: list[int]) -> torch.Tensor:
        return logits(system, {m: padded([utterances[m][number] for number in numbers]) for m in system.modalities})

    alone = torch.cat([predicted([number]) for number in range(7)])
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    tolerance = 1e-5 * max(1.0, alone.abs().max().item())
    for numbers in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 0, 4, 1, 5, 3], [3, 3, 0], [5, 1]):
        torch.testing.assert_close(predicted(numbers), alone[numbers], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", SYSTEMS)
def test_evaluation_equals_the_forward_pass_and_is_deterministic(name):
    system = small_system(name, dropout=0.5).eval()
    batch = batch_for(name, system, random_utterances())
    with torch.no_grad():
        first, second = system(batch)["logits"], system(batch)["logits"]
    assert torch.equal(first, second)
    torch.testing.assert_close(logits(system, batch.observed), first)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_prediction_depends_only_on_the_modalities_that_the_system_reads(name):
    system = small_system(name).eval()
    utterances, others = random_utterances(), random_utterances(seed=5)
    reference = batch_for(name, system, utterances)
    assert set(reference.observed) == set(system.modalities)
    expected = system(reference)["logits"]
    for modality in system.modalities:
        changed = system(batch_for(name, system, utterances | {modality: others[modality]}))["logits"]
        assert not torch.allclose(changed, expected, atol=1e-4), modality
    bare = type(reference)(reference.observed, reference.labels, reference.noisy)
    assert torch.equal(system(bare)["logits"], expected)


@pytest.mark.parametrize("name", SYSTEMS)
def test_values_beyond_the_length_of_an_utterance_have_no_effect(name):
    system = small_system(name).eval()
    for modality in system.modalities:
        # Texts of the text encoder's shortest length and more: shorter ones count as padded with zeros (SPEC 3.1).
        utterances = [torch.randn(frames, DIMS[modality]) for frames in (5, 9, 6, 5)]
        sequences = padded(utterances)
        with torch.no_grad():
            expected, found = system.encode(modality, sequences), system.encode(modality, disturbed(sequences))
        both = join([found, expected])  # pads the frames of encodings that are sequences
        torch.testing.assert_close(part(both, 0, 4), part(both, 4, 8), rtol=0, atol=1e-5)
