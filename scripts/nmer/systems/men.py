"""MEN: fusion of the complete modalities, trained on clean data and tested on noisy data (SPEC 4.1)."""

from __future__ import annotations

from torch import Tensor

from nmer.systems.blocks.encoders import encoder_tower, joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.interface import Sequences, System, concatenate
from nmer.systems.registry import system


@system("men", pretraining="none", regimes=("clean",))
class Men(System):
    """Encodings of all modalities, concatenated and classified; cross-entropy."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float) -> None:
        super().__init__(dims, classes, dropout)
        self.encoders = encoder_tower(dims)
        self.classifier = classifier_head(joint_width(dims), (128, 128), classes, dropout)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """h_m: (batch, 128)."""
        encoding: Tensor = self.encoders[modality](sequences)
        return encoding

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of the concatenated encodings."""
        return {"logits": self.classifier(concatenate(encodings))}
