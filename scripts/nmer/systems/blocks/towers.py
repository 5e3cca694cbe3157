"""Encoder towers that give specific features h_m and modality-invariant features H_m (SPEC 4.3, 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.names import modality_set
from nmer.options import Weight
from nmer.systems.blocks.encoders import LstmEncoder, encoder_tower
from nmer.systems.blocks.layers import invariance_mlp
from nmer.systems.interface import Batch, Sequences, System, halves

InvariantFeatures = Literal["raw", "sigmoid", "tanh"]
"""Form of the invariant features H: the invariance MLP's output unchanged, or bounded."""

BOUNDS: dict[str, Callable[[], nn.Module]] = {"raw": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
"""Form of the invariant features -> the function applied to the invariance MLP's output."""


class StackedTower(nn.Module):
    """One tower: the invariance MLP reads the specific features (IF-MMIN)."""

    def __init__(self, dims: dict[str, int], invariant_features: str = "raw") -> None:
        """dims: input width per modality. invariant_features: form of H (``BOUNDS``)."""
        super().__init__()
        self.specific = encoder_tower(dims)
        self.invariance_mlp = invariance_mlp()
        self.bound = BOUNDS[invariant_features]()

    def invariant(self, encodings: Tensor) -> Tensor:
        """Return H_m of a modality's encodings, (batch, 128) each, bounded so that every loss and later block reads
        bounded features."""
        features: Tensor = self.bound(self.invariance_mlp(encodings))
        return features

    def forward(self, modality: str, sequences: Sequences) -> Tensor:
        """[h_m; H_m]: (batch, 256)."""
        specific = self.specific[modality](sequences)
        return torch.cat([specific, self.invariant(specific)], dim=1)

    def subnetworks(self) -> Iterator[nn.Module]:
        """The modules whose gradients are clipped separately."""
        yield from self.specific.values()
        yield self.invariance_mlp


class TwoTowers(StackedTower):
    """Two towers: the invariance MLP reads a second set of encoders (NMER)."""

    def __init__(self, dims: dict[str, int], invariant_features: str = "raw") -> None:
        super().__init__(dims, invariant_features)
        self.invariance = encoder_tower(dims)

    def forward(self, modality: str, sequences: Sequences) -> Tensor:
        """[h_m; H_m]: (batch, 256)."""
        encoders = [self.specific[modality], self.invariance[modality]]
        # Both are of one class, which the type of a ModuleDict does not state.
        side_by_side = cast(Callable[..., list[Tensor]], encoders[0].side_by_side)
        specific, invariant = side_by_side(encoders, sequences)
        return torch.cat([specific, self.invariant(invariant)], dim=1)

    def subnetworks(self) -> Iterator[nn.Module]:
        """The modules whose gradients are clipped separately."""
        yield from super().subnetworks()
        yield from self.invariance.values()


class ContrastiveTowers(nn.Module):
    """Two towers without an invariance MLP; the invariance tower has an LSTM for every modality (CIF-MMIN)."""

    def __init__(self, dims: dict[str, int]) -> None:
        super().__init__()
        self.specific = encoder_tower(dims)
        self.invariance = nn.ModuleDict({modality: LstmEncoder(dims[modality]) for modality in modality_set(dims)})

    def forward(self, modality: str, sequences: Sequences) -> Tensor:
        """[h_m; H_m]: (batch, 256)."""
        specific, invariance = self.specific[modality], self.invariance[modality]
        if isinstance(specific, LstmEncoder):
            both = LstmEncoder.side_by_side([specific, cast(LstmEncoder, invariance)], sequences)
        else:
            both = [specific(sequences), invariance(sequences)]
        return torch.cat(both, dim=1)

    def subnetworks(self) -> Iterator[nn.Module]:
        """The modules whose gradients are clipped separately."""
        yield from self.specific.values()
        yield from self.invariance.values()


TOWERS = {"stacked": StackedTower, "two_tower": TwoTowers}
"""Value of the option ``invariance`` -> towers."""


class TowerSystem(System):
    """A system that encodes with its ``towers``."""

    towers: nn.Module

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """[h_m; H_m]: (batch, 256)."""
        encoding: Tensor = self.towers(modality, sequences)
        return encoding


class InvariantSystem(TowerSystem):
    """A system on the towers of its teacher, in either form: NMER and its ablations (SPEC 4.4, 4.5)."""

    inherited = ("towers",)

    invariance: Literal["two_tower", "stacked"] = "two_tower"
    invariant_features: InvariantFeatures = "raw"
    invariance_weight: Weight = 10.0
    classification_weight: Weight = 1.0

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.towers = TOWERS[self.invariance](dims, self.invariant_features)


class InvariantImagination(TowerSystem):
    """Base of systems that imagine the teacher's encodings, guided by invariant features: their loss (SPEC 4.3)."""

    inherited = ("towers",)

    classification_weight: Weight = 1.0
    imagination_weight: Weight = 1.0
    invariance_weight: Weight = 100.0

    def imagined_from(self, batch: Batch) -> Mapping[str, Tensor]:
        """The teacher's encodings that are imagined: those of the reversed observation."""
        return batch.teacher_reversed()

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, imagination of the teacher's encodings, and invariance to its clean ones."""
        target, _ = halves(self.imagined_from(batch))
        _, target_invariant = halves(batch.teacher_clean)
        return {
            "classification": self.target_loss(outputs, batch),
            "imagination": functional.mse_loss(outputs["imagined"], target),
            "invariance": functional.mse_loss(outputs["invariant"], target_invariant),
        }
