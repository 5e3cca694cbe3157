"""Convolutions over windows of tokens, reduced to their maximum over time (SPEC 3.1).

A convolution over whole tokens is the sum of one matrix product per token of the window. With tokens ordered by time,
each product reads consecutive rows of one array, so windows need not be copied. A maximum depends on one window, so the
gradient of a filter sums one window per utterance, a small part of a matrix product. A GPU copies the windows and
computes one product, because looking up the winning windows would synchronise it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nmer.systems.blocks.recurrence import pads, time_maxima, under_autocast


def window_maxima(tokens: Tensor, weights: Tensor, biases: Tensor, lengths: Tensor) -> Tensor:
    """Return the largest response of every filter to a window within each text: (batch, filters).

    tokens: (longest, batch, dim). weights: (filters, window, dim). biases: (filters,). lengths: (batch,) tokens of each
    text, none shorter than the window.
    """
    if pads(tokens) or under_autocast(tokens):
        window = weights.shape[1]
        windows = tokens.unfold(0, window, 1).transpose(2, 3).flatten(2)
        responses = functional.linear(windows, weights.flatten(1), biases)
        beyond = torch.arange(len(windows), device=lengths.device)[:, None] > lengths - window
        return time_maxima((tokens.shape[1],) * len(windows), responses.flatten(0, 1), beyond.flatten())
    maxima: Tensor = _WindowMaxima.apply(tokens, weights, biases, lengths)  # type: ignore[no-untyped-call]
    return maxima


class _WindowMaxima(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weights: Tensor, biases: Tensor, lengths: Tensor) -> Tensor:
        longest, batch, _dim = tokens.shape
        window = weights.shape[1]
        starts = longest - window + 1
        rows = tokens.flatten(0, 1)
        responses = biases.repeat(starts * batch, 1)
        for position in range(window):
            responses.addmm_(rows[position * batch : (position + starts) * batch], weights[:, position].T)
        responses = responses.unflatten(0, (starts, batch))
        beyond = torch.arange(starts, device=lengths.device)[:, None] > lengths - window
        if beyond.any():
            responses.masked_fill_(beyond[:, :, None], float("-inf"))
        maxima: Tensor
        maxima, start = responses.max(dim=0)
        ctx.save_for_backward(rows, weights, start)
        ctx.shape = tokens.shape
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weights, start = ctx.saved_tensors
        _longest, batch, _dim = ctx.shape
        given = gradient.T.contiguous()
        # Dropout and ReLU leave most elements without a gradient, so windows with zero gradient are skipped.
        filters, text = given.nonzero(as_tuple=True)
        first = start.T[filters, text] * batch + text
        added = given[filters, text]
        bounds = functional.pad((given != 0).sum(dim=1).cumsum(dim=0), (1, 0))[:-1]
        of_weights = [
            functional.embedding_bag(first + position * batch, rows, bounds, mode="sum", per_sample_weights=added)
            for position in range(weights.shape[1])
        ]
        of_tokens = None
        if ctx.needs_input_grad[0]:
            # Features need no gradient, but the input of a system may be learned.
            of_tokens = torch.zeros_like(rows)
            for position in range(weights.shape[1]):
                of_tokens.index_add_(0, first + position * batch, added[:, None] * weights[filters, position])
            of_tokens = of_tokens.view(ctx.shape)
        return of_tokens, torch.stack(of_weights, dim=1), gradient.sum(dim=0), None
