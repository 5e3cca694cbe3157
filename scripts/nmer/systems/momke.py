"""MoMKE: every modality passes through the experts of all, mixed by a router (ACM MM 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from nmer.systems.blocks.modality_experts import WIDTH, ExpertSystem, mlp
from nmer.systems.interface import Sequences, concatenate, summed
from nmer.systems.registry import system


@system(
    "momke",
    pretraining="experts",
    # Known noisy modalities are left out; with all modalities noisy none would remain.
    regimes={"noise_flags": {False: ("incomplete", "all_noisy"), True: ("incomplete",)}},
    fewest_modalities=2,
)
class Momke(ExpertSystem):
    """A mixture of the modalities' experts for each modality, then a joint representation; cross-entropy."""

    inherited = ("projections", "experts")

    noise_flags: bool = False

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        count = len(self.modalities)
        self.routers = nn.ModuleDict({modality: mlp(count, dropout) for modality in self.modalities})
        width = count * WIDTH
        self.joint = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout))
        self.classifier = nn.Linear(width, classes)

    def mixture(self, modality: str, frames: Tensor) -> Tensor:
        """Shares of the experts in each frame, (batch, longest, experts), summing to 1. frames: projected."""
        shares: Tensor = self.routers[modality](frames).softmax(dim=-1)
        return shares

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """Mean over the frames of the mixture of all experts: (batch, 256)."""

        def mixed(frames: Tensor, valid: Tensor) -> Tensor:
            shares = self.mixture(modality, frames).unbind(dim=-1)
            parts = [self.experts[expert](frames, valid) for expert in self.modalities]
            return summed(share[:, :, None] * part for share, part in zip(shares, parts, strict=True))

        return self.mean_over_frames(modality, sequences, mixed)

    def fuse(self, encodings: dict[str, Tensor], noisy: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Logits. noisy: given with ``noise_flags``; the encoding of a noisy modality is then 0."""
        if noisy is not None:
            encodings = {m: own.masked_fill(noisy[m][:, None], 0.0) for m, own in encodings.items()}
        features = concatenate(encodings)
        return {"logits": self.classifier(features + self.joint(features))}
