"""The CUDA kernels of additive attention, compiled for the CPU, equal the framework's operators."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nmer.systems.blocks import decoding, fused_attention
from nmer.systems.blocks.additive_attention import AdditiveAttention
from nmer.systems.blocks.fused_attention import HIDDEN, LANES, SOURCE, WARPS, FusedAttention, Kernels
from nmer.systems.blocks.repeats import compute_stacked
from nmer.systems.blocks.translation import AttentionDecoder, OutputLayer, decode
from nmer.systems.interface import Sequences

STEPS = 3
KERNEL = re.compile(r"__global__ void (\w+)\(([^)]*)\)")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> Kernels:
    """The kernels, compiled with threads that take turns."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("kernels")
    callers = []
    for name, parameters in KERNEL.findall(SOURCE):
        given = ", ".join(re.findall(r"(\w+)(?:,|\s*$)", parameters))
        body = f"launch(blocks, {LANES * WARPS}, [=] {{ {name}({given}); }});"
        callers.append(f'extern "C" void run_{name}(int blocks, {parameters}) {{ {body} }}')
    header = (Path(__file__).parent / "cuda_on_cpu.h").read_text()
    (folder / "kernels.cpp").write_text("\n".join([header, SOURCE, *callers]))
    subprocess.run(
        [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-o", "kernels.so", "kernels.cpp"], cwd=folder, check=True
    )
    library = ctypes.CDLL(str(folder / "kernels.so"))

    def caller(name: str):
        def call(blocks: int, floats: int, *arguments: Tensor | int) -> None:
            assert 4 * floats <= 48 * 1024
            given = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.c_int(a) for a in arguments]
            getattr(library, f"run_{name}")(blocks, *given)

        return call

    return Kernels(*map(caller, Kernels._fields))


@pytest.fixture
def fused(kernels, monkeypatch):
    """Let the kernels compute attention."""
    monkeypatch.setattr(fused_attention, "kernels", lambda _device: kernels)
    monkeypatch.setattr(decoding, "fuses", lambda _keys: True)


def memory(lengths: list[int], longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, values and lengths, with padding that would spoil a result that reads it."""
    counts = torch.tensor(lengths)
    beyond = torch.arange(longest) >= counts[:, None]
    keys, values = torch.randn(2, len(lengths), longest, HIDDEN).masked_fill(beyond[..., None], float("nan"))
    return keys, values, counts


@pytest.mark.parametrize(
    ("lengths", "longest"),
    [([3, 1, 7, 20], 20), ([17, 40], 45), ([5, 5, 5, 5], 5), ([1, 1], 1)],
    ids=["several lengths", "padded beyond the longest", "equal lengths", "one frame"],
)
def test_the_kernels_equal_the_frameworks_operators(fused, lengths, longest):
    keys, values, counts = memory(lengths, longest)
    scores = torch.randn(2, HIDDEN)
    forms = [
        FusedAttention(keys, values, counts, scores, STEPS),
        AdditiveAttention(keys.nan_to_num(), values.nan_to_num(), counts, scores, STEPS),
    ]
    # Rows at a distance, as in the arrays of all steps.
    queries, of_contexts = torch.randn(2, len(lengths), STEPS, 2 * HIDDEN)
    found: list[list[Tensor]] = []
    for attention in forms:
        context, of_query = torch.zeros(2, len(lengths), STEPS, 3 * HIDDEN)
        for step in range(STEPS):
            attention.context(queries[:, step, :HIDDEN], step, context[:, step, HIDDEN : 2 * HIDDEN])
        for step in reversed(range(STEPS)):
            attention.query_gradient(of_contexts[:, step, HIDDEN:], step, of_query[:, step, HIDDEN : 2 * HIDDEN])
        found.append([context, of_query, *attention.gradients(of_contexts[:, :, HIDDEN:])])
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
@pytest.mark.parametrize("longest", [39, 20], ids=["memories of two lengths", "memories padded to one length"])
def test_decoders_of_several_repeats_are_the_same_with_the_kernels(kernels, monkeypatch, longest, training):
    decoders = nn.ModuleList(AttentionDecoder() for _ in range(2))
    outputs = nn.ModuleList(OutputLayer(dim) for dim in (3, 2))
    lengths = [torch.tensor([[2, 4, 1], [4, 4, 3]]), torch.tensor([[longest, 17, 2], [5, 9, longest]])]
    joints = []
    for own in lengths:
        frames = torch.randn(*own.shape, int(own.max()), HIDDEN)
        joints.append(frames * (torch.arange(frames.shape[2]) < own[..., None])[..., None])
    weights = [parameter for module in (decoders, outputs) for parameter in module.parameters()]

    def decoded(*given: Sequences) -> Tensor:
        return torch.cat(decode(list(decoders), list(outputs), list(given), STEPS), dim=2)

    def results() -> list[Tensor]:
        values = [own.clone().requires_grad_(training) for own in joints]
        given = map(Sequences, values, lengths)
        with torch.set_grad_enabled(training):
            found = compute_stacked(decoded, [torch.Generator(), torch.Generator()], *given)
        if not training:
            return [found]
        leaves = [*weights, *values]
        gradients = torch.autograd.grad(found.square().sum(), leaves, allow_unused=True)
        return [found, *(each for each in gradients if each is not None)]

    expected = results()
    monkeypatch.setattr(fused_attention, "kernels", lambda _device: kernels)
    monkeypatch.setattr(decoding, "fuses", lambda _keys: True)
    for own, other in zip(results(), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_without_cudas_packages_attention_falls_back_to_the_frameworks_operators(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    fused_attention.kernels.cache_clear()
    assert fused_attention.kernels(0) is None
    assert fused_attention.kernels(0) is None
    warning = capsys.readouterr().err
    assert warning.startswith("warning: attention is slower than with its CUDA kernels, because")
    assert warning.count("\n") == 1
    fused_attention.kernels.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_kernels_equal_the_frameworks_operators_and_their_results_repeat():
    keys, values, counts = (part.cuda() for part in memory([300, 1, 46, 200] * 32, 308))
    scores, queries, of_contexts = torch.randn(4, HIDDEN).cuda(), *torch.randn(2, 128, STEPS, HIDDEN).cuda()
    assert fused_attention.fuses(keys)

    def results(form, *given: Tensor) -> list[Tensor]:
        attention = form(*given, counts, scores, STEPS)
        contexts, of_queries = torch.empty_like(queries), torch.empty_like(queries)
        for step in range(STEPS):
            attention.context(queries[:, step], step, contexts[:, step])
        for step in reversed(range(STEPS)):
            attention.query_gradient(of_contexts[:, step], step, of_queries[:, step])
        return [contexts, of_queries, *attention.gradients(of_contexts)]

    found = results(FusedAttention, keys, values)
    for own, again in zip(found, results(FusedAttention, keys, values), strict=True):
        assert torch.equal(own, again)
    for own, expected in zip(found, results(AdditiveAttention, keys.nan_to_num(), values.nan_to_num()), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)
