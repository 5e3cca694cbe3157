"""The uni-modality benchmark: one modality's encoder and a classifier (Table 4; SPEC 4.7)."""

from __future__ import annotations

from torch import Tensor

from nmer.systems.blocks.encoders import HIDDEN, encoder
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.interface import Sequences, System
from nmer.systems.registry import system


class Unimodal(System):
    """Cross-entropy on the encoding of one modality; a subclass names it in ``modalities``."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float) -> None:
        super().__init__(dims, classes, dropout)
        (self.modality,) = self.modalities
        self.encoder = encoder(self.modality, dims[self.modality])
        self.classifier = classifier_head(HIDDEN, (128, 128), classes, dropout)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """h_m: (batch, 128)."""
        encoding: Tensor = self.encoder(sequences)
        return encoding

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of the modality's encoding."""
        return {"logits": self.classifier(encodings[self.modality])}


@system("unimodal_a", pretraining="none", regimes=("clean", "all_noisy"), modalities=("a",))
class UnimodalAcoustic(Unimodal):
    """Encoder and classifier of the acoustic features."""

    modalities = ("a",)


@system("unimodal_v", pretraining="none", regimes=("clean", "all_noisy"), modalities=("v",))
class UnimodalVisual(Unimodal):
    """Encoder and classifier of the visual features."""

    modalities = ("v",)


@system("unimodal_l", pretraining="none", regimes=("clean", "all_noisy"), modalities=("l",))
class UnimodalLexical(Unimodal):
    """Encoder and classifier of the lexical features."""

    modalities = ("l",)
