"""The invariance MLP, the classifier head, and the initialisation of layers (SPEC 3.1, 3.2)."""

from __future__ import annotations

from torch import nn

from nmer.systems.blocks.encoders import HIDDEN


def invariance_mlp() -> nn.Sequential:
    """Build the invariance MLP, with one set of weights for all modalities (SPEC 3.1)."""
    return nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.01), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.01))


def classifier_head(width: int, hidden: tuple[int, ...], classes: int, dropout: float) -> nn.Sequential:
    """Build FC(width; hidden; classes): Linear, ReLU, Dropout per hidden layer, then Linear to logits (SPEC 3.1)."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, classes))


def initialise(module: nn.Module) -> None:
    """Initialise Linear and convolution weights with Kaiming normal (fan-in, slope 0), biases with 0 (SPEC 3.2)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, a=0, mode="fan_in")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
