"""Multi-head attention over the frames that exist, learned tokens, and batches ordered by length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from nmer.systems.blocks.recurrence import pads
from nmer.systems.interface import Sequences

ROWS_OF_A_BLOCK = 16
"""Utterances that a CPU encodes at once, ordered by length: few, so that they differ little in it."""


def attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    heads: int,
    valid: Tensor | None = None,
    dropout: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Scaled dot-product attention: (batch, queries, width).

    queries: (batch, queries, width). keys, values: (batch, keys, width), the width a multiple of ``heads``. valid:
    (batch, keys) bool, which keys exist, by default all. dropout: applied to the attention weights.
    """
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(-3, -2) for part in (queries, keys, values))
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if valid is not None:
        scores = scores.masked_fill(~valid[:, None, None, :], float("-inf"))
    weights = scores.softmax(dim=-1)
    if dropout is not None:
        weights = dropout(weights)
    found: Tensor = (weights @ value).transpose(-3, -2).flatten(-2)
    return found


class LearnedTokens(nn.Module):
    """Tokens or positions that are learned, (count, width), in a module so that their gradient is clipped."""

    def __init__(self, count: int, width: int, start: Literal["zeros", "ones", "normal"]) -> None:
        super().__init__()
        fill = {"zeros": torch.zeros, "ones": torch.ones, "normal": torch.randn}[start]
        self.values = nn.Parameter(fill(count, width))

    def forward(self, batch: int) -> Tensor:
        """The tokens of every utterance: (batch, count, width)."""
        return self.values.expand(batch, -1, -1)


def frame_means(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the frames that exist: (batch, width). values: (batch, longest, width). valid: (batch, longest)."""
    found: Tensor = values.masked_fill(~valid[:, :, None], 0.0).sum(dim=1) / valid.sum(dim=1, keepdim=True)
    return found


def in_order_of_length(encode: Callable[[Sequences], Tensor], sequences: Sequences) -> Tensor:
    """``encode(sequences)``, (batch, width); a CPU computes utterances of like lengths together, which pads less.

    encode: of padded sequences, every utterance on its own.
    """
    values, lengths = sequences
    if pads(values) or len(lengths) <= ROWS_OF_A_BLOCK:
        return encode(sequences)
    order = lengths.argsort(stable=True)
    encoded = []
    for rows in order.split(ROWS_OF_A_BLOCK):
        longest = int(lengths[rows[-1]])
        encoded.append(encode(Sequences(values[rows, :longest], lengths[rows])))
    return torch.cat(encoded).index_select(0, order.argsort())
