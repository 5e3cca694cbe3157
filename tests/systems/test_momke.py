"""MoMKE and its pretraining `experts` compute SYSTEMS.md, section 3."""

from __future__ import annotations

import math

import pytest
import torch
from small_systems import CLASSES, DIMS, batch_of, cross_entropy, padded, random_utterances, small_system
from torch.nn.functional import gelu

from nmer.systems.registry import regimes, systems


def plain_block(block, frames: torch.Tensor) -> torch.Tensor:
    """One block of an expert over the frames (frames, 256) of a single utterance, head by head."""
    query, key, value = (part(frames) for part in (block.query, block.key, block.value))
    heads = []
    for number in range(2):
        own = slice(128 * number, 128 * number + 128)
        scores = query[:, own] @ key[:, own].T / math.sqrt(128)
        heads.append(torch.softmax(scores, dim=1) @ value[:, own])
    attended = torch.cat(heads, dim=1)
    first, _gelu, _dropout, second, _dropout2 = block.mlp
    return frames + attended + second(gelu(first(attended)))


@torch.no_grad()
def test_an_encoding_is_the_mean_over_frames_of_the_routed_experts():
    system, utterance = small_system("momke", depth=2).eval(), torch.randn(7, DIMS["v"])
    frames = system.projections["v"][0](utterance)
    shares = torch.softmax(system.routers["v"](frames), dim=1)
    expected = torch.zeros(256)
    for number, expert in enumerate("avl"):
        found = frames
        for block in system.experts[expert].blocks:
            found = plain_block(block, found)
        expected += (shares[:, number, None] * found).mean(dim=0)
    found = system.encode("v", padded([utterance, torch.randn(9, DIMS["v"])]))[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(system.mixture("v", frames).sum(dim=-1), torch.ones(7))


@torch.no_grad()
def test_the_order_of_frames_does_not_matter_and_equal_experts_make_the_router_irrelevant():
    system, utterance = small_system("momke").eval(), torch.randn(6, DIMS["l"])
    found = system.encode("l", padded([utterance]))
    torch.testing.assert_close(system.encode("l", padded([utterance.flip(0)])), found, rtol=0, atol=1e-5)
    for expert in "vl":
        system.experts[expert].load_state_dict(system.experts["a"].state_dict())
    found = system.encode("l", padded([utterance]))
    system.routers["l"].apply(lambda part: part.reset_parameters() if hasattr(part, "reset_parameters") else None)
    torch.testing.assert_close(system.encode("l", padded([utterance])), found, rtol=0, atol=1e-5)


@torch.no_grad()
def test_with_tokens_mean_the_only_frame_is_the_mean():
    one, other = small_system("momke").eval(), small_system("momke mean").eval()
    other.load_state_dict(one.state_dict())
    sequences = padded([torch.randn(1, DIMS["a"]) for _ in range(3)])
    torch.testing.assert_close(one.encode("a", sequences), other.encode("a", sequences))


@torch.no_grad()
def test_the_joint_representation_is_residual():
    system = small_system("momke").eval()
    encodings = {m: torch.randn(5, 256) for m in "avl"}
    joint = torch.cat([encodings[m] for m in "alv"], dim=1)
    hidden = joint + torch.relu(system.joint[0](joint))
    torch.testing.assert_close(system.fuse(encodings)["logits"], system.classifier(hidden))


def test_the_loss_is_cross_entropy_summed_over_modalities_for_the_experts():
    batch = batch_of(random_utterances(), teacher_width=0)
    momke, experts = small_system("momke"), small_system("experts")
    outputs = momke(batch)
    assert set(momke.loss(outputs, batch)) == {"classification"}
    torch.testing.assert_close(
        momke.loss(outputs, batch)["classification"], cross_entropy(outputs["logits"], batch.labels)
    )
    own = {m: experts.classifiers[m](experts.encode(m, batch.observed[m])) for m in "avl"}
    expected = sum(cross_entropy(logits, batch.labels) for logits in own.values())
    outputs = experts(batch)
    torch.testing.assert_close(experts.loss(outputs, batch)["classification"], expected)
    torch.testing.assert_close(outputs["logits"], (own["a"] + own["v"] + own["l"]) / 3)
    uniform = {f"logits_{m}": torch.zeros(4, CLASSES) for m in "avl"}
    labels = batch_of(random_utterances(4), teacher_width=0)
    found = experts.loss(uniform, labels)["classification"]
    assert found.item() == pytest.approx(3 * math.log(CLASSES))


def test_the_expert_of_a_modality_learns_only_from_that_modality():
    system, batch = small_system("experts"), batch_of(random_utterances(), teacher_width=0)
    cross_entropy(system(batch)["logits_v"], batch.labels).backward()
    for name, parameter in system.named_parameters():
        assert (parameter.grad is None) == (".v." not in name), name


def test_with_noise_flags_noisy_values_have_no_effect_and_all_noisy_is_not_trained():
    declared = systems.declaration("momke")
    assert regimes(declared) == ("incomplete", "all_noisy")
    assert regimes(declared, {"noise_flags": True}) == ("incomplete",)
    system = small_system("momke", noise_flags=True).eval()
    utterances, others = random_utterances(), random_utterances(seed=8)
    first = batch_of(utterances, teacher_width=0)
    changed = {
        m: [
            others[m][number][:1].expand(len(frames), -1) if first.noisy[m][number] else frames
            for number, frames in enumerate(utterances[m])
        ]
        for m in DIMS
    }
    second = batch_of(changed, teacher_width=0)
    torch.testing.assert_close(system(first)["logits"], system(second)["logits"])
    system.noise_flags = False
    assert not torch.allclose(system(first)["logits"], system(second)["logits"], atol=1e-4)


def test_initial_weights_are_the_frameworks():
    weight = small_system("momke").joint[0].weight
    assert weight.abs().max().item() <= 1 / math.sqrt(768)
