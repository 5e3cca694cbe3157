"""IF-MMIN: imagination guided by modality-invariant features (SPEC 4.3, with the author's corrected recurrence)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nmer.systems.blocks.cascade import CODES_WIDTH, GuidedCascadeAutoencoder
from nmer.systems.blocks.encoders import joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import InvariantFeatures, InvariantImagination, StackedTower
from nmer.systems.interface import halves
from nmer.systems.registry import system


@system("if_mmin", pretraining="shared", regimes=("incomplete", "all_noisy"), fewest_modalities=2)
class IfMmin(InvariantImagination):
    """Invariant features guide every block on the way to the teacher's encodings of the reversed observation."""

    invariant_features: InvariantFeatures = "raw"

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.towers = StackedTower(dims, self.invariant_features)
        self.imagination = GuidedCascadeAutoencoder(joint_width(dims))
        self.classifier = classifier_head(CODES_WIDTH, (128, 128), classes, dropout)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of the codes, the imagined encodings, and the invariant features H."""
        features, invariant = halves(encodings)
        imagined, codes = self.imagination(features, invariant)
        return {"logits": self.classifier(codes), "imagined": imagined, "invariant": invariant}
