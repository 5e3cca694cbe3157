"""Encoding utterances once per modality, and classifying combinations of the encodings."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from nmer.systems.interface import Sequences, System

BATCH = 256
"""Utterances that a CPU encodes at once."""

GPU_BATCH = 2048
"""On a GPU, where the time of a batch hardly depends on its size."""


class Served(Protocol):
    """What serves utterances as padded batches, such as a fold's data."""

    def sequences(self, modality: str, rows: Tensor, copies: Tensor, /) -> Sequences:
        """Padded sequences of one modality; rows, copies: (batch,)."""


@torch.inference_mode()
def encode(system: System, data: Served, modality: str, rows: Tensor, copies: Tensor) -> Tensor:
    """Encodings of one modality, (rows, width), by a system in evaluation mode.

    rows: (rows,) utterances. copies: (rows,) the copy of each: 0 clean, 1 noisy, 2 and up further draws.
    """
    size = BATCH if rows.device.type == "cpu" else GPU_BATCH
    batches = zip(rows.split(size), copies.split(size), strict=True)
    return torch.cat([system.encode(modality, data.sequences(modality, *batch)) for batch in batches])


@torch.inference_mode()
def classify(system: System, encodings: dict[str, Tensor]) -> Tensor:
    """Class probabilities, (items, classes), by a system in evaluation mode. encodings: (items, width) per modality."""
    return logits(system, encodings).softmax(dim=1)


@torch.inference_mode()
def logits(system: System, encodings: dict[str, Tensor]) -> Tensor:
    """Logits, (items, classes), by a system in evaluation mode. encodings: (items, width) per modality."""
    items = next(iter(encodings.values()))
    parts = [
        system.fuse({modality: encoding[start : start + BATCH] for modality, encoding in encodings.items()})["logits"]
        for start in range(0, len(items), BATCH)
    ]
    return torch.cat(parts) if parts else items.new_empty(0, system.classes)
