"""NMER: a variational joint representation guided by modality-invariant features (the paper's model; SPEC 4.4).

Two towers encode the noisy observation in specific features h and invariant features H. A VAE generates the joint
representation r from them, which is classified::

    mean, log variance = VAE encoder([h; H])    z ~ N(mean, variance)    r = VAE decoder([z; H])

    loss = generation_weight (divergence_weight KL(N(mean, variance), N(0, 1)) + |r - h*|^2)
           + invariance_weight |H - H*|^2 + classification_weight CE(classifier(r), label)

h* and H* are the features that the frozen teacher gives to the clean observation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.options import Bounds, Count, Weight
from nmer.systems.blocks.encoders import joint_width
from nmer.systems.blocks.layers import classifier_head
from nmer.systems.blocks.towers import InvariantSystem
from nmer.systems.interface import Batch, halves
from nmer.systems.registry import system

LOGVAR_BOUND = 10.0


@system(
    "nmer",
    pretraining={"invariance": {"two_tower": "two_tower", "stacked": "shared"}},
    regimes=("incomplete", "all_noisy"),
    fewest_modalities=2,
    divisors_per_modality={"heads": 256},
)
class Nmer(InvariantSystem):
    """Two towers encode the noisy observation; a VAE reconstructs the clean teacher's representation from them."""

    layers: Count = 5
    heads: Literal[1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128] = 16
    feed_forward: Count = 2048
    transformer_dropout: Annotated[float, Bounds(0.0, 0.99)] = 0.1
    latent: Count = 64
    residual: bool = False
    divergence_reduction: Literal["mean", "batch_mean", "sum"] = "mean"
    divergence_weight: Weight = 1.0
    generation_weight: Weight = 1.0

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        width = joint_width(dims)
        self.vae_encoder = VaeEncoder(
            2 * width, self.layers, self.heads, self.feed_forward, self.transformer_dropout, self.latent
        )
        self.vae_decoder = vae_decoder(self.latent, width)
        self.classifier = classifier_head(width, (384, 128), classes, dropout)
        generation = self.weights.pop("generation")
        self.weights |= {"divergence": generation * self.divergence_weight, "reconstruction": generation}

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

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """KL divergence (Eq. 6), reconstruction (Eq. 7), invariance and cross-entropy."""
        target, target_invariant = halves(batch.teacher_clean)
        divergence = kl_divergence(outputs["latent_mean"], outputs["latent_logvar"])
        return {
            "divergence": REDUCTIONS[self.divergence_reduction](divergence),
            "reconstruction": functional.mse_loss(outputs["joint_representation"], target),
            "invariance": functional.mse_loss(outputs["invariant"], target_invariant),
            "classification": self.target_loss(outputs, batch),
        }


class VaeEncoder(nn.Module):
    """Transformer encoder over one token per utterance, then mean and log-variance of the latent.

    With one token, self-attention is a linear map, and utterances stay independent of each other (SPEC 4.4).
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


def vae_decoder(latent: int, width: int) -> nn.Sequential:
    """From [z; H], (batch, latent + width), to the joint representation, (batch, width)."""
    return nn.Sequential(
        nn.Linear(latent + width, 128),
        nn.LeakyReLU(0.01),
        nn.Linear(128, 256),
        nn.LeakyReLU(0.01),
        nn.Linear(256, width),
    )


class OneTokenLayer(nn.TransformerEncoderLayer):
    """The framework's post-norm Transformer encoder layer, computed for sequences of one token.

    Softmax over one token is always 1, so only the value projection is computed. Outputs and gradients equal those of
    the framework's layer on (batch, 1, width), with a fifth less arithmetic.
    """

    # One token needs no masks.
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
    """Return the KL divergence of every latent from N(0, 1): (batch, latent) (paper Eq. 6; SPEC 4.4)."""
    return -0.5 * (1 + logvar - mean.square() - logvar.exp())


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": torch.mean,
    "batch_mean": lambda divergence: divergence.sum(dim=1).mean(),
    "sum": torch.sum,
}
"""Interpretations of Eq. 6, which leaves open how the divergence is reduced over batch and latents (SPEC 12)."""
