"""Two-tower pretraining: specific and invariance encoders side by side (NMER's stage A; SPEC 4.4)."""

from __future__ import annotations

from nmer.systems.blocks.pretraining import Pretraining
from nmer.systems.registry import system


@system(
    "two_tower",
    pretraining="none",
    regimes=(),
    fewest_modalities=2,
    passed_on=("invariant_features",),
    choices={"invariant_features": ("raw", "sigmoid", "tanh")},
    minimum={"discrepancy_weight": 0.0},
    options={"invariant_features": "raw", "discrepancy_scaling": False, "discrepancy_weight": 1.0},
)
class TwoTower(Pretraining):
    """h_m from the specific tower, H_m from the invariance MLP on the encodings of a tower of its own."""

    form = "two_tower"
