"""Translating one modality into another and back: encoder, translator, summary, targets (SPEC 4.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nmer.systems.blocks.decoders import STEPS, AttentionDecoder, OutputLayer, decode
from nmer.systems.blocks.encoders import HIDDEN
from nmer.systems.blocks.packed_lstm import pack
from nmer.systems.blocks.recurrence import (
    lstm_outputs,
    lstm_rows,
    lstm_weights,
    packed_outputs,
    pads,
    under_autocast,
)
from nmer.systems.blocks.reindexing import reindexed
from nmer.systems.blocks.repeats import across_repeats
from nmer.systems.blocks.step_counts import Counts
from nmer.systems.blocks.step_rows import Frames, StepRows, by_steps
from nmer.systems.interface import Sequences


class CyclicTranslator(nn.Module):
    """Translate a source modality into a target modality, and the translation back into the source.

    One encoder and one decoder serve both directions. Decoded values are in units of their modality's standard
    deviation, unlike the input features, so the back-translation reads the target through a separate projection.
    """

    def __init__(self, source_dim: int, target_dim: int) -> None:
        super().__init__()
        self.source_projection = nn.Linear(source_dim, HIDDEN)
        self.target_projection = nn.Linear(target_dim, HIDDEN)
        self.encoder = SequenceEncoder()
        self.decoder = AttentionDecoder()
        self.target_output = OutputLayer(target_dim)
        self.source_output = OutputLayer(source_dim)

    def encode(self, source: Sequences) -> Frames:
        """Return the joint sequence J of the source: 128 wide, as long as the source."""
        return encode_sources([self], [source])[0]


def encode_sources(translators: Sequence[CyclicTranslator], sources: list[Sequences]) -> list[Frames]:
    """Return the joint sequence of each translator for its source. Computing them together is faster."""
    projected: list[Frames] = [
        source._replace(values=part.source_projection(source.values))
        for part, source in zip(translators, by_steps(sources), strict=True)
    ]
    return encode([part.encoder for part in translators], projected)


def translate(
    translators: Sequence[CyclicTranslator], joints: Sequence[Frames], steps: int = STEPS
) -> tuple[list[Tensor], list[Tensor]]:
    """Return per translator the translation of its joint sequence, (batch, steps, target_dim), and the translation
    back, (batch, steps, source_dim). Computing them together is faster."""
    decoders = [part.decoder for part in translators]
    translations = decode(decoders, [part.target_output for part in translators], joints, steps)
    projected = [
        Sequences(part.target_projection(translation), torch.full_like(joint.lengths, steps))
        for part, translation, joint in zip(translators, translations, joints, strict=True)
    ]
    backs = encode([part.encoder for part in translators], projected)
    return translations, decode(decoders, [part.source_output for part in translators], backs, steps)


class SequenceEncoder(nn.Module):
    """One-layer bidirectional LSTM from 128 to 128 dimensions whose directions are summed."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True, bidirectional=True)

    def forward(self, sequences: Frames) -> Frames:
        """Return the joint sequence: 128 wide, zero beyond each length. The backward direction starts at the last frame
        of each utterance."""
        return encode([self], [sequences])[0]


def encode(encoders: Sequence[SequenceEncoder], sequences: Sequence[Frames]) -> list[Frames]:
    """Return the joint sequence of each encoder for its sequences, in single precision as all LSTMs. Sequences are all
    padded or all rows, and so are the joint sequences."""
    if under_autocast(sequences[0].values):
        with torch.autocast(sequences[0].values.device.type, enabled=False):
            return encode(encoders, [each._replace(values=each.values.float()) for each in sequences])
    if isinstance(sequences[0], StepRows):
        return _encoded_rows(encoders, [each for each in sequences if isinstance(each, StepRows)])
    if not pads(sequences[0].values):
        return [_packed(*pair) for pair in zip(encoders, sequences, strict=True)]
    readers, turns = [], []
    for encoder, own in zip(encoders, sequences, strict=True):
        values, lengths = own[:2]
        # Frames before utterances in memory, as an LSTM reads and returns them: every later copy is avoided.
        frames = values.transpose(0, 1).contiguous()
        place = torch.arange(len(frames), device=lengths.device)[:, None]
        beyond = place >= lengths
        turned = torch.where(beyond, place, lengths - 1 - place)
        turns.append((turned[:, :, None], beyond[:, :, None]))
        readers += [(frames.transpose(0, 1), [lstm_weights(encoder.lstm)])]
        readers += [(_turned(frames, turns[-1][0]).transpose(0, 1), [lstm_weights(encoder.lstm, "_reverse")])]
    outputs = [own.squeeze(0) for own in lstm_outputs(readers)]
    joints: list[Frames] = []
    for forwards, backwards, (place, beyond), given in zip(outputs[::2], outputs[1::2], turns, sequences, strict=True):
        joint = (forwards + _turned(backwards, place)).masked_fill(beyond, 0.0)
        joints.append(Sequences(joint.transpose(0, 1), given.lengths))
    return joints


def _encoded_rows(encoders: Sequence[SequenceEncoder], sequences: Sequence[StepRows]) -> list[Frames]:
    readers, turns = [], []
    for encoder, own in zip(encoders, sequences, strict=True):
        turns.append(own.turns())
        readers += [(own.values, [lstm_weights(encoder.lstm)])]
        readers += [(reindexed(own.values, turns[-1], turns[-1]), [lstm_weights(encoder.lstm, "_reverse")])]
    outputs = [own.squeeze(0) for own in lstm_rows(_shared_counts(sequences), readers)]
    joints: list[Frames] = []
    for forwards, backwards, turn, own in zip(outputs[::2], outputs[1::2], turns, sequences, strict=True):
        joint = (forwards + reindexed(backwards, turn, turn)).masked_fill(own.beyond[:, None], 0.0)
        joints.append(own._replace(values=joint))
    return joints


def _shared_counts(sequences: Sequence[StepRows]) -> Counts:
    return max((own.counts for own in sequences), key=len)


def _packed(encoder: SequenceEncoder, sequences: Frames) -> Sequences:
    values, lengths = sequences[:2]
    packing = pack(lengths, values.shape[1])
    rows = packing.rows(), packing.rows_turned()
    frames = [values.flatten(0, 1).index_select(0, own) for own in rows]
    weights = [lstm_weights(encoder.lstm), lstm_weights(encoder.lstm, "_reverse")]
    forwards, backwards = packed_outputs(packing.counts, weights, *frames)
    joint = torch.zeros_like(values).flatten(0, 1).index_copy(0, rows[0], forwards).index_add(0, rows[1], backwards)
    return Sequences(joint.view_as(values), lengths)


def _turned(frames: Tensor, place: Tensor) -> Tensor:
    """Reverse the frames of every utterance within its length. frames: (longest, batch, width). place: (longest, batch,
    1), the index that each frame comes from."""
    turned: Tensor = across_repeats(_Turned.apply, frames, place)
    return turned


class _Turned(torch.autograd.Function):
    """Reorder frames by a permutation that is its own inverse. Its gradient is then a gather instead of a scattered
    sum."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, place: Tensor) -> Tensor:
        """frames: (repeats, longest, batch, width). place: (repeats, longest, batch, 1)."""
        ctx.save_for_backward(place)
        return frames.gather(1, place.expand(frames.shape))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        return gradient.gather(1, place.expand(gradient.shape)), None


class Summary(nn.Module):
    """A joint sequence in one vector: LSTM, then its outputs weighted by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.score = nn.Linear(HIDDEN, 1)

    def forward(self, joint: Frames) -> Tensor:
        """z: (batch, 128)."""
        return summarise([self], [joint])[0]


def summarise(summaries: Sequence[Summary], joints: Sequence[Frames]) -> list[Tensor]:
    """Return z of each summary for its joint sequence, (batch, 128), in single precision as all LSTMs."""
    if under_autocast(joints[0].values):
        with torch.autocast(joints[0].values.device.type, enabled=False):
            return summarise(summaries, [joint._replace(values=joint.values.float()) for joint in joints])
    weights = [[lstm_weights(summary.lstm)] for summary in summaries]
    rows = [joint for joint in joints if isinstance(joint, StepRows)]
    if rows:
        read = lstm_rows(_shared_counts(rows), [(own.values, each) for own, each in zip(rows, weights, strict=True)])
        return [
            _weighted_rows(summary.score(own.squeeze(0)).tanh(), own.squeeze(0), joint)
            for summary, own, joint in zip(summaries, read, rows, strict=True)
        ]
    padded = [joint for joint in joints if isinstance(joint, Sequences)]
    if pads(padded[0].values):
        read = lstm_outputs([(joint.values, own) for joint, own in zip(padded, weights, strict=True)])
        outputs = [own.squeeze(0).transpose(0, 1) for own in read]
    else:
        outputs = [_unpacked(joint, own) for joint, own in zip(padded, weights, strict=True)]
    return [
        _weighted_sum(summary.score(own).tanh().squeeze(2), own, ~joint.valid())
        for summary, own, joint in zip(summaries, outputs, padded, strict=True)
    ]


def _unpacked(sequences: Sequences, weights: list[list[Tensor]]) -> Tensor:
    """Outputs of one LSTM over the frames that exist, (batch, longest, hidden), zero beyond each length."""
    values, lengths = sequences
    packing = pack(lengths, values.shape[1])
    rows = packing.rows()
    (outputs,) = packed_outputs(packing.counts, weights, values.flatten(0, 1).index_select(0, rows))
    return torch.zeros_like(values).flatten(0, 1).index_copy(0, rows, outputs).view_as(values)


def _weighted_sum(scores: Tensor, values: Tensor, beyond: Tensor) -> Tensor:
    """Sum over time weighted by the softmax of the scores. scores, beyond (True where no frame is): (batch, longest);
    values: (batch, longest, width)."""
    weights = scores.masked_fill(beyond, float("-inf")).softmax(dim=1)
    return (weights[:, None] @ values).squeeze(1)


def _weighted_rows(scores: Tensor, values: Tensor, rows: StepRows) -> Tensor:
    """As :func:`_weighted_sum`. scores: (rows, 1), at most 1, so no exponential overflows. values: (rows, width)."""
    weights = scores.exp().masked_fill(rows.beyond[:, None], 0.0)
    return rows.summed(weights * values) / rows.summed(weights)


def pooled(sequences: Sequences, steps: int = STEPS) -> Tensor:
    """Pool the frames of every utterance to K steps, (batch, steps, dim), by the framework's adaptive pooling bins.

    Step i of K is the mean of frames floor(i L / K) up to, but not including, ceil((i + 1) L / K), L being the length.
    """
    step = torch.arange(steps, device=sequences.lengths.device)
    start = step * sequences.lengths[:, None] // steps
    end = -(-(step + 1) * sequences.lengths[:, None] // steps)
    frames = torch.arange(sequences.values.shape[1], device=sequences.lengths.device)
    inside = (frames >= start[:, :, None]) & (frames < end[:, :, None])
    return (inside / (end - start)[:, :, None]) @ sequences.values
