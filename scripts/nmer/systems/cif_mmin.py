"""CIF-MMIN: imagination guided by invariant features of a contrast, added to what is observed (IEEE TAC 2024)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from nmer.systems.blocks.cascade import GuidedResidualCascade
from nmer.systems.blocks.encoders import joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import ContrastiveTowers
from nmer.systems.interface import Batch, Sequences, System, halves
from nmer.systems.registry import system


@system(
    "cif_mmin",
    pretraining="contrastive",
    regimes=("incomplete", "all_noisy"),
    fewest_modalities=2,
    choices={"target": ("reversed", "clean")},
    minimum={"classification_weight": 0.0, "imagination_weight": 0.0, "invariance_weight": 0.0},
    options={
        "classification_weight": 1.0,
        "imagination_weight": 8.0,
        "invariance_weight": 100.0,
        "target": "reversed",
    },
)
class CifMmin(System):
    """The imagined encodings of the reversed observation are added to the observed ones and classified."""

    inherited = ("towers",)

    def __init__(
        self,
        dims: dict[str, int],
        classes: int,
        dropout: float,
        *,
        classification_weight: float,
        imagination_weight: float,
        invariance_weight: float,
        target: str,
    ) -> None:
        super().__init__(dims, classes, dropout)
        self.towers = ContrastiveTowers(dims)
        self.imagination = GuidedResidualCascade(joint_width(dims))
        self.classifier = classifier_head(joint_width(dims), (128, 128), classes, dropout)
        self.target = target
        self.weights = {
            "classification": classification_weight,
            "imagination": imagination_weight,
            "invariance": invariance_weight,
        }

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """[h_m; H_m]: (batch, 256)."""
        encoding: Tensor = self.towers(modality, sequences)
        return encoding

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of h + I, what is imagined (I), and the invariant features H."""
        features, invariant = halves(encodings)
        imagined = self.imagination(features, invariant)
        return {"logits": self.classifier(features + imagined), "imagined": imagined, "invariant": invariant}

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, imagination of the teacher's encodings, invariance to its clean ones, weighted."""
        target, _ = halves(batch.teacher_clean if self.target == "clean" else batch.teacher_reversed())
        _, target_invariant = halves(batch.teacher_clean)
        terms = {
            "classification": self.target_loss(outputs, batch),
            "imagination": functional.mse_loss(outputs["imagined"], target),
            "invariance": functional.mse_loss(outputs["invariant"], target_invariant),
        }
        return self.weighted(terms)
