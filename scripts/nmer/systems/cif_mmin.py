"""CIF-MMIN: imagination guided by contrastive invariant features, added to the observed encodings (IEEE TAC 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from nmer.options import Weight
from nmer.systems.blocks.cascade import GuidedResidualCascade
from nmer.systems.blocks.encoders import joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import ContrastiveTowers, InvariantImagination
from nmer.systems.interface import Batch, halves
from nmer.systems.registry import system


@system("cif_mmin", pretraining="contrastive", regimes=("incomplete", "all_noisy"), fewest_modalities=2)
class CifMmin(InvariantImagination):
    """The imagined encodings of the reversed observation are added to the observed ones and classified."""

    imagination_weight: Weight = 8.0
    target: Literal["reversed", "clean"] = "reversed"

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.towers = ContrastiveTowers(dims)
        self.imagination = GuidedResidualCascade(joint_width(dims))
        self.classifier = classifier_head(joint_width(dims), (128, 128), classes, dropout)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of h + I, the imagined encodings I, and the invariant features H."""
        features, invariant = halves(encodings)
        imagined = self.imagination(features, invariant)
        return {"logits": self.classifier(features + imagined), "imagined": imagined, "invariant": invariant}

    def imagined_from(self, batch: Batch) -> Mapping[str, Tensor]:
        """The teacher's encodings that are imagined, by the option ``target``."""
        return batch.teacher_clean if self.target == "clean" else super().imagined_from(batch)
