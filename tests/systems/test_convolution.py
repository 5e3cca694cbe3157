"""Maxima over windows equal those of an image convolution as wide as a token, text by text."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nmer.systems.blocks.convolution import window_maxima

LENGTHS = {"uneven": (9, 4, 12, 5), "equal": (7, 7, 7), "as short as the window": (4, 4), "one": (6,)}
FILTERS, DIM = 8, 5


def texts(lengths: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.randn(tokens, DIM, dtype=torch.float64, requires_grad=True) for tokens in lengths]


def one_by_one(convolution: nn.Conv2d, sequences: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([convolution(text[None, None]).amax(dim=(2, 3))[0] for text in sequences])


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("window", [1, 3, 4])
@pytest.mark.parametrize("kept", [1.0, 0.5, 0.0], ids=lambda share: f"{share} of the gradient")
def test_maxima_and_every_gradient_are_those_of_an_image_convolution(lengths, window, kept):
    convolution = nn.Conv2d(1, FILTERS, (window, DIM)).double()
    sequences = texts(lengths)
    weight = torch.randn(len(sequences), FILTERS, dtype=torch.float64)
    weight *= torch.rand_like(weight) < kept
    tokens = nn.utils.rnn.pad_sequence(sequences, padding_value=1e6)
    found = window_maxima(tokens, convolution.weight.squeeze(1), convolution.bias, torch.tensor(lengths))
    expected = one_by_one(convolution, sequences)
    torch.testing.assert_close(found, expected)
    leaves = [convolution.weight, convolution.bias, *sequences]
    gradients = (torch.autograd.grad((maxima * weight).sum(), leaves) for maxima in (found, expected))
    for gradient, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, reference)
