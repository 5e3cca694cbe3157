"""Translating one modality into another and back: encoder, attention decoder, summary, targets (SPEC 4.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nmer.systems.blocks import HIDDEN
from nmer.systems.decoding import DecoderStates
from nmer.systems.interface import Sequences
from nmer.systems.recurrence import lstm_outputs, lstm_weights, pads, under_autocast
from nmer.systems.repeats import for_all

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


def translate(
    translators: Sequence[CyclicTranslator], joints: Sequence[Sequences], steps: int = STEPS
) -> tuple[list[Tensor], list[Tensor]]:
    """Per translator the translation of its joint sequence, (batch, steps, target_dim), and the translation back from
    it, (batch, steps, source_dim). Side by side they cost less than one by one."""
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

    def forward(self, sequences: Sequences) -> Sequences:
        """The joint sequence: 128 wide, zero beyond each length. The backward direction starts at each utterance's own
        last frame."""
        return encode([self], [sequences])[0]


def encode(encoders: Sequence[SequenceEncoder], sequences: Sequence[Sequences]) -> list[Sequences]:
    """The joint sequence of each encoder for its sequences, all of one shape. In single precision, as all LSTMs."""
    if under_autocast(sequences[0].values):
        with torch.autocast(sequences[0].values.device.type, enabled=False):
            return encode(encoders, [Sequences(each.values.float(), each.lengths) for each in sequences])
    if not pads(sequences[0].values):
        return [_packed(*pair) for pair in zip(encoders, sequences, strict=True)]
    readers, turns = [], []
    for encoder, (values, lengths) in zip(encoders, sequences, strict=True):
        place = torch.arange(values.shape[1], device=lengths.device)
        turns.append(torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)[:, :, None])
        readers += [(values, [lstm_weights(encoder.lstm)])]
        readers += [(_turned(values, turns[-1]), [lstm_weights(encoder.lstm, "_reverse")])]
    outputs = lstm_outputs(readers).transpose(1, 2)
    return [
        Sequences((forwards + _turned(backwards, turn)).masked_fill(~given.valid()[:, :, None], 0.0), given.lengths)
        for forwards, backwards, turn, given in zip(outputs[::2], outputs[1::2], turns, sequences, strict=True)
    ]


def _packed(encoder: SequenceEncoder, sequences: Sequences) -> Sequences:
    packed = nn.utils.rnn.pack_padded_sequence(
        sequences.values, sequences.lengths, batch_first=True, enforce_sorted=False
    )
    outputs, _ = nn.utils.rnn.pad_packed_sequence(encoder.lstm(packed)[0], batch_first=True)
    forwards, backwards = outputs.chunk(2, dim=2)
    return Sequences(forwards + backwards, sequences.lengths)


def _turned(frames: Tensor, place: Tensor) -> Tensor:
    """Every utterance's own frames in reverse order. frames: (batch, longest, width). place: (batch, longest, 1), from
    where each frame comes."""
    turned: Tensor = for_all(_Turned.apply, frames, place)
    return turned


class _Turned(torch.autograd.Function):
    """A reordering of frames that is its own inverse, so that its gradient is a gather as well and no scattered sum."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, place: Tensor) -> Tensor:
        """frames: (repeats, batch, longest, width). place: (repeats, batch, longest, 1)."""
        ctx.save_for_backward(place)
        return frames.gather(2, place.expand(frames.shape))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        return gradient.gather(2, place.expand(gradient.shape)), None


class OutputLayer(nn.Module):
    """A decoder's way to one modality: the head that gives a step, the feedback that the next step reads it by."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(2 * HIDDEN, dim)
        self.feedback = nn.Linear(dim, HIDDEN)


class AttentionDecoder(nn.Module):
    """LSTM cell with additive attention over a joint sequence.

    Every step reads the previous step's output, in training too (no teacher forcing): no target is ever read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(HIDDEN, HIDDEN)
        self.attention = nn.Linear(2 * HIDDEN, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)
        self.cell = nn.LSTMCell(2 * HIDDEN, HIDDEN)

    def forward(self, joint: Sequences, output: OutputLayer, steps: int = STEPS) -> Tensor:
        """The output's modality, decoded: (batch, steps, dim)."""
        return decode([self], [output], [joint], steps)[0]


def decode(
    decoders: Sequence[AttentionDecoder], outputs: Sequence[OutputLayer], joints: Sequence[Sequences], steps: int
) -> list[Tensor]:
    """Each output's modality, decoded by its decoder from its joint sequence: (batch, steps, dim).

    A step's output reaches the next step's gates by three linear maps in a row: head, feedback and the cell's input
    weights. They are multiplied once, and the heads are applied to all steps at the end.
    """
    if under_autocast(joints[0].values):
        # In single precision, as the LSTMs: rounding adds up from step to step.
        with torch.autocast(joints[0].values.device.type, enabled=False):
            joints = [Sequences(joint.values.float(), joint.lengths) for joint in joints]
            return decode(decoders, outputs, joints, steps)
    own = [_operands(*parts) for parts in zip(decoders, outputs, joints, strict=True)]
    stacked = [torch.stack(part) for part in zip(*own, strict=True)]
    keys = [
        functional.linear(joint.values, decoder.attention.weight[:, HIDDEN:], decoder.attention.bias)
        for decoder, joint in zip(decoders, joints, strict=True)
    ]
    memories = [(each, joint.values, ~joint.valid()) for each, joint in zip(keys, joints, strict=True)]
    if len({each.shape for each in keys}) == 1:
        memory = [torch.stack(part) for part in zip(*memories, strict=True)]
    else:
        memory = [part[None] for parts in memories for part in parts]

    def of_all(*operands: Tensor) -> Tensor:
        states: Tensor = DecoderStates.apply(steps, *operands)  # type: ignore[no-untyped-call]
        return states

    states = for_all(of_all, *stacked, *memory).transpose(1, 2)
    return [output.head(own) for output, own in zip(outputs, states, strict=True)]


def _operands(decoder: AttentionDecoder, output: OutputLayer, joint: Sequences) -> tuple[Tensor, ...]:
    """What :class:`DecoderStates` reads of one decoder."""
    cell = decoder.cell
    from_feedback, from_context = cell.weight_ih.split(HIDDEN, dim=1)
    bias = cell.bias_ih + cell.bias_hh
    start = decoder.start(joint.values.sum(dim=1) / joint.lengths[:, None]).tanh()
    hears = from_feedback @ output.feedback.weight
    later = bias + from_feedback @ output.feedback.bias + hears @ output.head.bias
    from_state = functional.pad(cell.weight_hh, (0, HIDDEN)) + hears @ output.head.weight
    query_weight = decoder.attention.weight[:, :HIDDEN]
    first = functional.linear(start, cell.weight_hh, bias)
    return start, first, later, query_weight, decoder.score.weight[0], from_state, from_context


class Summary(nn.Module):
    """A joint sequence in one vector: LSTM, then its outputs weighted by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.score = nn.Linear(HIDDEN, 1)

    def forward(self, joint: Sequences) -> Tensor:
        """z: (batch, 128)."""
        if under_autocast(joint.values):
            with torch.autocast(joint.values.device.type, enabled=False):
                return self.forward(Sequences(joint.values.float(), joint.lengths))
        if pads(joint.values):
            outputs = lstm_outputs([(joint.values, [lstm_weights(self.lstm)])])[0].transpose(0, 1)
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
