"""Shared pretraining: invariant features stacked on one tower of encoders (IF-MMIN's stage A; SPEC 4.3)."""

from __future__ import annotations

from torch import Tensor

from nmer.systems.blocks import encoder_tower
from nmer.systems.interface import Sequences
from nmer.systems.pretraining import Pretraining
from nmer.systems.registry import system


@system("shared", pretraining="none", regimes=())
class Shared(Pretraining):
    """h_m from the encoders, H_m from the invariance MLP on the same encodings."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float) -> None:
        super().__init__(dims, classes, dropout)
        self.encoders = encoder_tower(dims)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """[h_m; H_m]: (batch, 256)."""
        specific = self.encoders[modality](sequences)
        return self.with_invariant(specific, specific)
