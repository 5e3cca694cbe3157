"""NMER without the VAE: specific and invariant features are classified as they are (SPEC 4.5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nmer.systems.blocks.encoders import joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import TOWERS, TowerSystem
from nmer.systems.interface import Batch, halves
from nmer.systems.registry import system


@system(
    "nmer_no_vae",
    ablation_of="nmer",
    pretraining={"invariance": {"two_tower": "two_tower", "stacked": "shared"}},
    regimes=("incomplete",),
    fewest_modalities=2,
    minimum={"invariance_weight": 0.0, "classification_weight": 0.0},
    choices={"invariance": ("two_tower", "stacked"), "invariant_features": ("raw", "sigmoid", "tanh")},
    options={
        "invariance": "two_tower",
        "invariant_features": "raw",
        "invariance_weight": 10.0,
        "classification_weight": 1.0,
    },
)
class NmerNoVae(TowerSystem):
    """Cross-entropy on [h; H] and the invariance term; it takes those options that NMER is given."""

    inherited = ("towers",)

    def __init__(
        self,
        dims: dict[str, int],
        classes: int,
        dropout: float,
        *,
        invariance: str,
        invariant_features: str,
        invariance_weight: float,
        classification_weight: float,
    ) -> None:
        super().__init__(dims, classes, dropout)
        self.towers = TOWERS[invariance](dims, invariant_features)
        self.classifier = classifier_head(2 * joint_width(dims), (384, 128), classes, dropout)
        self.weights = {"invariance": invariance_weight, "classification": classification_weight}

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of [h; H] and the invariant features H."""
        specific, invariant = halves(encodings)
        return {"logits": self.classifier(torch.cat([specific, invariant], dim=1)), "invariant": invariant}

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Invariance and cross-entropy terms, weighted."""
        _, target_invariant = halves(batch.teacher_clean)
        terms = {
            "invariance": functional.mse_loss(outputs["invariant"], target_invariant),
            "classification": self.target_loss(outputs, batch),
        }
        return self.weighted(terms)
