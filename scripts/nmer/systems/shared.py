"""Shared pretraining: invariant features stacked on one tower of encoders (IF-MMIN's stage A; SPEC 4.3)."""

from __future__ import annotations

from nmer.systems.blocks.pretraining import Pretraining
from nmer.systems.registry import system


@system("shared", pretraining="none", regimes=(), fewest_modalities=2, passed_on=("invariant_features",))
class Shared(Pretraining):
    """h_m from the encoders, H_m from the invariance MLP on the same encodings."""

    form = "stacked"
