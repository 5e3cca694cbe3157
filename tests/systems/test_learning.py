"""What holds for every system: it can learn, its gradients arrive, and utterances do not see each other."""

from __future__ import annotations

import pytest
import torch
from small_systems import DIMS, SYSTEMS, batch_of, padded, random_utterances, small_system
from torch import nn


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_learns_a_small_batch_by_heart(name):
    system = small_system(name)
    batch = batch_of(random_utterances(count=8, seed=3), labels=[0, 2, 1, 1, 0, 2, 0, 1])
    optimiser = torch.optim.AdamW(system.parameters(), lr=1e-3)
    system.train()
    for _step in range(120):
        terms = system.loss(system(batch), batch)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
    system.eval()
    outputs = system(batch)
    assert nn.functional.cross_entropy(outputs["logits"], batch.labels).item() < 0.02
    assert torch.equal(outputs["logits"].argmax(dim=1), batch.labels)


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_reach_every_parameter(name):
    system = small_system(name).train()
    batch = batch_of(random_utterances(count=12))
    sum(system.loss(system(batch), batch).values()).backward()
    for parameter_name, parameter in system.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, parameter_name
        if parameter_name.endswith(("in_proj_weight", "in_proj_bias")):
            # Softmax over the single token is 1 whatever query and key are: only the value rows can matter.
            query_and_key, gradient = gradient[: 2 * 768], gradient[2 * 768 :]
            assert not query_and_key.any(), parameter_name
        assert gradient.isfinite().all(), parameter_name
        assert gradient.any(), parameter_name


def test_no_gradient_reaches_a_frozen_teacher_or_its_targets():
    teacher, student = small_system("two_tower").eval().requires_grad_(False), small_system("nmer").train()
    student.inherit(teacher)
    batch = batch_of(random_utterances())
    for modality, target in batch.teacher_clean.items():
        target.copy_(teacher.encode(modality, batch.observed[modality]))
    sum(student.loss(student(batch), batch).values()).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(target.requires_grad for target in batch.teacher_clean.values())


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_prediction_depends_on_neither_the_size_nor_the_order_nor_the_neighbours_of_its_batch(name):
    system = small_system(name).eval()
    utterances = random_utterances(count=7)
    # Lengths that make the first utterance the shortest in one batch and the longest in another.
    assert len({len(frames) for frames in utterances["a"]}) > 3

    def logits(numbers: list[int]) -> torch.Tensor:
        observed = {m: padded([utterances[m][number] for number in numbers]) for m in DIMS}
        with torch.no_grad():
            return system.fuse({m: system.encode(m, observed[m]) for m in DIMS})["logits"]

    alone = torch.cat([logits([number]) for number in range(7)])
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    for numbers in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 0, 4, 1, 5, 3], [3, 3, 0], [5, 1]):
        torch.testing.assert_close(logits(numbers), alone[numbers], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_stands_beyond_an_utterances_length_does_not_matter_to_sound_and_sight(name):
    system = small_system(name).eval()
    sequences = padded(random_utterances()["a"])
    disturbed = sequences.values.masked_fill(~sequences.valid()[:, :, None], 7.0)
    with torch.no_grad():
        torch.testing.assert_close(
            system.encode("a", sequences._replace(values=disturbed)), system.encode("a", sequences), rtol=0, atol=1e-6
        )
