"""Encoding utterances once per modality and combining the encodings into predictions under any condition."""

from __future__ import annotations

import torch
from torch import Tensor

from nmer.names import MODALITIES
from nmer.plan.conditions import NOISY_FLAGS
from nmer.systems.interface import System
from nmer.training.data import FoldData

BATCH = 256


@torch.inference_mode()
def encode_rows(system: System, data: FoldData, rows: Tensor, copies: int | dict[str, Tensor]) -> dict[str, Tensor]:
    """Encodings of copies of the rows' features (0 clean, 1 noisy, further draws), per modality (rows, width), in
    evaluation mode. copies: one for all, or per modality (rows,) of each."""
    system.eval()

    def encoded(modality: str) -> Tensor:
        chosen = torch.full_like(rows, copies) if isinstance(copies, int) else copies[modality]
        batches = zip(rows.split(BATCH), chosen.split(BATCH), strict=True)
        return torch.cat([system.encode(modality, data.sequences(modality, *batch)) for batch in batches])

    return {modality: encoded(modality) for modality in system.modalities}


@torch.inference_mode()
def probabilities(
    system: System, clean: dict[str, Tensor], noisy: dict[str, Tensor], condition: str, items: Tensor
) -> Tensor:
    """Class probabilities under one condition, (items, classes), in evaluation mode.

    clean, noisy: encodings per modality. items: positions in them.
    """
    system.eval()
    chosen = {
        modality: (noisy if flag else clean)[modality][items]
        for modality, flag in zip(MODALITIES, NOISY_FLAGS[condition], strict=True)
        if modality in system.modalities
    }
    parts = [
        system.fuse({modality: encoding[start : start + BATCH] for modality, encoding in chosen.items()})["logits"]
        for start in range(0, len(items), BATCH)
    ]
    return torch.cat(parts).softmax(dim=1) if parts else torch.empty(0, system.classes, device=items.device)
