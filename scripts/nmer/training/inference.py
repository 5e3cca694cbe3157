"""Encoding utterances once per modality, and classifying combinations of the encodings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from nmer.systems.blocks.encodings import first_field, join, part
from nmer.systems.interface import Encoding, Sequences, System

BATCH = 256
"""Utterances that a CPU encodes at once."""

GPU_BATCH = 2048
"""On a GPU, where the time of a batch hardly depends on its size."""


class Served(Protocol):
    """What serves utterances as padded batches, such as a fold's data."""

    def sequences(self, modality: str, rows: Tensor, copies: Tensor, /) -> Sequences:
        """Padded sequences of one modality; rows, copies: (batch,)."""


def encoded_at_once(device: torch.device) -> int:
    """Utterances that a device encodes at once."""
    return BATCH if device.type == "cpu" else GPU_BATCH


@torch.inference_mode()
def encode(system: System, data: Served, modality: str, rows: Tensor, copies: Tensor) -> Encoding:
    """Encodings of one modality, of ``rows`` utterances, by a system in evaluation mode.

    rows: (rows,) utterances. copies: (rows,) the copy of each: 0 clean, 1 noisy, 2 and up further draws.
    """
    size = encoded_at_once(rows.device)
    batches = zip(rows.split(size), copies.split(size), strict=True)
    return join([system.encode(modality, data.sequences(modality, *batch)) for batch in batches])


@torch.inference_mode()
def classify(system: System, encodings: dict[str, Encoding], noisy: Mapping[str, Tensor]) -> Tensor:
    """Class probabilities, (items, classes), by a system in evaluation mode. encodings, noisy: as of :func:`logits`."""
    return logits(system, encodings, noisy).softmax(dim=1)


@torch.inference_mode()
def logits(system: System, encodings: dict[str, Encoding], noisy: Mapping[str, Tensor]) -> Tensor:
    """Logits, (items, classes), by a system in evaluation mode. encodings: of the items, per modality. noisy: per
    modality (items,) bool, read only by a system with ``noise_flags``."""
    items = first_field(next(iter(encodings.values())))
    parts = []
    for start in range(0, len(items), BATCH):
        end = start + BATCH
        own = {modality: part(encoding, start, end) for modality, encoding in encodings.items()}
        flags = {modality: flag[start:end] for modality, flag in noisy.items()}
        parts.append(system.fuse_observed(own, flags)["logits"])
    return torch.cat(parts) if parts else torch.empty(0, system.classes, device=items.device)
