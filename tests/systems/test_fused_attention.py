"""The CUDA kernels of additive attention, compiled for the CPU, equal the framework's operators."""

from __future__ import annotations

import pytest
import torch
from cuda_on_cpu import kernels_on_cpu
from torch import Tensor, nn

from nmer.systems.blocks import decoders, fused_attention
from nmer.systems.blocks.additive_attention import AdditiveAttention
from nmer.systems.blocks.decoders import AttentionDecoder, OutputLayer, decode
from nmer.systems.blocks.fused_attention import HIDDEN, LANES, SOURCE, WARPS, FusedAttention, Kernels
from nmer.systems.blocks.repeats import compute_stacked
from nmer.systems.blocks.step_counts import stated_counts
from nmer.systems.blocks.step_rows import StepRows, by_steps
from nmer.systems.interface import Sequences

STEPS = 3


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> Kernels:
    """The kernels, compiled for the CPU."""
    folder = tmp_path_factory.mktemp("kernels")
    return Kernels(*kernels_on_cpu(folder, SOURCE, Kernels._fields, LANES * WARPS, 48 * 1024 // 4))


def memory(lengths: list[int], longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, values, (rows, longest, hidden), and lengths, with padding that would spoil a result that reads it."""
    counts = torch.tensor(lengths)
    beyond = torch.arange(longest) >= counts[:, None]
    keys, values = torch.randn(2, len(lengths), longest, HIDDEN).masked_fill(beyond[..., None], float("nan"))
    return keys, values, counts


def step_by_step(keys: Tensor, values: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors of :class:`FusedAttention` for a memory, the frames of a step next to each other."""
    rows, longest = keys.shape[:2]
    firsts, offsets = torch.arange(rows), torch.arange(0, longest * rows, rows)
    flat = [part.transpose(0, 1).flatten(0, 1).contiguous() for part in (keys, values)]
    return *flat, lengths, firsts.to(keys.device), offsets.to(keys.device)


def results(attention, queries: Tensor, of_contexts: Tensor) -> list[Tensor]:
    """Contexts, gradients of queries, then those of keys, values and scores. queries, of_contexts: (rows, steps,
    hidden)."""
    # Rows at a distance, as in the arrays of all steps.
    contexts, of_queries = torch.zeros(2, len(queries), STEPS, 3 * HIDDEN, device=queries.device)
    for step in range(STEPS):
        attention.context(queries[:, step], step, contexts[:, step, HIDDEN : 2 * HIDDEN])
    for step in reversed(range(STEPS)):
        attention.query_gradient(of_contexts[:, step], step, of_queries[:, step, HIDDEN : 2 * HIDDEN])
    return [contexts, of_queries, *attention.gradients(of_contexts)]


def compare(keys: Tensor, values: Tensor, lengths: Tensor) -> None:
    """Check that the kernels equal the framework's operators."""
    queries, of_contexts = torch.randn(2, len(keys), STEPS, 2 * HIDDEN, device=keys.device)[..., HIDDEN:]
    scores = torch.randn(2, HIDDEN, device=keys.device)
    rows, longest = keys.shape[:2]
    fused = FusedAttention(*step_by_step(keys, values, lengths), scores=scores, steps=STEPS)
    plain = AdditiveAttention(keys.nan_to_num(), values.nan_to_num(), lengths, scores=scores, steps=STEPS)
    found = results(fused, queries, of_contexts)
    found[2:4] = [part.view(longest, rows, HIDDEN).transpose(0, 1) for part in found[2:4]]
    for own, expected in zip(found, results(plain, queries, of_contexts), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("lengths", "longest"),
    [([3, 1, 7, 20], 20), ([17, 40], 45), ([5, 5, 5, 5], 5), ([1, 1], 1)],
    ids=["several lengths", "padded beyond the longest", "equal lengths", "one frame"],
)
def test_the_kernels_equal_the_frameworks_operators(kernels, monkeypatch, lengths, longest):
    monkeypatch.setattr(fused_attention, "kernels", lambda _device: kernels)
    compare(*memory(lengths, longest))


@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
@pytest.mark.parametrize("bounded", [True, False], ids=["ended utterances left out", "padded"])
def test_decoders_of_several_repeats_are_the_same_with_the_kernels(kernels, monkeypatch, bounded, training):
    parts = nn.ModuleList(AttentionDecoder() for _ in range(2))
    outputs = nn.ModuleList(OutputLayer(dim) for dim in (3, 2))
    lengths = [torch.tensor([[2, 4, 1], [4, 4, 3]]), torch.tensor([[20, 17, 2], [5, 9, 20]])]
    joints = []
    for own in lengths:
        frames = torch.randn(*own.shape, int(own.max()), HIDDEN)
        joints.append(frames * (torch.arange(frames.shape[2]) < own[..., None])[..., None])
    bounds = {(3, 4): (3, 3, 3, 2), (3, 20): (3,) * 5 + (2,) * 15} if bounded else {}
    weights = [parameter for module in (parts, outputs) for parameter in module.parameters()]

    def decoded(*given: Sequences) -> Tensor:
        joint_sequences = by_steps(list(given))
        assert all(isinstance(own, StepRows) == bounded for own in joint_sequences)
        return torch.cat(decode(list(parts), list(outputs), joint_sequences, STEPS), dim=2)

    def found() -> list[Tensor]:
        values = [own.clone().requires_grad_(training) for own in joints]
        given = map(Sequences, values, lengths)
        with torch.set_grad_enabled(training), stated_counts(bounds):
            states = compute_stacked(decoded, [torch.Generator(), torch.Generator()], *given)
        if not training:
            return [states]
        gradients = torch.autograd.grad(states.square().sum(), [*weights, *values], allow_unused=True)
        return [states, *(each for each in gradients if each is not None)]

    expected = found()
    monkeypatch.setattr(fused_attention, "kernels", lambda _device: kernels)
    monkeypatch.setattr(decoders, "fuses", lambda _values, _longest: True)
    for own, other in zip(found(), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_kernels_equal_the_frameworks_operators_and_their_results_repeat():
    given = [part.cuda() for part in memory([300, 1, 46, 200] * 32, 308)]
    assert fused_attention.fuses(given[0], 308)
    compare(*given)
    queries, of_contexts = torch.randn(2, 128, STEPS, HIDDEN, device="cuda")
    scores = torch.randn(4, HIDDEN, device="cuda")

    def found() -> list[Tensor]:
        return results(FusedAttention(*step_by_step(*given), scores=scores, steps=STEPS), queries, of_contexts)

    for own, again in zip(found(), found(), strict=True):
        assert torch.equal(own, again)
