"""Translating one modality into another and back: encoder, attention decoder, summary, targets (SPEC 4.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nmer.systems.blocks.additive_attention import AdditiveAttention
from nmer.systems.blocks.decoding import AttentionForm, DecoderStates
from nmer.systems.blocks.encoders import HIDDEN
from nmer.systems.blocks.fused_attention import FusedAttention, fuses
from nmer.systems.blocks.fused_lstm import joined
from nmer.systems.blocks.packed_lstm import pack
from nmer.systems.blocks.recurrence import (
    lstm_outputs,
    lstm_rows,
    lstm_weights,
    packed_outputs,
    pads,
    under_autocast,
)
from nmer.systems.blocks.repeats import across_repeats
from nmer.systems.blocks.step_counts import Counts
from nmer.systems.blocks.step_rows import StepRows, by_steps, first_rows, reindexed
from nmer.systems.interface import Sequences

Frames = Sequences | StepRows
"""Sequences, padded or as rows."""

STEPS = 20
"""Steps of a decoded sequence and of its target: the official code's longest sequence."""

PADDED_AT_MOST = 32
"""Most frames by which a decoder's memory is padded to share the attention of a longer one. A GPU computes that many in
the time of a separate launch."""

SHARPER = 2.0
"""tanh(x) is 2 sigmoid(2 x) - 1, and :class:`DecoderStates` takes the sigmoid: this factor goes into its weights."""

ROWS_OF_A_BLOCK = 16
"""Utterances whose memories a CPU attends to at once. Few of them fit its cache and differ little in length."""


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


class OutputLayer(nn.Module):
    """The output of a decoder in one modality: the head that predicts a step, the feedback through which the next step
    reads it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(2 * HIDDEN, dim)
        self.feedback = nn.Linear(dim, HIDDEN)


class AttentionDecoder(nn.Module):
    """LSTM cell with additive attention over a joint sequence.

    Every step reads the previous step's output, in training too (no teacher forcing). Targets are never read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(HIDDEN, HIDDEN)
        self.attention = nn.Linear(2 * HIDDEN, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)
        self.cell = nn.LSTMCell(2 * HIDDEN, HIDDEN)

    def forward(self, joint: Frames, output: OutputLayer, steps: int = STEPS) -> Tensor:
        """The output's modality, decoded: (batch, steps, dim)."""
        return decode([self], [output], [joint], steps)[0]


def decode(
    decoders: Sequence[AttentionDecoder], outputs: Sequence[OutputLayer], joint_sequences: Sequence[Frames], steps: int
) -> list[Tensor]:
    """Decode each output's modality with its decoder from its joint sequence: (batch, steps, dim).

    A step's output reaches the next step's gates through three linear maps: head, feedback and the cell's input
    weights. They are multiplied once, and the heads are applied to all steps at the end.
    """
    if under_autocast(joint_sequences[0].values):
        # In single precision, as the LSTMs: rounding adds up from step to step.
        with torch.autocast(joint_sequences[0].values.device.type, enabled=False):
            joint_sequences = [each._replace(values=each.values.float()) for each in joint_sequences]
            return decode(decoders, outputs, joint_sequences, steps)
    means = [_mean(joint) for joint in joint_sequences]
    if pads(joint_sequences[0].values):
        counts = max((_counts(joint) for joint in joint_sequences), key=len)
        if fuses(joint_sequences[0].values, len(counts)):
            of_rows = [part for pair in zip(decoders, joint_sequences, strict=True) for part in _memory_of_rows(*pair)]
            given = list(zip(decoders, outputs, means, strict=True))
            states = _states(given, FusedAttention, partial(_joined_rows, counts), of_rows, steps)
            return [output.head(own) for output, own in zip(outputs, states, strict=True)]
    joints = [each.padded() if isinstance(each, StepRows) else each for each in joint_sequences]
    if pads(joints[0].values):
        groups = _of_like_length([joint.values.shape[1] for joint in joints])
        for group in groups:
            longest = joints[group[0]].values.shape[1]
            for number in group:
                # Contiguous once, for the keys and the attention.
                joints[number] = _padded_to(longest, joints[number])
        places = [number for group in groups for number in group]
        given = [(decoders[number], outputs[number], means[number]) for number in places]
        memory = [part for number in places for part in _memory(decoders[number], joints[number])]
        sizes = [len(group) for group in groups]
        of_number = dict(
            zip(places, _states(given, AdditiveAttention, partial(_joined, sizes), memory, steps), strict=True)
        )
        return [output.head(of_number[number]) for number, output in enumerate(outputs)]
    orders = [joint.lengths.argsort(descending=True, stable=True) for joint in joints]
    joints = [
        Sequences(joint.values.index_select(0, order), joint.lengths[order])
        for joint, order in zip(joints, orders, strict=True)
    ]
    means = [mean.index_select(0, order) for mean, order in zip(means, orders, strict=True)]
    blocks = [(decoder, part) for decoder, joint in zip(decoders, joints, strict=True) for part in _blocks(joint)]
    memory = [part for block in blocks for part in _memory(*block)]
    given = list(zip(decoders, outputs, means, strict=True))
    states = _states(given, AdditiveAttention, partial(_joined, [1] * len(blocks)), memory, steps)
    return [
        output.head(own).index_select(0, order.argsort())
        for output, own, order in zip(outputs, states, orders, strict=True)
    ]


def _of_like_length(lengths: list[int]) -> list[list[int]]:
    """Group the indices of decoders whose memories are padded to one length, longest first within and across groups."""
    groups: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if groups and lengths[groups[-1][0]] - lengths[number] <= PADDED_AT_MOST:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _padded_to(longest: int, sequences: Sequences) -> Sequences:
    values, lengths = sequences
    missing = longest - values.shape[1]
    return Sequences(functional.pad(values, (0, 0, 0, missing)) if missing else values.contiguous(), lengths)


def _blocks(joint: Sequences) -> list[Sequences]:
    """Split a batch, ordered by length, into blocks of rows, each padded to its longest row."""
    parts = zip(joint.values.split(ROWS_OF_A_BLOCK), joint.lengths.split(ROWS_OF_A_BLOCK), strict=True)
    return [Sequences(values[:, : int(lengths[0])], lengths) for values, lengths in parts]


def _counts(joint: Frames) -> Counts:
    return joint.counts if isinstance(joint, StepRows) else (joint.values.shape[0],) * joint.values.shape[1]


def _mean(joint: Frames) -> Tensor:
    """Average over the frames of each utterance: (batch, 128)."""
    total = joint.summed(joint.values) if isinstance(joint, StepRows) else joint.values.sum(dim=1)
    return total / joint.lengths[:, None]


def _keys(decoder: AttentionDecoder, values: Tensor) -> Tensor:
    weight, bias = decoder.attention.weight[:, HIDDEN:], decoder.attention.bias
    return functional.linear(values, SHARPER * weight, SHARPER * bias)


def _memory(decoder: AttentionDecoder, joint: Sequences) -> tuple[Tensor, ...]:
    """Keys, values and lengths."""
    return _keys(decoder, joint.values), *joint


def _joined(sizes: list[int], parts: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of each :class:`AdditiveAttention`. sizes: number of memories that each attends to. parts: of
    :func:`_memory` in turn, of all repeats."""
    flat = [part.flatten(0, 1) for part in parts]
    found: list[Tensor] = []
    for end, size in zip(accumulate(sizes), sizes, strict=True):
        found += [joined(flat[3 * (end - size) + kind : 3 * end : 3]) for kind in range(3)]
    return found


def _memory_of_rows(decoder: AttentionDecoder, joint: Frames) -> tuple[Tensor, ...]:
    """Keys and values, (frames, 128), and per utterance the length and the index of the first frame. The frames of a
    step are those of a batch without padding."""
    if isinstance(joint, StepRows):
        frames, firsts = joint.values, joint.order.argsort()
    else:
        frames = joint.values.transpose(0, 1).flatten(0, 1)
        firsts = torch.arange(len(joint.lengths), device=joint.lengths.device).expand_as(joint.lengths)
    return _keys(decoder, frames), frames, joint.lengths, firsts


def _joined_rows(counts: Counts, parts: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of one :class:`FusedAttention`. counts: utterances of each step. parts: of
    :func:`_memory_of_rows` in turn, of all repeats."""
    keys, values, lengths, firsts = (parts[kind::4] for kind in range(4))
    sizes = [len(own) * own.shape[1] for own in values]
    starts = [
        own + torch.arange(end - size, end, frames.shape[1], device=own.device)[:, None]
        for own, frames, end, size in zip(firsts, values, accumulate(sizes), sizes, strict=True)
    ]
    flat = [joined([own.flatten(0, 1) for own in kind]) for kind in (keys, values, lengths, starts)]
    return [*flat, first_rows(counts, flat[0].device)]


def _states(
    given: list[tuple[AttentionDecoder, OutputLayer, Tensor]],
    form: AttentionForm,
    join: Callable[[Sequence[Tensor]], list[Tensor]],
    memory: list[Tensor],
    steps: int,
) -> tuple[Tensor, ...]:
    """Return states and contexts of each decoder, (batch, steps, 2 x 128).

    given: decoders, outputs and means of the joint sequences. join: returns the tensors of each attention from those in
    memory, with the repeats on their first axis.
    """
    operands = [_operands(*parts) for parts in given]
    kinds = len(operands[0])

    def of_all(*tensors: Tensor) -> tuple[Tensor, ...]:
        # Decoders before repeats: a memory of several decoders has consecutive rows.
        own = [torch.stack(tensors[kind : kinds * len(given) : kinds]).flatten(0, 1) for kind in range(kinds)]
        attended = join(tensors[kinds * len(given) :])
        states: Tensor = DecoderStates.apply(steps, form, *_prepared(*own), *attended)  # type: ignore[no-untyped-call]
        of_each: tuple[Tensor, ...] = states.unflatten(0, (len(given), -1)).unbind()
        return of_each

    return across_repeats(of_all, *(part for parts in operands for part in parts), *memory)


def _operands(decoder: AttentionDecoder, output: OutputLayer, mean: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors of one decoder that :func:`_prepared` reads, in its order. mean: (batch, 128), of the joint
    sequence."""
    cell, (head, feedback) = decoder.cell, (output.head, output.feedback)
    return (
        mean,
        decoder.start.weight,
        decoder.start.bias,
        decoder.attention.weight,
        decoder.score.weight[0],
        cell.weight_ih,
        cell.weight_hh,
        # Summed before they are stacked: views of one gradient would be clipped once for each bias.
        cell.bias_ih + cell.bias_hh,
        feedback.weight @ head.weight,
        functional.linear(head.bias, feedback.weight, feedback.bias),
    )


def _prepared(
    means: Tensor,
    start_weights: Tensor,
    start_biases: Tensor,
    attention_weights: Tensor,
    scores: Tensor,
    input_weights: Tensor,
    hidden_weights: Tensor,
    biases: Tensor,
    heard_weights: Tensor,
    heard_biases: Tensor,
) -> tuple[Tensor, ...]:
    """Return the tensors that :class:`DecoderStates` reads before the memories.

    All have the decoders of all repeats on their first axis. means: (batch, hidden), of the memory. heard_weights:
    (hidden, 2 hidden), from state and context of a step through head and feedback to the next step's input.
    """
    from_feedback, from_context = input_weights.split(HIDDEN, dim=2)
    start = torch.baddbmm(start_biases[:, None], means, start_weights.mT).tanh()
    of_state, of_context = (from_feedback @ heard_weights).split(HIDDEN, dim=2)
    return (
        start,
        torch.baddbmm(biases[:, None], start, hidden_weights.mT),
        torch.baddbmm(biases[..., None], from_feedback, heard_biases[..., None]).squeeze(2),
        SHARPER * attention_weights[..., :HIDDEN],
        SHARPER * scores,
        hidden_weights + of_state,
        torch.cat([of_context, from_context], dim=2),
    )


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
