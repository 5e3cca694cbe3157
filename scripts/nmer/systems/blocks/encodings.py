"""Operations of training and evaluation on encodings, which are tensors or named tuples of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nmer.systems.interface import Encoding


def first_field(encoding: Encoding) -> Tensor:
    """Return the encoding, or the first tensor of a named tuple. Its first axis is that of the utterances."""
    found: Tensor = encoding if isinstance(encoding, Tensor) else encoding[0]
    return found


def select(encoding: Encoding, chosen: Tensor, axis: int = 0) -> Encoding:
    """Select the utterances at some positions, (chosen,) int64. axis: of the utterances, 1 after an axis of repeats."""
    if isinstance(encoding, Tensor):
        return encoding.index_select(axis, chosen)
    return type(encoding)(*(field.index_select(axis, chosen) for field in encoding))


def frames_of(encoding: Encoding, axis: int = 0) -> int:
    """Return the padded frames of an utterance, 1 without frames. axis: as in :func:`select`."""
    fields = [encoding] if isinstance(encoding, Tensor) else list(encoding)
    return max((field.shape[axis + 1] for field in fields if field.dim() >= axis + 3), default=1)


def part(encoding: Encoding, start: int, end: int) -> Encoding:
    """Return the utterances from ``start`` to ``end``, exclusive."""
    if isinstance(encoding, Tensor):
        return encoding[start:end]
    return type(encoding)(*(field[start:end] for field in encoding))


def join(parts: Sequence[Encoding], axis: int = 0) -> Encoding:
    """Concatenate the utterances of the parts. Frames are padded with zeros to the longest part. axis: as in
    :func:`select`."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts), dim=axis)
    return type(parts[0])(*(join_padded(fields, axis) for fields in zip(*parts, strict=True)))


def join_padded(fields: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Concatenate tensors. Those with frames, on the axis after the utterances, are padded with zeros."""
    if fields[0].dim() >= axis + 3:
        longest = max(field.shape[axis + 1] for field in fields)
        fields = [_padded(field, axis + 1, longest) for field in fields]
    return torch.cat(list(fields), dim=axis)


def _padded(field: Tensor, axis: int, longest: int) -> Tensor:
    behind = [0, 0] * (field.dim() - 1 - axis)
    return functional.pad(field, (*behind, 0, longest - field.shape[axis]))
