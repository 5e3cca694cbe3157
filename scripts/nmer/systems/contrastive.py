"""Stage-A pretraining of CIF-MMIN: invariant features learned by contrast between modalities."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.systems.blocks.encoders import HIDDEN, joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import ContrastiveTowers, TowerSystem
from nmer.systems.interface import Batch, halves, summed
from nmer.systems.registry import system

PAIRS = {("l", "v"): 0.25, ("l", "a"): 0.25, ("v", "a"): 0.5}
"""Weight of the contrast of each pair of modalities. With fewer modalities the weights are divided by their sum."""


@system("contrastive", pretraining="none", regimes=(), fewest_modalities=2)
class Contrastive(TowerSystem):
    """Specific features are classified; the invariance tower learns only from the contrast between modalities."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float) -> None:
        super().__init__(dims, classes, dropout)
        self.towers = ContrastiveTowers(dims)
        self.projections = nn.ModuleDict({modality: projection_head() for modality in self.modalities})
        self.classifier = classifier_head(joint_width(dims), (128, 128), classes, dropout)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of h, and the projected invariant features per modality for the contrast."""
        specific, _ = halves(encodings)
        projected = {
            f"projected_{modality}": self.projections[modality](encodings[modality][:, HIDDEN:])
            for modality in self.modalities
        }
        return projected | {"logits": self.classifier(specific)}

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy and the weighted mean of the contrasts of the pairs of modalities."""
        pairs = {pair: weight for pair, weight in PAIRS.items() if set(pair) <= set(self.modalities)}
        contrasts = [
            weight / sum(pairs.values()) * contrast(outputs[f"projected_{one}"], outputs[f"projected_{other}"])
            for (one, other), weight in pairs.items()
        ]
        return super().loss_terms(outputs, batch) | {"contrast": summed(contrasts)}


def projection_head() -> nn.Sequential:
    """Projection from a modality's invariant features to the space of the contrast."""
    return nn.Sequential(
        nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(), nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU()
    )


def contrast(first: Tensor, second: Tensor) -> Tensor:
    """Decoupled InfoNCE of two modalities of the same utterances, both directions averaged; 0 for a single utterance.

    first, second: (batch, width). The similarity is e times the cosine; the positive is not in the denominator.
    """
    count = len(first)
    similarity = math.e * functional.normalize(first, dim=1) @ functional.normalize(second, dim=1).T
    own = similarity.diagonal()
    if count == 1:
        return 0.0 * own.sum()
    others = similarity.masked_fill(torch.eye(count, dtype=torch.bool, device=first.device), float("-inf"))
    return ((others.logsumexp(dim=1) + others.logsumexp(dim=0)) / 2 - own).mean()
