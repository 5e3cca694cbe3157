"""LNLN: language as the dominant modality, completed by a proxy made from the others (NeurIPS 2024)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.options import Count, Weight
from nmer.systems.blocks.attention import LearnedTokens, attention, encode_in_blocks
from nmer.systems.blocks.encodings import join, select
from nmer.systems.blocks.recurrence import pads
from nmer.systems.interface import Batch, Sequences, System, summed
from nmer.systems.registry import system

WIDTH = 128
TOKENS = 8
"""Tokens that represent a modality."""

HEADS = 8
INNER = 512
"""Width of queries, keys and values in a Transformer layer: 64 per head."""

HYPER_LAYERS = 3
DOMINANT = "l"


@system(
    "lnln",
    pretraining="none",
    # Known noisy language is replaced by its proxy; with all modalities noisy the flags would be constant.
    regimes={"noise_flags": {False: ("incomplete", "all_noisy"), True: ("incomplete",)}},
    fewest_modalities=2,
    modalities=("l",),
)
class Lnln(System):
    """The completeness of language weighs it against its proxy; the corrected language then queries the others."""

    initialisation = "framework"

    fusion_layers: Count = 4
    max_frames: Count = 512
    completeness_weight: Weight = 0.9
    adversarial_weight: Weight = 0.8
    reconstruction_weight: Weight = 0.1
    reversal: Literal["discriminator", "released"] = "discriminator"
    detach_targets: bool = False
    noise_flags: bool = False

    def __init__(self, dims: dict[str, int], classes: int, dropout: float, **options: Any) -> None:
        super().__init__(dims, classes, dropout, **options)
        self.others = tuple(modality for modality in self.modalities if modality != DOMINANT)
        self.encoders = nn.ModuleDict({m: ModalityEncoder(dims[m], self.max_frames) for m in self.modalities})
        if self.noise_flags:
            del self.weights["completeness"]
        else:
            self.completeness = Completeness()
        self.proxy_start = LearnedTokens(TOKENS, WIDTH, "ones")
        self.generator = TokenEncoder(inputs=TOKENS * len(self.modalities), tokens=TOKENS)
        self.language = TokenEncoder(inputs=TOKENS)
        self.hyper_start = LearnedTokens(TOKENS, WIDTH, "ones")
        self.hyper = nn.ModuleList(HyperLayer(len(self.others)) for _ in range(HYPER_LAYERS))
        self.fusion = Fusion(self.fusion_layers)
        self.classifier = nn.Linear(WIDTH, classes)
        self.reconstructors = nn.ModuleDict({m: TokenEncoder(inputs=TOKENS) for m in self.modalities})
        self.discriminator = nn.Sequential(nn.Linear(WIDTH, 64), nn.LeakyReLU(0.1), nn.Linear(64, 2))

    def encode(self, modality: str, sequences: Sequences) -> Tensor:
        """The modality's eight tokens, concatenated: (batch, 1024). Frames beyond ``max_frames`` are cut."""
        values, lengths = sequences
        if values.shape[1] > self.max_frames:
            warn_of_cut(modality, values.shape[1], self.max_frames)
            sequences = Sequences(values[:, : self.max_frames], lengths.clamp(max=self.max_frames))
        return encode_in_blocks(self.encoders[modality], sequences)

    def fuse(self, encodings: dict[str, Tensor], noisy: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Logits, the completeness w, (batch, 1), and the proxy and the corrected tokens of language.

        noisy: given with ``noise_flags``; w is then 1 where language is clean, 0 where it is noisy.
        """
        tokens = {modality: own.unflatten(1, (TOKENS, WIDTH)) for modality, own in encodings.items()}
        language, others = tokens[DOMINANT], [tokens[modality] for modality in self.others]
        batch = len(language)
        completeness = self.completeness(language) if noisy is None else flags_of_clean(noisy, language.dtype)
        proxy = self.generator(torch.cat([self.proxy_start(batch), *others], dim=1))
        through = reverse_gradient(proxy) if self.reversal == "released" else proxy
        share = completeness[:, :, None]
        corrected = (1 - share) * through + share * language
        states = self.language.states(corrected)
        hyper = self.hyper_start(batch)
        for layer, state in zip(self.hyper, states, strict=True):
            hyper = layer(hyper, state, others)
        return {
            "logits": self.classifier(self.fusion(states[-1], hyper).mean(dim=1)),
            "completeness": completeness,
            "proxy": proxy,
            "corrected": corrected,
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The outputs of :meth:`fuse`; in training also reconstructions and clean tokens, (batch, modalities x 8, 128),
        and the discriminator's logits of corrected and of clean tokens, (2 x batch x 8, 2)."""
        if not self.training:
            return super().forward(batch)
        encodings, clean = {}, {}
        for modality in self.modalities:
            encodings[modality], clean[modality] = self._both_views(modality, batch)
        outputs = self.fuse_observed(encodings, batch.noisy)

        def tokens(encoding: Tensor) -> Tensor:
            found: Tensor = encoding.unflatten(1, (TOKENS, WIDTH))
            return found

        rebuilt = [self.reconstructors[modality](tokens(encodings[modality])) for modality in self.modalities]
        corrected, target = outputs["corrected"], tokens(clean[DOMINANT])
        if self.reversal == "discriminator":
            share = outputs["completeness"].detach()[:, :, None]
            known = (share * tokens(encodings[DOMINANT])).detach()
            corrected, target = (1 - share) * reverse_gradient(outputs["proxy"]) + known, target.detach()
        return outputs | {
            "reconstruction": torch.cat(rebuilt, dim=1),
            "clean": torch.cat([tokens(clean[modality]) for modality in self.modalities], dim=1),
            "discriminated": self.discriminator(torch.cat([corrected, target]).flatten(0, 1)),
        }

    def _both_views(self, modality: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """Encodings of the observed and of the clean sequences of a modality, (batch, 1024) each."""
        observed, clean = batch.observed[modality], batch.clean(modality)
        if pads(observed.values):
            seen, target = self.encode(modality, join([observed, clean])).chunk(2)
            return seen, target
        # Without dropout both views of an utterance have the same encoding unless the modality is noisy.
        noisy = batch.noisy[modality].nonzero().flatten()
        found = self.encode(modality, join([observed, select(clean, noisy)]))
        rows = torch.arange(len(observed.lengths))
        clean_rows = rows.index_copy(0, noisy, len(rows) + torch.arange(len(noisy)))
        return found[: len(rows)], found.index_select(0, clean_rows)

    def loss_terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, completeness of language, adversarial and reconstruction terms."""
        found, clean = outputs["discriminated"], outputs["clean"]
        corrected = torch.arange(len(found), device=found.device) < len(found) // 2
        terms = {
            "classification": self.target_loss(outputs, batch),
            "adversarial": functional.cross_entropy(found, corrected.long()),
            "reconstruction": functional.mse_loss(
                outputs["reconstruction"], clean.detach() if self.detach_targets else clean
            ),
        }
        if not self.noise_flags:
            target = flags_of_clean(batch.noisy, found.dtype)
            terms["completeness"] = functional.mse_loss(outputs["completeness"], target)
        return terms


def flags_of_clean(noisy: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
    """Return 1 where language is clean, 0 where it is noisy: (batch, 1)."""
    return (~noisy[DOMINANT][:, None]).to(dtype)


def reverse_gradient(values: Tensor) -> Tensor:
    """Return the values with a gradient of opposite sign, in a form that ``torch.vmap`` supports."""
    return 2 * values.detach() - values


@cache
def warn_of_cut(modality: str, longest: int, most: int) -> None:
    """Warn once about utterances that are longer than the encoder's positions."""
    print(
        f"warning: lnln: utterances of up to {longest} frames of modality {modality} are cut to max_frames {most}.",
        file=sys.stderr,
    )


class TransformerLayer(nn.Module):
    """Pre-norm attention to a context, 8 heads of 64, and a feed-forward part as wide as the tokens; no dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_query, self.norm_key, self.norm_value, self.norm = (nn.LayerNorm(WIDTH) for _ in range(4))
        self.query, self.key, self.value = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(3))
        self.output = nn.Linear(INNER, WIDTH)
        self.feed_forward = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, tokens: Tensor, context: Tensor, valid: Tensor | None = None) -> Tensor:
        """tokens: (batch, n, 128). context: (batch, k, 128), the tokens themselves for self-attention. valid: (batch,
        k) bool."""
        query, key = self.query(self.norm_query(tokens)), self.key(self.norm_key(context))
        attended = attention(query, key, self.value(self.norm_value(context)), HEADS, valid)
        tokens = tokens + self.output(attended)
        found: Tensor = tokens + self.feed_forward(self.norm(tokens))
        return found


class TokenEncoder(nn.Module):
    """Two layers over leading tokens and inputs, with learned positions."""

    def __init__(self, inputs: int, tokens: int = 0) -> None:
        """inputs: largest number of inputs. tokens: number of leading tokens, initially 0."""
        super().__init__()
        self.tokens = LearnedTokens(tokens, WIDTH, "zeros") if tokens else None
        self.positions = LearnedTokens(tokens + inputs, WIDTH, "normal")
        self.layers = nn.ModuleList(TransformerLayer() for _ in range(2))
        self.count = tokens

    def states(self, inputs: Tensor, valid: Tensor | None = None) -> list[Tensor]:
        """The input of the first layer and the output of each layer: (batch, tokens + n, 128), of the last layer only
        the tokens if there are any. inputs: (batch, n, 128). valid: (batch, n) bool."""
        if self.tokens is not None:
            inputs = torch.cat([self.tokens(len(inputs)), inputs], dim=1)
            if valid is not None:
                valid = functional.pad(valid, (self.count, 0), value=True)
        states = [inputs + self.positions.values[: inputs.shape[1]]]
        *before, last = self.layers
        for layer in before:
            states.append(layer(states[-1], states[-1], valid))
        states.append(last(states[-1][:, : self.count or None], states[-1], valid))
        return states

    def forward(self, inputs: Tensor, valid: Tensor | None = None) -> Tensor:
        """The tokens, (batch, tokens, 128), or all positions if there are no tokens."""
        return self.states(inputs, valid)[-1]


class ModalityEncoder(nn.Module):
    """From the frames of a modality to its eight tokens."""

    def __init__(self, dim: int, max_frames: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dim, WIDTH)
        self.encoder = TokenEncoder(max_frames, TOKENS)

    def forward(self, sequences: Sequences) -> Tensor:
        """(batch, 8 x 128)."""
        tokens: Tensor = self.encoder(self.projection(sequences.values), sequences.valid())
        return tokens.flatten(1)


class Completeness(nn.Module):
    """Estimates the completeness of language, between 0 and 1: (batch, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = TokenEncoder(TOKENS, 1)
        self.head = nn.Sequential(nn.Linear(WIDTH, 64), nn.LeakyReLU(0.1), nn.Linear(64, 1), nn.Sigmoid())

    def forward(self, language: Tensor) -> Tensor:
        """language: (batch, 8, 128)."""
        found: Tensor = self.head(self.encoder(language)[:, 0])
        return found


class HyperLayer(nn.Module):
    """The dominant modality queries the others; the sum of the results is added to the normalised hyper-modality."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.norm_hyper, self.norm_dominant = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(others))
        self.keys, self.values = (
            nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(others)) for _ in range(2)
        )
        self.output = nn.Linear(WIDTH, WIDTH)

    def forward(self, hyper: Tensor, dominant: Tensor, others: list[Tensor]) -> Tensor:
        """hyper, dominant: (batch, 8, 128). others: the same of each other modality."""
        query = self.query(self.norm_dominant(dominant))
        contexts = [norm(other) for norm, other in zip(self.norms, others, strict=True)]
        found = [
            attention(query, key(context), value(context), HEADS)
            for key, value, context in zip(self.keys, self.values, contexts, strict=True)
        ]
        joined: Tensor = self.norm_hyper(hyper) + self.output(summed(found))
        return joined


class Fusion(nn.Module):
    """The dominant modality attends to the hyper-modality. A shared learned token precedes both."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.token = LearnedTokens(1, WIDTH, "zeros")
        self.source_positions, self.target_positions = (LearnedTokens(TOKENS + 1, WIDTH, "normal") for _ in range(2))
        self.layers = nn.ModuleList(TransformerLayer() for _ in range(layers))

    def forward(self, dominant: Tensor, hyper: Tensor) -> Tensor:
        """The fused tokens of the dominant modality: (batch, 8, 128), like dominant and hyper."""
        source = torch.cat([self.token(len(hyper)), hyper], dim=1) + self.source_positions.values
        # The token before the dominant modality is not read: targets attend to the source only.
        target = dominant + self.target_positions.values[1:]
        for layer in self.layers:
            target = layer(target, source)
        return target
