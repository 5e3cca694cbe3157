"""Train NMER and MMIN in a plain form that follows the paper's text; the baseline of ``training.py``.

Nothing is shared or cached: batches are padded and the padding is encoded, noise is added utterance by utterance at
every step and every validation, the frozen teacher encodes every batch, a text is convolved as an image of one channel,
every validation condition is encoded again, and the optimiser is the framework's default.

The systems are the project's, with other towers, so their formulas are in one place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmer.names import MODALITIES, SIX_CONDITIONS
from nmer.plan.conditions import noisy_flags, training_flags
from nmer.systems.blocks.encoders import HIDDEN, LstmEncoder, TextCnn
from nmer.systems.building import build_system
from nmer.systems.interface import Batch, Sequences, System

ALPHA_BAR = 0.2


class PlainLstm(nn.Module):
    """LSTM over padded sequences. Padding may be the maximum; only the comparison of gradients masks it."""

    def __init__(self, encoder: LstmEncoder) -> None:
        super().__init__()
        self.lstm = nn.LSTM(encoder.lstm.input_size, HIDDEN, batch_first=True)

    def forward(self, sequences: Sequences, masked: bool = False) -> Tensor:
        outputs, _ = self.lstm(sequences.values)
        if masked:
            outputs = outputs.masked_fill(~sequences.valid()[:, :, None], float("-inf"))
        return outputs.amax(dim=1)


class PlainTextCnn(nn.Module):
    """Convolutions of an image of one channel that is as wide as a token."""

    def __init__(self, encoder: TextCnn, dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(1, HIDDEN, (window, dim)) for window in TextCnn.WINDOWS)
        self.dropout = nn.Dropout(encoder.dropout.p)
        self.projection = nn.Linear(len(TextCnn.WINDOWS) * HIDDEN, HIDDEN)

    def forward(self, sequences: Sequences, masked: bool = False) -> Tensor:
        image = sequences.values[:, None]
        pooled = [convolution(image).relu().squeeze(3).amax(dim=2) for convolution in self.convolutions]
        return self.projection(self.dropout(torch.cat(pooled, dim=1))).relu()


class PlainEncoding(nn.Module):
    """Encoding h_m, or [h_m; H_m] if there is a tower of invariance encoders."""

    def __init__(self, specific: nn.ModuleDict, invariance: nn.ModuleDict | None, mlp: nn.Module | None) -> None:
        super().__init__()
        self.specific, self.invariance, self.invariance_mlp = specific, invariance, mlp
        self.masked = False

    def forward(self, modality: str, sequences: Sequences) -> Tensor:
        specific = self.specific[modality](sequences, self.masked)
        if self.invariance is None:
            return specific
        return torch.cat([specific, self.invariance_mlp(self.invariance[modality](sequences, self.masked))], dim=1)

    def subnetworks(self):
        """Yield the modules whose gradients are clipped separately."""
        parts = (self.specific, self.invariance) if self.invariance is not None else (self.specific,)
        for tower in parts:
            yield from tower.values()
        if self.invariance is not None:
            yield self.invariance_mlp


class OneTokenSequence(nn.Module):
    """The framework's Transformer layer on sequences of one token."""

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        attention = layer.self_attn
        self.layer = nn.TransformerEncoderLayer(
            attention.embed_dim, attention.num_heads, layer.linear1.out_features, layer.dropout.p, batch_first=True
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layer(features[:, None])[:, 0]


def plain_system(name: str, dims: dict[str, int], classes: int, dropout: float = 0.5, **options) -> System:
    """Return the project's system with plain towers and, if it has one, a plain Transformer."""
    system = build_system(name, dims, classes, dropout, options)

    def tower(encoders: nn.ModuleDict) -> nn.ModuleDict:
        return nn.ModuleDict(
            {
                modality: PlainTextCnn(encoder, dims[modality]) if isinstance(encoder, TextCnn) else PlainLstm(encoder)
                for modality, encoder in encoders.items()
            }
        )

    if hasattr(system, "towers"):
        towers = system.towers
        encoding = PlainEncoding(tower(towers.specific), tower(towers.invariance), towers.invariance_mlp)
        system.towers = encoding
    else:
        encoding = PlainEncoding(tower(system.encoders), None, None)
        system.encoders = encoding
    system.encode = encoding.__call__
    if hasattr(system, "vae_encoder"):
        layers = system.vae_encoder.layers
        system.vae_encoder.layers = nn.ModuleList(OneTokenSequence(layer) for layer in layers)
    return system


def copy_weights(source: System, target: System) -> None:
    """Copy the weights of the project's system to a plain system, in the same order."""
    for value, given in zip(target.parameters(), ordered(source, target), strict=True):
        value.data.copy_(given.data.view(value.shape))


def ordered(source: System, target: System) -> list[nn.Parameter]:
    """Return the parameters of the project's system in the order of those of the plain one."""
    parameters = dict(source.named_parameters())

    def own(name: str) -> str:
        name = name.replace(".layer.", ".")
        return name.replace("encoders.specific.", "encoders.")

    return [parameters[own(name)] for name, _parameter in target.named_parameters()]


class PlainTraining:
    """Training and validation of one system on utterances in memory."""

    def __init__(
        self,
        system: System,
        teacher: System,
        reversed_target: bool,
        utterances: dict[str, list[Tensor]],
        labels: Tensor,
    ) -> None:
        """reversed_target: whether the teacher encodes the reversed triple instead of the clean one. utterances: per
        modality (frames, dim) each, clean, in the units of the system's input."""
        self.system, self.teacher = system, teacher.requires_grad_(False).eval()
        self.reversed_target = reversed_target
        self.utterances, self.labels = utterances, labels
        self.optimiser = torch.optim.AdamW(system.parameters(), 2e-4, weight_decay=1e-5)

    def step(self, rows: list[int], noisy: Tensor) -> None:
        """Train one step. noisy: (batch, 3) bool in the order a, v, l."""
        self.system.train()
        batch = self.batch(rows, noisy)
        loss = sum(self.system.loss(self.system(batch), batch).values())
        self.optimiser.zero_grad()
        loss.backward()
        for part in self.system.subnetworks():
            torch.nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        self.optimiser.step()
        loss.item()

    def batch(self, rows: list[int], noisy: Tensor) -> Batch:
        """Return a batch, padded, corrupted and encoded by the teacher."""
        flags = {m: noisy[:, number] for number, m in enumerate(MODALITIES)}
        clean = {m: padded([self.utterances[m][row] for row in rows]) for m in MODALITIES}
        drawn = {m: with_noise(sequences, torch.ones(len(rows), dtype=torch.bool)) for m, sequences in clean.items()}
        observed = {m: chosen(clean[m], drawn[m], flags[m]) for m in MODALITIES}
        if self.reversed_target:
            clean = {m: chosen(clean[m], drawn[m], ~flags[m]) for m in MODALITIES}
        with torch.no_grad():
            target = {m: self.teacher.encode(m, clean[m]) for m in MODALITIES}
        # A reversed triple replaces both, because the loss reads each modality from one of them.
        return Batch(observed, self.labels[rows], flags, teacher_clean=target, teacher_noisy=target)

    def epoch(self, rows: list[int], batch_size: int) -> None:
        """Train on the rows, every utterance under one of the six conditions."""
        noisy = torch.from_numpy(training_flags("incomplete", len(rows), "plain", 1, 1, 0))
        for start in range(0, len(rows), batch_size):
            part = slice(start, start + batch_size)
            self.step(rows[part], noisy[part])

    @torch.no_grad()
    def validate(self, conditions: list[list[str]], rows: list[int], batch_size: int) -> list[Tensor]:
        """Return the predictions. conditions: those of every row."""
        self.system.eval()
        found = []
        for condition in SIX_CONDITIONS:
            chosen_rows = [row for row, given in zip(rows, conditions, strict=True) if condition in given]
            flags = torch.from_numpy(noisy_flags(condition))
            for start in range(0, len(chosen_rows), batch_size):
                part = chosen_rows[start : start + batch_size]
                observed = {}
                for number, m in enumerate(MODALITIES):
                    sequences = padded([self.utterances[m][row] for row in part])
                    observed[m] = with_noise(sequences, flags[number].expand(len(part)))
                encodings = {m: self.system.encode(m, observed[m]) for m in MODALITIES}
                found.append(self.system.fuse(encodings)["logits"].argmax(dim=1))
        return found


def padded(utterances: list[Tensor]) -> Sequences:
    """Zero-pad to the longest."""
    lengths = torch.tensor([len(frames) for frames in utterances])
    return Sequences(nn.utils.rnn.pad_sequence(utterances, batch_first=True), lengths)


def with_noise(sequences: Sequences, noisy: Tensor) -> Sequences:
    """Apply the closed form to every noisy utterance individually, including padding."""
    values = sequences.values.clone()
    for row in range(len(values)):
        if noisy[row]:
            values[row] = ALPHA_BAR**0.5 * values[row] + (1 - ALPHA_BAR) ** 0.5 * torch.randn_like(values[row])
    return Sequences(values, sequences.lengths)


def chosen(clean: Sequences, noisy: Sequences, flags: Tensor) -> Sequences:
    """Select the noisy or the clean form of each utterance."""
    return Sequences(torch.where(flags[:, None, None], noisy.values, clean.values), clean.lengths)
