"""NMER without the invariance loss: invariant features guide the VAE, tied to no teacher (SPEC 4.5)."""

from __future__ import annotations

from nmer.systems.nmer import Nmer
from nmer.systems.registry import system


@system("nmer_no_inv", ablation_of="nmer", regimes=("incomplete",))
class NmerNoInvariance(Nmer):
    """The whole of NMER with the weight of the invariance term at 0; it takes the options that NMER is given."""

    invariance_weight = 0.0
