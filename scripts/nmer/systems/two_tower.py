"""Two-tower pretraining: specific and invariance encoders side by side (NMER's stage A; SPEC 4.4)."""

from __future__ import annotations

from nmer.systems.blocks.pretraining import Pretraining
from nmer.systems.registry import system


@system("two_tower", pretraining="none", regimes=(), fewest_modalities=2, passed_on=("invariant_features",))
class TwoTower(Pretraining):
    """h_m from the specific tower, H_m from the invariance MLP on the encodings of a tower of its own."""

    form = "two_tower"
