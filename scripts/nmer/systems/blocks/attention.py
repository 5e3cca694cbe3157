"""Multi-head attention that ignores padding, learned tokens, and batches ordered by length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from nmer.systems.blocks.encodings import join_padded
from nmer.systems.blocks.recurrence import pads
from nmer.systems.interface import Sequences

ROWS_OF_A_BLOCK = 16
"""Utterances that a CPU encodes at once, ordered by length. Few of them differ little in length."""


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
    """Learned tokens or positions, (count, width), in a module so that their gradient is clipped."""

    def __init__(self, count: int, width: int, start: Literal["zeros", "ones", "normal"]) -> None:
        super().__init__()
        fill = {"zeros": torch.zeros, "ones": torch.ones, "normal": torch.randn}[start]
        self.values = nn.Parameter(fill(count, width))

    def forward(self, batch: int) -> Tensor:
        """The tokens of every utterance: (batch, count, width)."""
        return self.values.expand(batch, -1, -1)


def frame_means(values: Tensor, valid: Tensor) -> Tensor:
    """Average over the valid frames: (batch, width). values: (batch, longest, width). valid: (batch, longest)."""
    found: Tensor = values.masked_fill(~valid[:, :, None], 0.0).sum(dim=1) / valid.sum(dim=1, keepdim=True)
    return found


Block = tuple[Tensor | slice, Sequences]
"""Some utterances of a batch: their positions, and their frames, padded to the longest of them."""


def blocks_of_length(sequences: Sequences) -> list[Block]:
    """Split a batch into blocks of utterances of similar lengths, so that a CPU computes less padding.

    Where padding is computed anyway, one block holds the whole batch.
    """
    values, lengths = sequences
    if pads(values) or len(lengths) <= ROWS_OF_A_BLOCK:
        return [(slice(None), sequences)]
    blocks: list[Block] = []
    for rows in lengths.argsort(stable=True).split(ROWS_OF_A_BLOCK):
        longest = int(lengths[rows[-1]])
        blocks.append((rows, Sequences(values[rows, :longest], lengths[rows])))
    return blocks


def in_order(found: list[Tensor], blocks: list[Block]) -> Tensor:
    """Join the results of the blocks in the order of the batch. Frames are padded with zeros to the longest block."""
    if len(blocks) == 1:
        return found[0]
    rows = torch.cat([cast(Tensor, own) for own, _sequences in blocks])
    return join_padded(found).index_select(0, rows.argsort())


def encode_in_blocks(encode: Callable[[Sequences], Tensor], sequences: Sequences) -> Tensor:
    """Compute ``encode(sequences)``, (batch, width), block by block. encode: treats utterances independently."""
    blocks = blocks_of_length(sequences)
    return in_order([encode(own) for _rows, own in blocks], blocks)
