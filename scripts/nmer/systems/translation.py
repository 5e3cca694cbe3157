"""Translating one modality into another and back: encoder, attention decoder, summary, targets (SPEC 4.6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.systems.blocks import HIDDEN
from nmer.systems.interface import Sequences
from nmer.systems.recurrence import by_framework, lstm_outputs, lstm_weights
from nmer.systems.repeats import together

STEPS = 20
"""Steps of a decoded sequence and of its target: the official code's longest sequence."""


class CyclicTranslator(nn.Module):
    """Translates a source modality into a target modality, and the translation back into the source.

    One encoder and one decoder serve both directions. Decoded values are in units of their modality's standard
    deviation, not those of the features as fed, so the way back reads the target by a projection of its own.
    """

    def __init__(self, source_dim: int, target_dim: int) -> None:
        super().__init__()
        self.source_projection = nn.Linear(source_dim, HIDDEN)
        self.target_projection = nn.Linear(target_dim, HIDDEN)
        self.encoder = SequenceEncoder()
        self.decoder = AttentionDecoder()
        self.target_output = OutputLayer(target_dim)
        self.source_output = OutputLayer(source_dim)

    def encode(self, source: Sequences) -> Sequences:
        """The joint sequence J of the source as fed: 128 wide, as long as the source."""
        joint: Sequences = self.encoder(Sequences(self.source_projection(source.values), source.lengths))
        return joint

    def translate(self, joint: Sequences, steps: int = STEPS) -> tuple[Tensor, Tensor]:
        """The translation, (batch, steps, target_dim), and the translation back from it, (batch, steps, source_dim)."""
        translation = self.decoder(joint, self.target_output, steps)
        lengths = torch.full_like(joint.lengths, steps)
        back = self.encoder(Sequences(self.target_projection(translation), lengths))
        return translation, self.decoder(back, self.source_output, steps)


class SequenceEncoder(nn.Module):
    """One-layer bidirectional LSTM from 128 to 128 dimensions whose directions are summed."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True, bidirectional=True)

    def forward(self, sequences: Sequences) -> Sequences:
        """The joint sequence: 128 wide, zero beyond each length.

        The backward direction starts at each utterance's own last frame: a CPU packs the frames that exist, which a GPU
        would have to tell it, and turns each utterance around.
        """
        if by_framework(sequences.values):
            return Sequences(self._turning(sequences), sequences.lengths)
        packed = nn.utils.rnn.pack_padded_sequence(
            sequences.values, sequences.lengths, batch_first=True, enforce_sorted=False
        )
        outputs, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        forwards, backwards = outputs.chunk(2, dim=2)
        return Sequences(forwards + backwards, sequences.lengths)

    def _turning(self, sequences: Sequences) -> Tensor:
        values, lengths = sequences.values, sequences.lengths[:, None]
        place = torch.arange(values.shape[1], device=lengths.device)
        mirrored = torch.where(place < lengths, lengths - 1 - place, place)[:, :, None]

        def turned(frames: Tensor) -> Tensor:
            return frames.gather(1, mirrored.expand(-1, -1, frames.shape[2]))

        directions = [(values, ""), (turned(values), "_reverse")]
        forwards, backwards = lstm_outputs([(read, [lstm_weights(self.lstm, name)]) for read, name in directions])
        summed = forwards[0] + turned(backwards[0])
        return summed.masked_fill(~sequences.valid()[:, :, None], 0.0)


class OutputLayer(nn.Module):
    """A decoder's way to one modality: the head that says a step, the feedback by which the next step hears it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(2 * HIDDEN, dim)
        self.feedback = nn.Linear(dim, HIDDEN)


class AttentionDecoder(nn.Module):
    """LSTM cell with additive attention over a joint sequence.

    Every step hears what the step before said, in training too (no teacher forcing): no target is ever read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(HIDDEN, HIDDEN)
        self.attention = nn.Linear(2 * HIDDEN, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)
        self.cell = nn.LSTMCell(2 * HIDDEN, HIDDEN)

    def forward(self, joint: Sequences, output: OutputLayer, steps: int = STEPS) -> Tensor:
        """The output's modality, decoded: (batch, steps, dim)."""
        values, beyond = joint.values, ~joint.valid()
        # The attention's map of [query; key] in two parts: that of the keys is the same at every step.
        query_weight, key_weight = self.attention.weight.split(HIDDEN, dim=1)
        keys = functional.linear(values, key_weight, self.attention.bias)
        hidden = self.start(values.sum(dim=1) / joint.lengths[:, None]).tanh()
        cell, feedback = torch.zeros_like(hidden), torch.zeros_like(hidden)
        decoded = []
        for _step in range(steps):
            query = functional.linear(hidden, query_weight)
            scores = self.score((keys + query[:, None]).tanh()).squeeze(2)
            context = _weighted_sum(scores, values, beyond)
            hidden, cell = self._stepped(torch.cat([feedback, context], dim=1), hidden, cell)
            decoded.append(output.head(torch.cat([hidden, context], dim=1)))
            feedback = output.feedback(decoded[-1])
        return torch.stack(decoded, dim=1)

    def _stepped(self, given: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        if not together():
            stepped: tuple[Tensor, Tensor] = self.cell(given, (hidden, cell))
            return stepped
        # In parts that can be computed for several repeats at once; the framework's cell cannot.
        gates = functional.linear(given, self.cell.weight_ih, self.cell.bias_ih)
        gates = gates + functional.linear(hidden, self.cell.weight_hh, self.cell.bias_hh)
        entering, kept, candidate, leaving = gates.chunk(4, dim=1)
        cell = kept.sigmoid() * cell + entering.sigmoid() * candidate.tanh()
        return leaving.sigmoid() * cell.tanh(), cell


class Summary(nn.Module):
    """A joint sequence in one vector: LSTM, then its outputs weighted by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.score = nn.Linear(HIDDEN, 1)

    def forward(self, joint: Sequences) -> Tensor:
        """z: (batch, 128)."""
        if by_framework(joint.values):
            outputs = lstm_outputs([(joint.values, [lstm_weights(self.lstm)])])[0][0]
        else:
            outputs, _ = self.lstm(joint.values)
        return _weighted_sum(self.score(outputs).tanh().squeeze(2), outputs, ~joint.valid())


def _weighted_sum(scores: Tensor, values: Tensor, beyond: Tensor) -> Tensor:
    """Sum over time weighted by the softmax of the scores. scores, beyond (True where no frame is): (batch, longest);
    values: (batch, longest, width)."""
    weights = scores.masked_fill(beyond, float("-inf")).softmax(dim=1)
    return (weights[:, None] @ values).squeeze(1)


def pooled(sequences: Sequences, steps: int = STEPS) -> Tensor:
    """Every utterance's own frames in K steps, (batch, steps, dim): means over the framework's adaptive pooling bins.

    Step i of K is the mean of frames floor(i L / K) up to, but not including, ceil((i + 1) L / K), L being the length.
    """
    step = torch.arange(steps, device=sequences.lengths.device)
    start = step * sequences.lengths[:, None] // steps
    end = -(-(step + 1) * sequences.lengths[:, None] // steps)
    frames = torch.arange(sequences.values.shape[1], device=sequences.lengths.device)
    inside = (frames >= start[:, :, None]) & (frames < end[:, :, None])
    return (inside / (end - start)[:, :, None]) @ sequences.values
