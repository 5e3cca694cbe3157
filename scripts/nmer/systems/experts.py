"""MoMKE's pretraining: every modality's expert learns from its own clean modality (MoMKE's stage A)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmer.systems.blocks.attention import encode_in_blocks, frame_means
from nmer.systems.blocks.experts import WIDTH, experts, mean_frame, projections
from nmer.systems.interface import Batch, Sequences, System, summed
from nmer.systems.registry import system


@system(
    "experts",
    pretraining="none",
    regimes=(),
    fewest_modalities=2,
    passed_on=("depth", "heads", "tokens"),
    choices={"heads": (1, 2, 4, 8), "tokens": ("frames", "mean")},
    minimum={"depth": 1},
    options={"depth": 4, "heads": 2, "tokens": "frames"},
)
class Experts(System):
    """Projection, expert and linear classifier of each modality, trained side by side; nothing is shared."""

    initialisation = "framework"

    def __init__(
        self, dims: dict[str, int], classes: int, dropout: float, *, depth: int, heads: int, tokens: str
    ) -> None:
        super().__init__(dims, classes, dropout)
        self.tokens = tokens
        self.projections = projections(dims, dropout)
        self.experts = experts(dims, depth, heads, dropout)
        self.classifiers = nn.ModuleDict({modality: nn.Linear(WIDTH, classes) for modality in self.modalities})

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """Mean over the frames of the modality's expert: (batch, 256)."""

        def of_frames(own: Sequences) -> Tensor:
            valid = own.valid()
            return frame_means(self.experts[modality](self.projections[modality](own.values), valid), valid)

        return encode_in_blocks(of_frames, mean_frame(sequences) if self.tokens == "mean" else sequences)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of each modality, and their mean, which selects the epoch."""
        own = {f"logits_{modality}": self.classifiers[modality](encodings[modality]) for modality in self.modalities}
        return own | {"logits": torch.stack(list(own.values())).mean(dim=0)}

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Sum of the cross-entropies of the modalities."""
        own = [self.target_loss({"logits": outputs[f"logits_{m}"]}, batch) for m in self.modalities]
        return {"classification": summed(own)}
