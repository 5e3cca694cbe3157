"""Encoding of utterances, once per modality, and classification of combinations of encodings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from nmer.systems.blocks.encodings import first_field, join, part
from nmer.systems.interface import Encoding, Sequences, System

BATCH = 256
"""Utterances per encoding batch on a CPU."""

GPU_BATCH = 2048
"""Utterances per encoding batch on a GPU, where the time of a batch hardly depends on its size."""

GPU_ITEMS = 1024
"""Items per classification batch on a GPU. Encodings may be sequences, whose attention is large."""


class SequenceSource(Protocol):
    """A source of padded sequences, such as the data of a fold."""

    def sequences(self, modality: str, rows: Tensor, copies: Tensor, /) -> Sequences:
        """Return padded sequences of one modality. rows, copies: (batch,)."""


def encoding_batch(device: torch.device) -> int:
    """Return the number of utterances that a device encodes at once."""
    return BATCH if device.type == "cpu" else GPU_BATCH


@torch.inference_mode()
def encode(system: System, data: SequenceSource, modality: str, rows: Tensor, copies: Tensor) -> Encoding:
    """Encode one modality of some utterances by a system in evaluation mode.

    rows: (rows,) utterances. copies: (rows,) the copy of each: 0 clean, 1 noisy, 2 and up additional draws.
    """
    size = encoding_batch(rows.device)
    batches = zip(rows.split(size), copies.split(size), strict=True)
    return join([system.encode(modality, data.sequences(modality, *batch)) for batch in batches])


def encode_states(
    system: System, data: SequenceSource, modality: str, rows: Tensor, states: int, jointly: bool
) -> list[Encoding]:
    """Encode one modality of some utterances in every state: clean, and noisy if there are two.

    Other arguments as in :func:`encode`. jointly: whether to encode all states in the same batches, which a GPU does in
    the time of one.
    """
    if not jointly:
        return [encode(system, data, modality, rows, torch.full_like(rows, state)) for state in range(states)]
    copies = torch.arange(states, device=rows.device).repeat_interleave(len(rows))
    encoding = encode(system, data, modality, rows.repeat(states), copies)
    return [part(encoding, state * len(rows), (state + 1) * len(rows)) for state in range(states)]


@torch.inference_mode()
def classify(system: System, encodings: dict[str, Encoding], noisy: Mapping[str, Tensor]) -> Tensor:
    """Return class probabilities (items, classes) of a system in evaluation mode. Arguments as in :func:`logits`."""
    return logits(system, encodings, noisy).softmax(dim=1)


@torch.inference_mode()
def logits(system: System, encodings: dict[str, Encoding], noisy: Mapping[str, Tensor]) -> Tensor:
    """Return logits (items, classes) of a system in evaluation mode.

    encodings: per modality, of the items. noisy: per modality (items,) bool, read only by systems with ``noise_flags``.
    """
    items = first_field(next(iter(encodings.values())))
    size = BATCH if items.device.type == "cpu" else GPU_ITEMS
    parts = []
    for start in range(0, len(items), size):
        end = start + size
        batch = {modality: part(encoding, start, end) for modality, encoding in encodings.items()}
        flags = {modality: flag[start:end] for modality, flag in noisy.items()}
        parts.append(system.fuse_observed(batch, flags)["logits"])
    return torch.cat(parts) if parts else torch.empty(0, system.classes, device=items.device)
