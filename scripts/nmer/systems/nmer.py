"""NMER: a variational joint representation guided by modality-invariant features (the paper's model; SPEC 4.4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.systems.blocks.encoders import joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import TOWERS, TowerSystem
from nmer.systems.interface import Batch, halves
from nmer.systems.registry import system

LOGVAR_BOUND = 10.0


@system(
    "nmer",
    pretraining={"invariance": {"two_tower": "two_tower", "stacked": "shared"}},
    regimes=("incomplete", "all_noisy"),
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
        "invariance_weight": 0.0,
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
        "invariance_weight": 10.0,
        "classification_weight": 1.0,
    },
)
class Nmer(TowerSystem):
    """Two towers encode the noisy observation; a VAE reconstructs the clean teacher's representation from them."""

    inherited = ("towers",)

    def __init__(
        self,
        dims: dict[str, int],
        classes: int,
        dropout: float,
        *,
        invariance: str,
        invariant_features: str,
        layers: int,
        heads: int,
        feed_forward: int,
        transformer_dropout: float,
        latent: int,
        residual: bool,
        divergence_reduction: str,
        divergence_weight: float,
        generation_weight: float,
        invariance_weight: float,
        classification_weight: float,
    ) -> None:
        super().__init__(dims, classes, dropout)
        self.towers = TOWERS[invariance](dims, invariant_features)
        width = joint_width(dims)
        self.vae_encoder = VaeEncoder(2 * width, layers, heads, feed_forward, transformer_dropout, latent)
        self.vae_decoder = nn.Sequential(
            nn.Linear(latent + width, 128),
            nn.LeakyReLU(0.01),
            nn.Linear(128, 256),
            nn.LeakyReLU(0.01),
            nn.Linear(256, width),
        )
        self.classifier = classifier_head(width, (384, 128), classes, dropout)
        self.residual = residual
        self.divergence_reduction = divergence_reduction
        self.weights = {
            "divergence": generation_weight * divergence_weight,
            "reconstruction": generation_weight,
            "invariance": invariance_weight,
            "classification": classification_weight,
        }

    def fuse(self, encodings: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits, joint representation, invariant features H and the latent's mean and log-variance.

        The latent is sampled in training and its mean is taken at validation and test.
        """
        specific, invariant = halves(encodings)
        mean, logvar = self.vae_encoder(torch.cat([specific, invariant], dim=1))
        latent = mean + (logvar / 2).exp() * torch.randn_like(mean) if self.training else mean
        joint = self.vae_decoder(torch.cat([latent, invariant], dim=1))
        return {
            "logits": self.classifier(joint + specific if self.residual else joint),
            "joint_representation": joint,
            "invariant": invariant,
            "latent_mean": mean,
            "latent_logvar": logvar,
        }

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """KL divergence (Eq. 6), reconstruction (Eq. 7), invariance and cross-entropy terms, weighted."""
        target, target_invariant = halves(batch.teacher_clean)
        divergence = kl_divergence(outputs["latent_mean"], outputs["latent_logvar"])
        terms = {
            "divergence": REDUCTIONS[self.divergence_reduction](divergence),
            "reconstruction": functional.mse_loss(outputs["joint_representation"], target),
            "invariance": functional.mse_loss(outputs["invariant"], target_invariant),
            "classification": self.target_loss(outputs, batch),
        }
        return self.weighted(terms)


class VaeEncoder(nn.Module):
    """Transformer encoder over one token per utterance, then mean and log-variance of the latent.

    With one token, self-attention is a linear map; that keeps utterances independent of each other (SPEC 4.4).
    """

    def __init__(self, width: int, layers: int, heads: int, feed_forward: int, dropout: float, latent: int) -> None:
        """width: of the token, 768 for three modalities."""
        super().__init__()
        self.layers = nn.ModuleList(OneTokenLayer(width, heads, feed_forward, dropout) for _ in range(layers))
        self.mean = nn.Linear(width, latent)
        self.logvar = nn.Linear(width, latent)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features: (batch, width). Returns mean and log-variance, (batch, latent) each."""
        for layer in self.layers:
            features = layer(features)
        return self.mean(features), self.logvar(features).clamp(-LOGVAR_BOUND, LOGVAR_BOUND)


class OneTokenLayer(nn.TransformerEncoderLayer):
    """The framework's post-norm Transformer encoder layer, computed for sequences of one token.

    Softmax over one token is 1 whatever the query and the key, so only the value projection is computed: the same
    outputs and gradients as the framework's layer on (batch, 1, width), a fifth of the arithmetic saved.
    """

    # One token needs none of the masks that the framework's layer takes.
    def forward(self, features: Tensor) -> Tensor:  # type: ignore[override]
        """features: (batch, width). Returns the same shape."""
        attention, width = self.self_attn, self.self_attn.embed_dim
        value = functional.linear(
            features, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
        ).unflatten(1, (attention.num_heads, -1))
        # Dropout of attention weights: with one token a weight is a whole head of an utterance.
        weights = functional.dropout(value.new_ones(*value.shape[:2], 1), attention.dropout, self.training)
        attended = attention.out_proj((value * weights).flatten(1))
        hidden = self.norm1(features + self.dropout1(attended))
        expanded = self.dropout(functional.relu(self.linear1(hidden)))
        encoded: Tensor = self.norm2(hidden + self.dropout2(self.linear2(expanded)))
        return encoded


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of every latent from N(0, 1): (batch, latent) (paper Eq. 6; SPEC 4.4)."""
    return -0.5 * (1 + logvar - mean.square() - logvar.exp())


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": torch.mean,
    "batch_mean": lambda divergence: divergence.sum(dim=1).mean(),
    "sum": torch.sum,
}
"""Readings of Eq. 6, which leaves open how the divergence is reduced over batch and latents (SPEC 12)."""
