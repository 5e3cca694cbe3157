"""Cascade auto-encoders of MMIN, IF-MMIN and CIF-MMIN, of five blocks each (SPEC 4.2, 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCKS = 5
CODE = 64
CODES_WIDTH = BLOCKS * CODE


class _Blocks(nn.Module):
    """The blocks and the transition after them; a subclass defines the input of each block."""

    def __init__(self, width: int) -> None:
        """width: of the reconstructed encodings, 384 for three modalities."""
        super().__init__()
        self.encoders = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, 256),
                nn.LeakyReLU(0.01),
                nn.Linear(256, 128),
                nn.LeakyReLU(0.01),
                nn.Linear(128, CODE),
            )
            for _ in range(BLOCKS)
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(nn.Linear(CODE, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, width))
            for _ in range(BLOCKS)
        )
        self.transition = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


class CascadeAutoencoder(_Blocks):
    """Every block reconstructs the residual of the previous blocks (SPEC 4.2)."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features: (batch, width). Returns the output, (batch, width), and the blocks' codes, (batch, 320)."""
        accumulated, codes = features, []
        for encoder, decoder in zip(self.encoders, self.decoders, strict=True):
            codes.append(encoder(accumulated))
            accumulated = accumulated + decoder(codes[-1])
        return self.transition(accumulated), torch.cat(codes, dim=1)


class GuidedResidualCascade(_Blocks):
    """As :class:`GuidedCascadeAutoencoder`, but the output is computed from the sum of the last block's input and
    output, as in CIF-MMIN. The codes are not used."""

    def forward(self, features: Tensor, invariant: Tensor) -> Tensor:
        """features, invariant: (batch, width). Returns the output, (batch, width)."""
        guided, output = features, features
        for encoder, decoder in zip(self.encoders, self.decoders, strict=True):
            guided = output + invariant
            output = decoder(encoder(guided))
        imagined: Tensor = self.transition(guided + output)
        return imagined


class GuidedCascadeAutoencoder(_Blocks):
    """Every block reads the previous block's output together with the invariant features (SPEC 4.3, as corrected)."""

    def forward(self, features: Tensor, invariant: Tensor) -> tuple[Tensor, Tensor]:
        """features, invariant: (batch, width). Returns the output, (batch, width), and the codes, (batch, 320)."""
        output, codes = features, []
        for encoder, decoder in zip(self.encoders, self.decoders, strict=True):
            codes.append(encoder(output + invariant))
            output = decoder(codes[-1])
        return self.transition(output), torch.cat(codes, dim=1)
