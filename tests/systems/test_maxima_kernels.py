"""The CUDA kernels of maxima over time, compiled for the CPU, equal the framework's operators."""

from __future__ import annotations

import pytest
import torch
from cuda_on_cpu import kernels_on_cpu
from torch import Tensor

from nmer.systems.blocks import maxima_kernels
from nmer.systems.blocks.fused_lstm import TimeMaxima
from nmer.systems.blocks.maxima_kernels import SOURCE, THREADS, KernelMaxima, Kernels

COUNTS = (4, 4, 4, 2, 1, 1, 1, 1, 1, 1)
LENGTHS = torch.tensor([[10, 4, 3, 1], [9, 3, 3, 2]])


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> Kernels:
    """The kernels, compiled for the CPU."""
    folder = tmp_path_factory.mktemp("kernels")
    return Kernels(*kernels_on_cpu(folder, SOURCE, Kernels._fields, THREADS, 0))


@pytest.fixture
def on_cpu(kernels, monkeypatch) -> None:
    monkeypatch.setattr(maxima_kernels, "kernels", lambda _device: kernels)


def rows_beyond() -> Tensor:
    """Rows beyond the lengths of two repeats, (2, rows)."""
    step = torch.cat([torch.full((count,), number) for number, count in enumerate(COUNTS)])
    place = torch.cat([torch.arange(count) for count in COUNTS])
    return step >= LENGTHS[:, place]


def results(form, values: Tensor, beyond: Tensor, scale: Tensor) -> list[Tensor]:
    leaf = values.detach().requires_grad_()
    maxima = form.apply(COUNTS, leaf, beyond)
    return [maxima, *torch.autograd.grad((maxima * scale).sum(), leaf)]


@pytest.mark.parametrize("groups", [(), (3,)], ids=["one group", "several groups of a mask"])
@pytest.mark.parametrize("width", [5, 200])
def test_the_kernels_equal_the_frameworks_operators(on_cpu, groups, width):
    # Few different numbers, so that maxima are shared.
    values = torch.randint(0, 3, (2, *groups, sum(COUNTS), width)).float()
    beyond = rows_beyond().view(2, *(1 for _ in groups), -1)
    values.masked_fill_(beyond[..., None], 7.0)
    scale = torch.randn(2, *groups, COUNTS[0], width)
    for own, expected in zip(*(results(f, values, beyond, scale) for f in (KernelMaxima, TimeMaxima)), strict=True):
        torch.testing.assert_close(own, expected)


def test_what_is_not_a_number_is_the_maximum(on_cpu):
    values = torch.randn(2, sum(COUNTS), 3)
    values[0, 1, 2] = float("nan")
    maxima = KernelMaxima.apply(COUNTS, values, rows_beyond())
    assert maxima.isnan().nonzero().tolist() == [[0, 1, 2]]


def test_without_a_row_that_counts_the_maximum_is_minus_infinity_as_with_the_frameworks(on_cpu):
    values, beyond = torch.randn(2, sum(COUNTS), 3), rows_beyond()
    beyond[:, [0, 4, 8, 12]] = True
    beyond[1, 14:] = True
    found, expected = (form.apply(COUNTS, values, beyond) for form in (KernelMaxima, TimeMaxima))
    assert torch.equal(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_kernels_equal_the_frameworks_operators_and_their_results_repeat():
    values = torch.randint(0, 3, (2, 3, sum(COUNTS), 128), device="cuda").float()
    beyond, scale = rows_beyond().cuda()[:, None], torch.randn(2, 3, COUNTS[0], 128, device="cuda")
    assert maxima_kernels.fuses(values)
    given = values, beyond, scale
    found = zip(results(KernelMaxima, *given), results(KernelMaxima, *given), results(TimeMaxima, *given), strict=True)
    for own, again, expected in found:
        assert torch.equal(own, again)
        torch.testing.assert_close(own, expected)
