"""NMER without the invariance loss: invariant features guide the VAE, tied to no teacher (SPEC 4.5)."""

from __future__ import annotations

from typing import Any

from nmer.systems.nmer import Nmer
from nmer.systems.registry import system


@system(
    "nmer_no_inv",
    ablation_of="nmer",
    pretraining={"invariance": {"two_tower": "two_tower", "stacked": "shared"}},
    regimes=("incomplete",),
    fewest_modalities=2,
    divisors_per_modality={"heads": 256},
    choices={
        "invariance": ("two_tower", "stacked"),
        "invariant_features": ("raw", "sigmoid", "tanh"),
        "heads": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128),
        "divergence_reduction": ("mean", "batch_mean", "sum"),
    },
    minimum={
        "layers": 1,
        "feed_forward": 1,
        "transformer_dropout": 0.0,
        "latent": 1,
        "divergence_weight": 0.0,
        "generation_weight": 0.0,
        "classification_weight": 0.0,
    },
    maximum={"transformer_dropout": 0.99},
    options={
        "invariance": "two_tower",
        "invariant_features": "raw",
        "layers": 5,
        "heads": 16,
        "feed_forward": 2048,
        "transformer_dropout": 0.1,
        "latent": 64,
        "residual": False,
        "divergence_reduction": "mean",
        "divergence_weight": 1.0,
        "generation_weight": 1.0,
        "classification_weight": 1.0,
    },
)
class NmerNoInvariance(Nmer):
    """The whole of NMER with the weight of the invariance term at 0; it takes the options that NMER is given."""

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, invariance_weight=0.0, **options)
