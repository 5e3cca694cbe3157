"""The experts of MoMKE: one Transformer per modality, without normalisation (../shared/SYSTEMS.md, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn

from nmer.names import modality_set
from nmer.options import Count
from nmer.systems.blocks.attention import attention, encode_in_blocks, frame_means
from nmer.systems.interface import Sequences, System

WIDTH = 256


class ExpertBlock(nn.Module):
    """h + Y with Y = S + MLP(S), where S is the result of self-attention; no output projection, no LayerNorm."""

    def __init__(self, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.mlp = mlp(WIDTH, dropout)

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """frames: (batch, longest, 256). valid: (batch, longest) bool."""
        attended = attention(self.query(frames), self.key(frames), self.value(frames), self.heads, valid)
        found: Tensor = frames + attended + self.mlp(attended)
        return found


class Expert(nn.Module):
    """A sequence of blocks."""

    def __init__(self, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ExpertBlock(heads, dropout) for _ in range(depth))

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """As :class:`ExpertBlock`."""
        for block in self.blocks:
            frames = block(frames, valid)
        return frames


def mlp(outputs: int, dropout: float) -> nn.Sequential:
    """Build Linear 256, GELU, dropout, Linear, dropout: part of experts, and routers."""
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(dropout), nn.Linear(WIDTH, outputs), nn.Dropout(dropout)
    )


def projections(dims: dict[str, int], dropout: float) -> nn.ModuleDict:
    """Build per modality the projection of its features to the width of the experts."""
    return nn.ModuleDict({m: nn.Sequential(nn.Linear(dims[m], WIDTH), nn.Dropout(dropout)) for m in modality_set(dims)})


def experts(dims: dict[str, int], depth: int, heads: int, dropout: float) -> nn.ModuleDict:
    """Build one expert per modality."""
    return nn.ModuleDict({modality: Expert(depth, heads, dropout) for modality in modality_set(dims)})


class ExpertSystem(System):
    """A system with a projection and an expert per modality, whose encodings are means over frames."""

    initialisation = "framework"

    depth: Count = 4
    heads: Literal[1, 2, 4, 8] = 2
    tokens: Literal["frames", "mean"] = "frames"

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.projections = projections(dims, dropout)
        self.experts = experts(dims, self.depth, self.heads, dropout)

    def mean_over_frames(
        self, modality: str, sequences: Sequences, encode: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Project the frames, or by the option ``tokens`` their mean, encode them, and average: (batch, 256).

        encode: from frames, (batch, longest, 256), and their mask, (batch, longest) bool, to frames.
        """

        def of_frames(own: Sequences) -> Tensor:
            frames, valid = self.projections[modality](own.values), own.valid()
            return frame_means(encode(frames, valid), valid)

        return encode_in_blocks(of_frames, mean_frame(sequences) if self.tokens == "mean" else sequences)


def mean_frame(sequences: Sequences) -> Sequences:
    """Reduce every utterance to one frame, the mean of its frames."""
    values, lengths = sequences
    return Sequences(frame_means(values, sequences.valid())[:, None], lengths.clamp(max=1))
