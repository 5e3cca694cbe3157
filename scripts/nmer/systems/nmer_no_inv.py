"""NMER without the invariance loss: invariant features guide the VAE without a target (SPEC 4.5)."""

from __future__ import annotations

from nmer.systems.nmer import Nmer
from nmer.systems.registry import system


@system("nmer_no_inv", ablation_of="nmer", regimes=("incomplete",))
class NmerNoInvariance(Nmer):
    """NMER with the weight of the invariance term fixed at 0; its options are those configured for NMER."""

    invariance_weight = 0.0
