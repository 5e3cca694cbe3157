"""MMIN: imagination of the missing modalities by a cascade auto-encoder with a cycle (SPEC 4.2)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from nmer.options import Weight
from nmer.systems.blocks.cascade import CODES_WIDTH, CascadeAutoencoder
from nmer.systems.blocks.encoders import encoder_tower, joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.interface import Batch, Sequences, System, concatenate
from nmer.systems.registry import system


@system(
    "mmin",
    pretraining="men",
    regimes=("incomplete", "all_noisy"),
    fewest_modalities=2,
)
class Mmin(System):
    """Encodings of the noisy observation are mapped to the teacher's encodings of the reversed one, and back."""

    inherited = ("encoders",)

    classification_weight: Weight = 1.0
    imagination_weight: Weight = 4.0
    cycle_weight: Weight = 2.0

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.encoders = encoder_tower(dims)
        self.imagination = CascadeAutoencoder(joint_width(dims))
        self.cycle = CascadeAutoencoder(joint_width(dims))
        self.classifier = classifier_head(CODES_WIDTH, (128, 128), classes, dropout)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """h_m: (batch, 128)."""
        encoding: Tensor = self.encoders[modality](sequences)
        return encoding

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of the forward auto-encoder's codes, the encodings x and the encodings imagined from them."""
        features = concatenate(encodings)
        imagined, codes = self.imagination(features)
        return {"logits": self.classifier(codes), "features": features, "imagined": imagined}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The outputs of :meth:`fuse`, and the mapping back to x, which only the loss needs."""
        outputs = super().forward(batch)
        return outputs | {"returned": self.cycle(outputs["imagined"])[0]}

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, imagination of the teacher's reversed observation, and cycle."""
        target = concatenate(batch.teacher_reversed())
        return {
            "classification": self.target_loss(outputs, batch),
            "imagination": functional.mse_loss(outputs["imagined"], target),
            "cycle": functional.mse_loss(outputs["returned"], outputs["features"].detach()),
        }
