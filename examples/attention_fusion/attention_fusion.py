"""Masked-attention fusion: a learned query attends over the modalities and can ignore noisy ones.

An example of a custom system, not one of the paper's; docs/own_system.md explains it.
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

    Each weight is computed from its token, so the query can learn to recognise noise. Modality dropout: at this rate,
    training leaves out one modality of an utterance, so no modality becomes indispensable.
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
        """Return the encoding of a modality: (batch, 128)."""
        return self.encoders[modality](sequences)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits, and the weights of the modalities: (batch, modalities), each row summing to 1."""
        # The encoders differ in scale. Without normalisation, the largest token would receive all the weight.
        tokens = self.norm(torch.stack([encodings[modality] for modality in self.modalities], dim=1))
        scores = self.query(self.key(tokens).tanh()).squeeze(dim=2) / HIDDEN**0.5
        if self.training:
            scores = scores.masked_fill(self._masked(scores), float("-inf"))
        weights = scores.softmax(dim=1)
        fused = (weights[:, :, None] * tokens).sum(dim=1)
        return {"logits": self.classifier(fused), "weights": weights}

    def _masked(self, scores: Tensor) -> Tensor:
        """Draw at most one modality per utterance from torch's seeded generator: (batch, modalities) bool."""
        drawn = torch.randint(len(self.modalities), (len(scores), 1), device=scores.device)
        without = torch.rand(len(scores), 1, device=scores.device) < self.modality_dropout
        return torch.zeros_like(scores, dtype=torch.bool).scatter(1, drawn, without)
