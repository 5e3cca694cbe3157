"""Masked-attention fusion: a learnt query attends over the modalities and can turn away from noisy ones.

A worked example of a system of one's own, not one of the paper's. docs/own_system.md walks through it.
"""

import torch
from torch import Tensor, nn

from nmer.options import Share
from nmer.systems.blocks.encoders import HIDDEN, encoder_tower
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.interface import Sequences, System
from nmer.systems.registry import system


@system("attention_fusion", pretraining="none", regimes=("incomplete", "all_noisy"), fewest_modalities=2)
class AttentionFusion(System):
    """Tokens t_m = LayerNorm(encoding of m); weights softmax_m(q . tanh(K t_m + b) / sqrt(128)); their weighted sum.

    A weight is computed from the token that it weighs, so the query can learn what noise looks like. Modality
    dropout: at this rate an utterance does without one modality in training, so that none becomes indispensable.
    """

    modality_dropout: Share = 0.2

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.encoders = encoder_tower(dims)
        self.norm = nn.LayerNorm(HIDDEN)
        self.key = nn.Linear(HIDDEN, HIDDEN)
        self.query = nn.Linear(HIDDEN, 1, bias=False)
        self.classifier = classifier_head(HIDDEN, (128, 128), classes, dropout)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """(batch, 128)."""
        return self.encoders[modality](sequences)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits, and the weights of the modalities: (batch, modalities), each row summing to 1."""
        # Encoders differ in the size of what they give. Unscaled, the largest token would take all the weight at once.
        tokens = self.norm(torch.stack([encodings[modality] for modality in self.modalities], dim=1))
        scores = self.query(self.key(tokens).tanh()).squeeze(dim=2) / HIDDEN**0.5
        if self.training:
            scores = scores.masked_fill(self._masked(scores), float("-inf"))
        weights = scores.softmax(dim=1)
        fused = (weights[:, :, None] * tokens).sum(dim=1)
        return {"logits": self.classifier(fused), "weights": weights}

    def _masked(self, scores: Tensor) -> Tensor:
        """(batch, modalities) bool: at most one of each utterance, drawn from torch's generator, which is seeded."""
        drawn = torch.randint(len(self.modalities), (len(scores), 1), device=scores.device)
        without = torch.rand(len(scores), 1, device=scores.device) < self.modality_dropout
        return torch.zeros_like(scores, dtype=torch.bool).scatter(1, drawn, without)
