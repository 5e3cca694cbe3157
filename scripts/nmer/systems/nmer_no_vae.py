"""NMER without the VAE: specific and invariant features are classified directly (SPEC 4.5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nmer.systems.blocks.encoders import joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import InvariantSystem
from nmer.systems.interface import Batch, halves
from nmer.systems.registry import system


@system("nmer_no_vae", ablation_of="nmer", regimes=("incomplete",))
class NmerNoVae(InvariantSystem):
    """Cross-entropy on [h; H] and the invariance term; its options are those configured for NMER."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.classifier = classifier_head(2 * joint_width(dims), (384, 128), classes, dropout)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of [h; H] and the invariant features H."""
        specific, invariant = halves(encodings)
        return {"logits": self.classifier(torch.cat([specific, invariant], dim=1)), "invariant": invariant}

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Invariance and cross-entropy."""
        _, target_invariant = halves(batch.teacher_clean)
        return {
            "invariance": functional.mse_loss(outputs["invariant"], target_invariant),
            "classification": self.target_loss(outputs, batch),
        }
