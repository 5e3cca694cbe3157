"""LSTMs computed jointly over valid frames equal the framework's LSTM, utterance by utterance."""

from __future__ import annotations

import pytest
import torch
from small_systems import padded
from torch import nn
from torch.func import functional_call, stack_module_state

from nmer.systems.blocks.recurrence import lstm_maxima
from nmer.systems.blocks.repeats import compute_stacked
from nmer.systems.blocks.step_counts import Counts, exact_counts, larger, stated_counts
from nmer.systems.interface import Sequences

LENGTHS = {"uneven": (3, 1, 11, 7, 11, 2), "equal": (5, 5, 5), "one": (4,), "single frames": (1, 1)}


def lstms(count: int, dim: int = 4, hidden: int = 6) -> list[nn.LSTM]:
    return [nn.LSTM(dim, hidden, batch_first=True).double() for _ in range(count)]


def one_by_one(lstm: nn.LSTM, utterances: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([lstm(frames[None])[0][0].amax(dim=0) for frames in utterances])


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_maxima_and_every_gradient_are_those_of_the_framework(lengths, count):
    parts = lstms(count)
    utterances = [torch.randn(frames, 4, dtype=torch.float64, requires_grad=True) for frames in lengths]
    weight = torch.randn(count, len(lengths), 6, dtype=torch.float64)
    leaves = [*utterances, *(parameter for lstm in parts for parameter in lstm.parameters())]
    found = lstm_maxima(parts, padded(utterances))
    expected = torch.stack([one_by_one(lstm, utterances) for lstm in parts])
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad((maxima * weight).sum(), leaves) for maxima in (found, expected))
    for gradient, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, reference)


def test_frames_that_share_a_maximum_share_its_gradient_as_the_frameworks_do():
    # With zero weights the output depends only on the biases, so the frames of an utterance agree.
    (lstm,) = lstms(1)
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            parameter.fill_(50.0 if "bias" in name else 0.0)
            parameter.view(4, 6, -1)[1] = -50.0
    utterances = [torch.randn(frames, 4, dtype=torch.float64) for frames in (6, 3)]
    found = torch.autograd.grad(lstm_maxima([lstm], padded(utterances)).sum(), lstm.parameters())
    expected = torch.autograd.grad(one_by_one(lstm, utterances).sum(), lstm.parameters())
    for gradient, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=0, atol=1e-12)


def test_frames_beyond_the_length_are_not_read():
    parts, sequences = lstms(2), padded([torch.randn(frames, 4, dtype=torch.float64) for frames in (2, 9, 5)])
    spoilt = sequences.values.masked_fill(~sequences.valid()[:, :, None], float("nan"))
    assert torch.equal(lstm_maxima(parts, Sequences(spoilt, sequences.lengths)), lstm_maxima(parts, sequences))


def test_no_step_is_computed_for_padding(monkeypatch):
    seen, whole = [], torch.addmm
    monkeypatch.setattr(
        torch, "addmm", lambda bias, frames, weight: seen.append(len(frames)) or whole(bias, frames, weight)
    )
    lstm_maxima(lstms(2), padded([torch.randn(frames, 4, dtype=torch.float64) for frames in (2, 40, 3)]))
    assert seen == [45, 45]


def test_second_derivatives_are_refused():
    parts = lstms(1)
    maxima = lstm_maxima(parts, padded([torch.randn(3, 4, dtype=torch.float64)]))
    (gradient,) = torch.autograd.grad(maxima.sum(), [parts[0].weight_ih_l0], create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()


def test_lstms_keep_single_precision_under_autocast():
    parts = [nn.LSTM(4, 6, batch_first=True) for _ in range(2)]
    sequences = padded([torch.randn(frames, 4) for frames in (2, 9, 5)])
    expected = lstm_maxima(parts, sequences)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lstm_maxima(parts, sequences), expected)


class Maxima(nn.Module):
    """LSTMs that read the same sequences."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(lstms(count))

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return lstm_maxima(list(self.parts), Sequences(values, lengths))


def of_repeats(modules: list[Maxima], values: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, dict]:
    """Maxima of stacked repeats in the form for a GPU, and the parameters that they depend on."""
    parameters, _buffers = stack_module_state(modules)

    def one(own, values, lengths):
        return functional_call(modules[0], own, (values, lengths))

    generators = [torch.Generator() for _ in modules]
    return compute_stacked(one, generators, parameters, values, lengths), parameters


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("batch", [1, 7, 16, 50])
def test_stacked_repeats_with_stated_counts_are_those_of_the_framework(count, batch):
    modules, longest = [Maxima(count) for _ in range(3)], 19
    lengths = torch.randint(1, 7, (3, batch), generator=torch.Generator().manual_seed(0))
    lengths[:, batch // 2] = torch.tensor([longest, 11, 3])
    inside = torch.arange(longest) < lengths[:, :, None]
    values = (torch.randn(3, batch, longest, 4, dtype=torch.float64) * inside[..., None]).requires_grad_()
    counts: Counts = (0,) * longest
    for own in lengths.numpy():
        counts = larger(counts, exact_counts(own, longest))
    with stated_counts({(batch, longest): counts}):
        found, parameters = of_repeats(modules, values, lengths)
    expected = torch.stack(
        [
            torch.stack(
                [
                    one_by_one(lstm, [row[:length] for row, length in zip(own, own_lengths, strict=True)])
                    for lstm in module.parts
                ]
            )
            for module, own, own_lengths in zip(modules, values, lengths.tolist(), strict=True)
        ]
    )
    torch.testing.assert_close(found, expected)
    scale = torch.randn(found.shape, dtype=torch.float64)
    own_gradients = torch.autograd.grad((found * scale).sum(), [values, *parameters.values()])
    leaves = [values, *(parameter for module in modules for parameter in module.parameters())]
    references = torch.autograd.grad((expected * scale).sum(), leaves)
    torch.testing.assert_close(own_gradients[0], references[0])
    for number, gradient in enumerate(own_gradients[1:]):
        torch.testing.assert_close(gradient, torch.stack(references[1 + number :: len(parameters)]))


def test_sequences_with_more_frames_than_stated_are_refused():
    modules, values = [Maxima(1) for _ in range(2)], torch.randn(2, 3, 4, 4, dtype=torch.float64)
    with (
        stated_counts({(3, 4): (3, 2, 1, 1)}),
        pytest.raises(RuntimeError, match="more frames than its step counts state"),
    ):
        of_repeats(modules, values, torch.tensor([[4, 2, 1], [4, 4, 1]]))
