"""What both stage-A pretrainings share: invariant features, their discrepancy, the classifier on both (SPEC 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from nmer.names import MODALITIES
from nmer.systems.blocks import HIDDEN, classifier_head, mean_cmd
from nmer.systems.interface import Batch, Sequences, System, halves
from nmer.systems.towers import TOWERS


class Pretraining(System):
    """Clean-data training of specific features h_m and invariant features H_m; the result is a frozen teacher."""

    form: str
    """Name of its towers."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float) -> None:
        super().__init__(dims, classes, dropout)
        self.towers = TOWERS[self.form](dims)
        self.classifier = classifier_head(6 * HIDDEN, (128, 128), classes, dropout)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """[h_m; H_m]: (batch, 256)."""
        encoding: Tensor = self.towers(modality, sequences)
        return encoding

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of [h; H], and the invariant features per modality for the discrepancy."""
        outputs = {f"invariant_{modality}": encodings[modality][:, HIDDEN:] for modality in MODALITIES}
        return outputs | {"logits": self.classifier(torch.cat(halves(encodings), dim=1))}

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy plus the mean central moment discrepancy of the invariant features (weight 1)."""
        invariant = {modality: outputs[f"invariant_{modality}"] for modality in MODALITIES}
        return super().loss(outputs, batch) | {"discrepancy": mean_cmd(invariant)}
