"""Two-tower pretraining: specific and invariance encoders side by side (NMER's stage A; SPEC 4.4)."""

from __future__ import annotations

from torch import Tensor

from nmer.systems.blocks import encoder_tower
from nmer.systems.interface import Sequences
from nmer.systems.pretraining import Pretraining
from nmer.systems.registry import system


@system("two_tower", pretraining="none", regimes=())
class TwoTower(Pretraining):
    """h_m from the specific tower, H_m from the invariance MLP on the encodings of a tower of its own."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float) -> None:
        super().__init__(dims, classes, dropout)
        self.specific = encoder_tower(dims)
        self.invariance = encoder_tower(dims)

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """[h_m; H_m]: (batch, 256)."""
        return self.with_invariant(self.specific[modality](sequences), self.invariance[modality](sequences))
