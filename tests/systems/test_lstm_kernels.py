"""The CUDA kernels of LSTMs, compiled for the CPU, equal the framework's LSTM."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from cuda_on_cpu import kernels_on_cpu
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nmer.systems.blocks import lstm_kernels
from nmer.systems.blocks.fused_lstm import LstmOutputs
from nmer.systems.blocks.lstm_kernels import HIDDEN, SHARED, SOURCE, THREADS, KernelOutputs, Kernels
from nmer.systems.blocks.recurrence import lstm_maxima, lstm_outputs, lstm_weights
from nmer.systems.blocks.repeats import compute_stacked
from nmer.systems.blocks.step_counts import Counts, exact_counts, first_rows, larger, stated_counts
from nmer.systems.interface import Sequences

DIM = 5


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> Kernels:
    """The kernels, compiled for the CPU."""
    folder = tmp_path_factory.mktemp("kernels")
    return Kernels(*kernels_on_cpu(folder, SOURCE, Kernels._fields, THREADS, max(SHARED.values())))


def use(kernels: Kernels, monkeypatch) -> None:
    """Let LSTMs of stacked repeats use the kernels."""
    monkeypatch.setattr(lstm_kernels, "kernels", lambda _device: kernels)
    monkeypatch.setattr(lstm_kernels, "fuses", lambda _weights: True)


@pytest.fixture
def on_cpu(kernels, monkeypatch) -> None:
    use(kernels, monkeypatch)


def outputs_of(counts: Counts, *given: Tensor) -> Tensor:
    return KernelOutputs.apply(counts, first_rows(counts, given[0].device), *given)


def references(lstms: list[nn.LSTM], lengths: list[int], values: Tensor) -> Tensor:
    """Return outputs of the framework's LSTMs, (LSTMs, batch, longest, hidden), zero beyond each length."""
    found = [lstm(values)[0] for lstm in lstms]
    inside = torch.arange(values.shape[1]) < torch.tensor(lengths)[:, None]
    return torch.stack(found) * inside[..., None]


def rows(counts: Counts, padded: Tensor) -> Tensor:
    """Return the rows, step by step, of (LSTMs, batch, longest, width)."""
    return torch.cat([padded[:, :count, step] for step, count in enumerate(counts)], dim=1)


@pytest.mark.parametrize(
    "counts",
    [(4, 4, 2, 1, 1), (5, 3, 3, 1), (3,) * 4, (1,), (7, 6, 5, 4, 3, 2, 1)],
    ids=["pairs", "odd", "equal", "single", "one by one"],
)
@pytest.mark.parametrize("number", [1, 3])
def test_the_kernels_and_their_gradients_equal_the_frameworks(on_cpu, counts, number):
    lstms = [nn.LSTM(DIM, HIDDEN, batch_first=True) for _ in range(number)]
    lengths = [sum(count > place for count in counts) for place in range(counts[0])]
    values = torch.randn(counts[0], len(counts), DIM, requires_grad=True)
    weights = [lstm_weights(lstm) for lstm in lstms]
    products = torch.stack([rows(counts, (values @ own[0].T)[None])[0] for own in weights])
    biases, hidden_weights = torch.stack([own[2] + own[3] for own in weights]), torch.stack([o[1] for o in weights])
    (found,) = outputs_of(counts, *(part[None] for part in (biases, hidden_weights, products)))
    expected = rows(counts, references(lstms, lengths, values))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    scale = torch.randn(found.shape)
    leaves = [values, *(parameter for own in weights for parameter in own)]
    gradients = (torch.autograd.grad((outputs * scale).sum(), leaves) for outputs in (found, expected))
    for own, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-4)


def test_products_of_lstms_that_alternate_in_memory_are_read_where_they_are(on_cpu):
    given = torch.randn(3, 2, 512), torch.randn(3, 2, 512, HIDDEN) / 8
    products = torch.randn(3, 7, 2, 512).movedim(2, 1)
    assert lstm_kernels._dense(products) is products
    scale = torch.randn(3, 2, 7, HIDDEN)

    def found(*given: Tensor) -> list[Tensor]:
        leaves = [part.detach().requires_grad_() for part in given]
        outputs = outputs_of((4, 2, 1), *leaves)
        return [outputs, *torch.autograd.grad((outputs * scale).sum(), leaves)]

    for own, expected in zip(found(*given, products), found(*given, products.contiguous()), strict=True):
        torch.testing.assert_close(own, expected)


def test_products_that_share_memory_are_copied(on_cpu):
    given = torch.randn(2, 1, 512), torch.randn(2, 1, 512, HIDDEN) / 8
    products = torch.randn(1, 1, 7, 512).expand(2, -1, -1, -1)
    assert torch.equal(outputs_of((4, 2, 1), *given, products), outputs_of((4, 2, 1), *given, products.contiguous()))


def test_without_gradients_the_outputs_are_the_same(on_cpu):
    given = torch.randn(2, 1, 512), torch.randn(2, 1, 512, HIDDEN) / 8, torch.randn(2, 1, 7, 512)
    with_gradients = outputs_of((4, 2, 1), *(part.requires_grad_() for part in given))
    with torch.no_grad():
        assert torch.equal(outputs_of((4, 2, 1), *(part.detach() for part in given)), with_gradients)


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that an operator returns."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.device.type != "meta":
            self.size = max(self.size, found.numel())
        return found


def test_without_gradients_nothing_as_large_as_the_products_is_allocated(on_cpu):
    given = torch.randn(2, 1, 512), torch.randn(2, 1, 512, HIDDEN), torch.randn(2, 1, 7 * HIDDEN, 512)
    with Largest() as largest:
        outputs_of((4 * HIDDEN, 2 * HIDDEN, HIDDEN), *given)
    assert largest.size == given[2].numel() // 4


def test_rows_are_not_read_beyond_those_of_a_step(on_cpu):
    """An odd number of utterances leaves half a block idle."""
    lstm = nn.LSTM(DIM, HIDDEN, batch_first=True)
    values = torch.randn(3, 6, DIM)
    (together,) = lstm_outputs([(values, [lstm_weights(lstm)])])
    for utterance in range(3):
        (alone,) = lstm_outputs([(values[utterance : utterance + 1], [lstm_weights(lstm)])])
        torch.testing.assert_close(together[:, :, utterance], alone[:, :, 0], rtol=0, atol=0)


def test_several_lstms_that_read_sequences_of_different_lengths_are_the_same_with_the_kernels(kernels, monkeypatch):
    lstms = [nn.LSTM(DIM, HIDDEN, batch_first=True) for _ in range(4)]
    weights = [lstm_weights(lstm) for lstm in lstms]
    given = [torch.randn(2, 3, longest, DIM) for longest in (4, 9, 4)]
    leaves = [parameter for lstm in lstms for parameter in lstm.parameters()]

    def outputs(*values: Tensor) -> tuple[Tensor, ...]:
        return tuple(lstm_outputs([(values[0], weights[:1]), (values[1], weights[1:3]), (values[2], weights[3:])]))

    def found() -> list[Tensor]:
        each = compute_stacked(outputs, [torch.Generator() for _ in range(2)], *given)
        return [*each, *torch.autograd.grad(sum(own.square().sum() for own in each), leaves)]

    expected = found()
    use(kernels, monkeypatch)
    for own, other in zip(found(), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bounded", [True, False], ids=["ended utterances left out", "padded"])
def test_maxima_of_stacked_repeats_are_the_same_with_the_kernels(kernels, monkeypatch, bounded):
    lstms = [nn.LSTM(DIM, HIDDEN, batch_first=True) for _ in range(2)]
    lengths = torch.tensor([[3, 9, 1, 4, 9], [2, 2, 9, 5, 1]])
    values = torch.randn(2, 5, 9, DIM) * (torch.arange(9) < lengths[..., None])[..., None]
    counts = larger(*(exact_counts(own, 9) for own in lengths.numpy()))
    leaves = [parameter for lstm in lstms for parameter in lstm.parameters()]

    def found() -> list[Tensor]:
        with stated_counts({(5, 9): counts} if bounded else {}):
            maxima = compute_stacked(
                lambda *given: lstm_maxima(lstms, Sequences(*given)),
                [torch.Generator() for _ in range(2)],
                values,
                lengths,
            )
        return [maxima, *torch.autograd.grad(maxima.square().sum(), leaves)]

    expected = found()
    use(kernels, monkeypatch)
    for own, other in zip(found(), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("hidden", "dtype", "found"),
    [(HIDDEN, torch.float32, True), (HIDDEN, torch.float64, False), (HIDDEN // 2, torch.float32, False)],
)
def test_only_lstms_of_128_units_in_single_precision_have_kernels(kernels, monkeypatch, hidden, dtype, found):
    monkeypatch.setattr(lstm_kernels, "kernels", lambda _device: kernels)
    shape, device = (2, 4 * hidden, hidden), torch.device("cuda", 0)
    weights = SimpleNamespace(is_cuda=True, dtype=dtype, shape=shape, device=device)
    assert lstm_kernels.fuses(weights) == found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_kernels_equal_the_steps_and_their_results_repeat():
    counts = (128, *sorted(torch.randint(1, 129, (208,)).tolist(), reverse=True))
    given = [torch.randn(3, 2, 512), torch.randn(3, 2, 512, HIDDEN) / 12, torch.randn(3, sum(counts), 2, 512)]
    given = [part.cuda().requires_grad_() for part in given]
    assert lstm_kernels.fuses(given[1])
    scale = torch.randn(3, 2, sum(counts), HIDDEN, device="cuda")

    def found(form) -> list[Tensor]:
        outputs = form(*given[:2], given[2].movedim(2, 1))
        return [outputs, *torch.autograd.grad((outputs * scale).sum(), given)]

    def by_steps(*given: Tensor) -> Tensor:
        (outputs,) = LstmOutputs.apply(counts, *(part.flatten(0, 1) for part in given))
        return outputs.unflatten(0, (3, 2))

    kernels = partial(outputs_of, counts)
    for own, again, steps in zip(found(kernels), found(kernels), found(by_steps), strict=True):
        assert torch.equal(own, again)
        assert (own - steps).norm() / steps.norm() < 1e-5
