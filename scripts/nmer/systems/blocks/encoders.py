"""The encoders of the modalities, from sequences to 128 dimensions (SPEC 3.1)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.names import modality_set
from nmer.systems.blocks.convolution import window_maxima
from nmer.systems.blocks.recurrence import lstm_maxima
from nmer.systems.interface import Sequences

HIDDEN = 128
LEXICAL_MODALITY = "l"


class LstmEncoder(nn.Module):
    """One-layer unidirectional LSTM, maximum over time of its outputs (SPEC 3.1; a and v)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, HIDDEN, batch_first=True)

    def forward(self, sequences: Sequences) -> Tensor:
        """(batch, 128). Frames beyond an utterance's length never win the maximum."""
        return self.side_by_side([self], sequences)[0]

    @staticmethod
    def side_by_side(encoders: list[LstmEncoder], sequences: Sequences) -> list[Tensor]:
        """Encode the same sequences with several encoders jointly, which is faster than one by one."""
        return list(lstm_maxima([encoder.lstm for encoder in encoders], sequences))


class TextCnn(nn.Module):
    """Convolutions over windows of 3, 4 and 5 tokens, maximum over time, linear projection (SPEC 3.1; l)."""

    WINDOWS = (3, 4, 5)
    DROPOUT = 0.5

    def __init__(self, dim: int) -> None:
        super().__init__()
        # Linear maps of whole windows, token by token: the weights of convolutions as wide as a token.
        self.convolutions = nn.ModuleList(nn.Linear(window * dim, HIDDEN) for window in self.WINDOWS)
        self.dropout = nn.Dropout(self.DROPOUT)
        self.projection = nn.Linear(len(self.WINDOWS) * HIDDEN, HIDDEN)

    def forward(self, sequences: Sequences) -> Tensor:
        """(batch, 128). A text shorter than the widest window is zero-padded to that length. Windows that reach beyond
        an utterance's length never win the maximum, so the longest text of a batch does not affect other encodings."""
        return self.side_by_side([self], sequences)[0]

    @classmethod
    def side_by_side(cls, encoders: list[TextCnn], sequences: Sequences) -> list[Tensor]:
        """Encode the same texts with several encoders jointly, which is faster than one by one."""
        shortest = max(cls.WINDOWS)
        missing = max(0, shortest - sequences.values.shape[1])
        tokens = functional.pad(sequences.values, (0, 0, 0, missing)).transpose(0, 1).contiguous()
        lengths = sequences.lengths.clamp(min=shortest)
        pooled: list[list[Tensor]] = [[] for _ in encoders]
        for number, window in enumerate(cls.WINDOWS):
            filters = [cast(nn.Linear, encoder.convolutions[number]) for encoder in encoders]
            weights = torch.cat([part.weight for part in filters]).unflatten(1, (window, -1))
            maxima = window_maxima(tokens, weights, torch.cat([part.bias for part in filters]), lengths)
            for part, found in zip(maxima.chunk(len(encoders), dim=1), pooled, strict=True):
                found.append(part)
        # ReLU commutes with the maximum.
        return [
            functional.relu(encoder.projection(encoder.dropout(functional.relu(torch.cat(found, dim=1)))))
            for encoder, found in zip(encoders, pooled, strict=True)
        ]


def encoder(modality: str, dim: int) -> nn.Module:
    """Build the encoder of a modality, to 128 dimensions: LSTM for a and v, TextCNN for l."""
    return TextCnn(dim) if modality == LEXICAL_MODALITY else LstmEncoder(dim)


def encoder_tower(dims: dict[str, int]) -> nn.ModuleDict:
    """Build one encoder per modality. dims: width of each modality."""
    return nn.ModuleDict({modality: encoder(modality, dims[modality]) for modality in modality_set(dims)})


def joint_width(dims: dict[str, int]) -> int:
    """Return the width of the concatenated encodings: 128 per modality, 384 for all three (SPEC 13)."""
    return len(modality_set(dims)) * HIDDEN
