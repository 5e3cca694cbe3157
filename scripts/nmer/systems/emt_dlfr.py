"""EMT-DLFR: global tokens exchange information with the frames of every modality (IEEE TAC 2023)."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.options import Count, Share, Weight
from nmer.systems.blocks.attention import Block, attention, blocks_of_length, in_order
from nmer.systems.blocks.encoders import HIDDEN
from nmer.systems.blocks.encodings import join
from nmer.systems.blocks.recurrence import lstm_frames
from nmer.systems.interface import Batch, Sequences, System, summed
from nmer.systems.registry import system

HEADS = 4
FEED_FORWARD = 512
ORDER = ("l", "a", "v")
"""Order of the modalities in this system."""

GLOBAL = "global"


class Frames(NamedTuple):
    """The encoding of one modality. summary: (batch, 128), its last frame. values: (batch, longest, 128), zero beyond
    each length. lengths: (batch,)."""

    summary: Tensor
    values: Tensor
    lengths: Tensor


@system(
    "emt_dlfr",
    pretraining="none",
    regimes=("incomplete", "all_noisy"),
    fewest_modalities=2,
)
class EmtDlfr(System):
    """The observed view is attracted to the clean view, and the clean features are reconstructed from noisy frames."""

    initialisation = "framework"

    layers: Count = 3
    attention_dropout: Share = 0.3
    feed_forward_dropout: Share = 0.1
    attraction_weight: Weight = 1.0
    reconstruction_weight: Weight = 1.0
    scaled_targets: bool = True

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.order = tuple(modality for modality in ORDER if modality in self.modalities)
        self.encoders = nn.ModuleDict({m: nn.LSTM(dims[m], HIDDEN, batch_first=True) for m in self.modalities})
        # All directions, modalities and layers share one exchange and one pooling.
        self.exchange = Exchange(self.attention_dropout, self.feed_forward_dropout)
        width = len(self.order) * HIDDEN
        self.pooling = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(2 * width, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, classes),
        )
        self.attraction = nn.ModuleDict({GLOBAL: Attraction(width, HIDDEN)})
        self.attraction.update({modality: Attraction(HIDDEN, HIDDEN // 2) for modality in self.modalities})
        self.reconstruction = nn.ModuleDict({m: nn.Linear(HIDDEN, dims[m]) for m in self.modalities})
        self.weights["clean_classification"] = self.attraction_weight

    def encode(self, modality: str, sequences: Sequences) -> Frames:
        """Outputs of the modality's LSTM, and the last of each utterance as its summary."""
        values = lstm_frames(cast(nn.LSTM, self.encoders[modality]), sequences)
        last = (sequences.lengths - 1)[:, None, None].expand(-1, 1, HIDDEN)
        return Frames(values.gather(1, last).squeeze(1), values, sequences.lengths)

    def fuse(self, encodings: dict[str, Frames]) -> dict[str, Tensor]:
        """Logits, the global tokens, (batch, 128 x modalities), summaries and, in training, the last frames."""
        blocks = {}
        for modality in self.order:
            own = encodings[modality]
            blocks[modality] = blocks_of_length(Sequences(own.values + sinusoids(own.values), own.lengths))
        tokens = torch.stack([encodings[modality].summary for modality in self.order], dim=1)
        for number in range(self.layers):
            found = torch.stack([self._updated(tokens, blocks[m]).flatten(1) for m in self.order], dim=1)
            # Only the reconstruction reads the frames of the last layer.
            if self.training or number + 1 < self.layers:
                blocks = {m: self._exchanged(blocks[m], tokens) for m in self.order}
            shares = self.pooling(found).softmax(dim=1)
            tokens = (shares * found).sum(dim=1).unflatten(1, (len(self.order), HIDDEN))
        summaries = {modality: encodings[modality].summary for modality in self.order}
        logits = self.classifier(torch.cat([*summaries.values(), tokens.flatten(1)], dim=1))
        outputs = {"logits": logits, GLOBAL: tokens.flatten(1)} | summaries
        if self.training:
            outputs |= {f"frames_{m}": in_order([own.values for _, own in blocks[m]], blocks[m]) for m in self.order}
        return outputs

    def _updated(self, tokens: Tensor, blocks: list[Block]) -> Tensor:
        """G_m, (batch, modalities, 128): the global tokens after an exchange with the frames of one modality."""
        return in_order([self.exchange(tokens[rows], own.values, own.valid()) for rows, own in blocks], blocks)

    def _exchanged(self, blocks: list[Block], tokens: Tensor) -> list[Block]:
        """The frames of one modality after an exchange with the global tokens."""
        return [
            (rows, own._replace(values=self.exchange(own.values, tokens[rows], own_valid=own.valid())))
            for rows, own in blocks
        ]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The outputs of :meth:`fuse`; in training also those of the clean view, prefixed with ``clean_``, and the
        reconstructions of the observed view, (batch, longest, dim) each."""
        if not self.training:
            return super().forward(batch)
        both = self.fuse(
            {m: self.encode(m, join([batch.observed[m], batch.clean(m)])) for m in self.modalities},
        )
        pairs = {name: output.chunk(2) for name, output in both.items()}
        outputs = {name: pair[0] for name, pair in pairs.items()}
        outputs |= {f"clean_{name}": pair[1] for name, pair in pairs.items()}
        rebuilt = {f"rebuilt_{m}": self.reconstruction[m](outputs[f"frames_{m}"]) for m in self.modalities}
        return outputs | rebuilt

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the observed and of the clean view, attraction between both and reconstruction."""
        drawn = [part(outputs[name], outputs[f"clean_{name}"]) for name, part in self.attraction.items()]
        rebuilt = [self._reconstruction(modality, outputs, batch) for modality in self.modalities]
        return {
            "classification": self.target_loss(outputs, batch),
            "attraction": summed(drawn),
            "clean_classification": self.target_loss({"logits": outputs["clean_logits"]}, batch),
            "reconstruction": summed(rebuilt),
        }

    def _reconstruction(self, modality: str, outputs: dict[str, Tensor], batch: Batch) -> Tensor:
        """Smooth L1 distance from the clean features, mean over the frames and dimensions of noisy utterances."""
        clean, rebuilt = batch.clean(modality), outputs[f"rebuilt_{modality}"]
        # The batch may be padded beyond the longest utterance; the rebuilt frames are not.
        clean = Sequences(clean.values[:, : rebuilt.shape[1]], clean.lengths)
        target = clean.values / (batch.deviations[modality] if self.scaled_targets else 1.0)
        counted = (clean.valid() & batch.noisy[modality][:, None])[:, :, None]
        distance = functional.smooth_l1_loss(rebuilt, target, reduction="none")
        return (distance * counted).sum() / (counted.sum() * target.shape[2] + 1e-6)


class Exchange(nn.Module):
    """Queries attend to a context, then to themselves, then a gated feed-forward part; pre-norm and residual."""

    def __init__(self, attention_dropout: float, feed_forward_dropout: float) -> None:
        super().__init__()
        self.to_context = NormedAttention(attention_dropout)
        self.to_itself = NormedAttention(attention_dropout, own_context=True)
        self.norm = nn.LayerNorm(HIDDEN)
        self.gated = nn.Linear(HIDDEN, 2 * FEED_FORWARD)
        self.dropout = nn.Dropout(feed_forward_dropout)
        self.output = nn.Linear(FEED_FORWARD, HIDDEN)

    def forward(
        self, queries: Tensor, context: Tensor, context_valid: Tensor | None = None, own_valid: Tensor | None = None
    ) -> Tensor:
        """queries: (batch, n, 128). context: (batch, k, 128). context_valid: (batch, k) bool, own_valid: (batch, n)
        bool; by default all are valid."""
        queries = queries + self.to_context(queries, context, context_valid)
        queries = queries + self.to_itself(queries, None, own_valid)
        values, gates = self.gated(self.norm(queries)).chunk(2, dim=-1)
        found: Tensor = queries + self.output(self.dropout(values * functional.gelu(gates)))
        return found


class NormedAttention(nn.Module):
    """Attention of 4 heads of 32, of normalised queries to a normalised context."""

    def __init__(self, dropout: float, own_context: bool = False) -> None:
        """own_context: whether the queries themselves are the context, normalised with them."""
        super().__init__()
        self.norm = nn.LayerNorm(HIDDEN)
        self.norm_context = None if own_context else nn.LayerNorm(HIDDEN)
        self.query = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.key_value = nn.Linear(HIDDEN, 2 * HIDDEN, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, queries: Tensor, context: Tensor | None, valid: Tensor | None) -> Tensor:
        """queries: (batch, n, 128). context: (batch, k, 128), or None for the queries. valid: (batch, k) bool."""
        queries = self.norm(queries)
        read = queries if context is None or self.norm_context is None else self.norm_context(context)
        keys, values = self.key_value(read).chunk(2, dim=-1)
        found: Tensor = self.output(attention(self.query(queries), keys, values, HEADS, valid, self.dropout))
        return found


class Attraction(nn.Module):
    """Projector and predictor of one representation, and the distance between its two views (SimSiam)."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.projector = nn.Sequential(nn.Linear(width, width), batch_statistics(width, affine=False))
        self.predictor = nn.Sequential(
            nn.Linear(width, bottleneck, bias=False),
            batch_statistics(bottleneck, affine=True),
            nn.ReLU(),
            nn.Linear(bottleneck, width),
        )

    def forward(self, observed: Tensor, clean: Tensor) -> Tensor:
        """Minus the mean cosine between each view's prediction and the other's projection, without gradient to it.

        observed, clean: (batch, width). 0 for a single utterance, which has no batch statistics.
        """
        if len(observed) == 1:
            return 0.0 * observed.sum()
        projected = [self.projector(view) for view in (observed, clean)]
        predicted = [self.predictor(view) for view in projected]
        cosines = [
            functional.cosine_similarity(own, other.detach(), dim=1)
            for own, other in zip(predicted, reversed(projected), strict=True)
        ]
        return -summed(cosines).mean() / 2


def batch_statistics(width: int, affine: bool) -> nn.BatchNorm1d:
    """Batch normalisation by the statistics of the batch. It runs in training only, so running statistics would be
    unused."""
    return nn.BatchNorm1d(width, affine=affine, track_running_stats=False)


def sinusoids(values: Tensor) -> Tensor:
    """Sinusoidal positions of the frames, even dimensions sine, odd ones cosine: (longest, width)."""
    longest, width = values.shape[-2:]
    place = torch.arange(longest, device=values.device, dtype=values.dtype)[:, None]
    rate = 10_000.0 ** (-torch.arange(0, width, 2, device=values.device, dtype=values.dtype) / width)
    return torch.stack([(place * rate).sin(), (place * rate).cos()], dim=-1).flatten(-2)
