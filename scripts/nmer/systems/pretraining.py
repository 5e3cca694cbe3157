"""Stage-A pretrainings with invariant features: ``shared`` of IF-MMIN, ``two_tower`` of NMER (SPEC 4.3, 4.4, 12)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmer.options import Weight
from nmer.systems.blocks.discrepancy import mean_cmd
from nmer.systems.blocks.encoders import HIDDEN, joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import TOWERS, InvariantFeatures, TowerSystem
from nmer.systems.interface import Batch, halves
from nmer.systems.registry import system


class Pretraining(TowerSystem):
    """Training of specific features h_m and invariant features H_m on clean data; the result is a frozen teacher."""

    form: str
    """Name of its towers."""

    invariant_features: InvariantFeatures = "raw"
    discrepancy_scaling: bool = False
    discrepancy_weight: Weight = 1.0

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.towers = TOWERS[self.form](dims, self.invariant_features)
        self.classifier = classifier_head(2 * joint_width(dims), (128, 128), classes, dropout)

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of [h; H], and the invariant features per modality for the discrepancy."""
        outputs = {f"invariant_{modality}": encodings[modality][:, HIDDEN:] for modality in self.modalities}
        return outputs | {"logits": self.classifier(torch.cat(halves(encodings), dim=1))}

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy plus the mean central moment discrepancy of the invariant features."""
        invariant = {modality: outputs[f"invariant_{modality}"] for modality in self.modalities}
        if self.discrepancy_scaling:
            length = interval_length(self.invariant_features, invariant)
            invariant = {modality: features / length for modality, features in invariant.items()}
        return super().loss_terms(outputs, batch) | {"discrepancy": mean_cmd(invariant)}


@system("shared", pretraining="none", regimes=(), fewest_modalities=2, passed_on=("invariant_features",))
class Shared(Pretraining):
    """h_m from the encoders, H_m from the invariance MLP on the same encodings."""

    form = "stacked"


@system("two_tower", pretraining="none", regimes=(), fewest_modalities=2, passed_on=("invariant_features",))
class TwoTower(Pretraining):
    """h_m from the specific tower, H_m from the invariance MLP on the encodings of a second tower."""

    form = "two_tower"


INTERVALS = {"sigmoid": 1.0, "tanh": 2.0}
"""Length b - a of the interval in which bounded features lie."""

SHORTEST_INTERVAL = 1e-6


def interval_length(invariant_features: str, features: dict[str, Tensor]) -> float | Tensor:
    """Return the length b - a of the interval [a, b] of the features.

    The definition of the CMD divides the k-th moments by its k-th power, which equals the CMD of features divided by
    it. Raw features are unbounded: the smallest interval around the batch is used, so that the discrepancy does not
    fall when all features shrink. Source: Zellinger et al. 2017, definition 2.
    """
    if invariant_features in INTERVALS:
        return INTERVALS[invariant_features]
    values = torch.cat(list(features.values()))
    return (values.amax() - values.amin()).clamp(min=SHORTEST_INTERVAL)
