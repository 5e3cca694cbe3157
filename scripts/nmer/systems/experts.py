"""Stage-A pretraining of MoMKE: the expert of each modality learns from that clean modality."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nmer.systems.blocks.modality_experts import WIDTH, ExpertSystem
from nmer.systems.interface import Batch, Sequences, summed
from nmer.systems.registry import system


@system("experts", pretraining="none", regimes=(), fewest_modalities=2, passed_on=("depth", "heads", "tokens"))
class Experts(ExpertSystem):
    """Projection, expert and linear classifier of each modality; the modalities share no weights."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.classifiers = nn.ModuleDict({modality: nn.Linear(WIDTH, classes) for modality in self.modalities})

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """Mean over the frames of the modality's expert: (batch, 256)."""

        def encoded(frames: Tensor, valid: Tensor) -> Tensor:
            found: Tensor = self.experts[modality](frames, valid)
            return found

        return self.mean_over_frames(modality, sequences, encoded)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of each modality, and their mean, which selects the epoch."""
        own = {f"logits_{modality}": self.classifiers[modality](encodings[modality]) for modality in self.modalities}
        return own | {"logits": torch.stack(list(own.values())).mean(dim=0)}

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Sum of the cross-entropies of the modalities."""
        own = [self.target_loss({"logits": outputs[f"logits_{m}"]}, batch) for m in self.modalities]
        return {"classification": summed(own)}
