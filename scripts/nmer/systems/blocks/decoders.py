"""Attention decoders of joint sequences, several computed jointly, and their outputs (SPEC 4.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.systems.blocks.additive_attention import AdditiveAttention
from nmer.systems.blocks.decoding import AttentionForm, DecoderStates
from nmer.systems.blocks.encoders import HIDDEN
from nmer.systems.blocks.fused_attention import FusedAttention, fuses
from nmer.systems.blocks.fused_lstm import joined
from nmer.systems.blocks.recurrence import pads, under_autocast
from nmer.systems.blocks.repeats import across_repeats
from nmer.systems.blocks.step_counts import Counts, first_rows
from nmer.systems.blocks.step_rows import Frames, StepRows
from nmer.systems.interface import Sequences

STEPS = 20
"""Steps of a decoded sequence and of its target: the official code's longest sequence."""

SHARPER = 2.0
"""tanh(x) is 2 sigmoid(2 x) - 1, and :class:`DecoderStates` takes the sigmoid: this factor goes into its weights."""

ROWS_OF_A_BLOCK = 16
"""Utterances whose memories a CPU attends to at once. Few of them fit its cache and differ little in length."""


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
    given = list(zip(decoders, outputs, map(_mean, joint_sequences), strict=True))
    if not pads(joint_sequences[0].values):
        return _decoded_in_blocks(given, [each for each in joint_sequences if isinstance(each, Sequences)], steps)
    counts = max((_counts(joint) for joint in joint_sequences), key=len)
    if fuses(joint_sequences[0].values, len(counts)):
        memory = [part for pair in zip(decoders, joint_sequences, strict=True) for part in _memory_of_rows(*pair)]
        states = _states(given, FusedAttention, partial(_joined_rows, counts), memory, steps)
    else:
        padded = [each.padded() if isinstance(each, StepRows) else each for each in joint_sequences]
        memory = [part for pair in zip(decoders, padded, strict=True) for part in _memory(*pair)]
        states = _states(given, AdditiveAttention, _flat, memory, steps)
    return [output.head(own) for output, own in zip(outputs, states, strict=True)]


Decoded = tuple[AttentionDecoder, OutputLayer, Tensor]
"""A decoder, its output, and the mean of the joint sequence over its frames, (batch, 128)."""


def _decoded_in_blocks(given: list[Decoded], joints: list[Sequences], steps: int) -> list[Tensor]:
    """Return :func:`decode` for a CPU, which attends to few utterances of similar length at once."""
    ordered: list[Decoded] = []
    memory: list[Tensor] = []
    orders = [joint.lengths.argsort(descending=True, stable=True) for joint in joints]
    for (decoder, output, mean), (values, lengths), order in zip(given, joints, orders, strict=True):
        ordered.append((decoder, output, mean.index_select(0, order)))
        for block in _blocks(Sequences(values.index_select(0, order), lengths[order])):
            memory += _memory(decoder, block)
    states = _states(ordered, AdditiveAttention, _flat, memory, steps)
    return [
        output.head(own).index_select(0, order.argsort())
        for (_decoder, output, _mean), own, order in zip(given, states, orders, strict=True)
    ]


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


def _flat(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of each :class:`AdditiveAttention`. parts: of :func:`_memory` in turn, of all repeats."""
    return [part.flatten(0, 1) for part in parts]


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
    given: list[Decoded],
    form: AttentionForm,
    join: Callable[[Sequence[Tensor]], list[Tensor]],
    memory: list[Tensor],
    steps: int,
) -> tuple[Tensor, ...]:
    """Return states and contexts of each decoder, (batch, steps, 2 x 128).

    join: returns the tensors of each attention from those in memory, with the repeats on their first axis.
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
