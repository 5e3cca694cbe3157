"""LSTMs over packed sequences, the valid frames ordered by step: the form for a CPU.

The framework computes packed sequences one LSTM at a time and records each small operation for the gradient. Here
several LSTMs run together in a few operations per step. The input projection of all frames is one matrix product, and
so is the gradient of each weight.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

aten = torch.ops.aten


class Packing(NamedTuple):
    """The order of frames by step, in every step the longest utterance first, so that utterances that continue come
    first.

    order: (batch,) the utterances, longest first. place: (frames,) the position of each frame's utterance in ``order``.
    step: (frames,) of each frame. counts: number of utterances in each step. lengths: (batch,), in the order of the
    batch. longest: number of frames to which the batch is padded.
    """

    order: Tensor
    place: Tensor
    step: Tensor
    counts: list[int]
    lengths: Tensor
    longest: int

    def rows(self) -> Tensor:
        """Return (frames,), the position of each frame in a padded batch with its first two axes merged."""
        return self.order[self.place] * self.longest + self.step

    def rows_turned(self) -> Tensor:
        """As :meth:`rows`, with the frames of every utterance reversed."""
        utterance = self.order[self.place]
        return utterance * self.longest + self.lengths[utterance] - 1 - self.step


def pack(lengths: Tensor, longest: int) -> Packing:
    """lengths: (batch,) frames of each utterance. longest: frames to which the batch is padded."""
    in_order, order = lengths.sort(descending=True, stable=True)
    going_on = torch.arange(int(in_order[0]), device=lengths.device)[:, None] < in_order
    step, place = going_on.nonzero(as_tuple=True)
    return Packing(order, place, step, going_on.sum(dim=1).tolist(), lengths, longest)


class PackedLstms(torch.autograd.Function):
    """Outputs of LSTMs at every frame. Gates have the framework's order: input, forget, candidate, output."""

    @staticmethod
    def forward(
        ctx: Any, counts: list[int], input_weights: Tensor, hidden_weights: Tensor, biases: Tensor, *frames: Tensor
    ) -> Tensor:
        """counts: as in :class:`Packing`. input_weights: (LSTMs, 4 hidden, dim); hidden_weights: (LSTMs, 4 hidden,
        hidden); biases: (LSTMs, 4 hidden). frames: (frames, dim), one for all LSTMs or one for each. Returns (LSTMs,
        frames, hidden)."""
        lstms, _, hidden = hidden_weights.shape
        read = frames * lstms if len(frames) == 1 else frames
        gates = torch.stack([torch.addmm(b, x, w.T) for x, w, b in zip(read, input_weights, biases, strict=True)])
        outputs, cells, squashed = (read[0].new_empty(lstms, len(read[0]), hidden) for _ in range(3))
        transposed = hidden_weights.transpose(1, 2)
        output, cell = outputs, cells  # placeholders: the first step reads neither
        for start, end in pairwise(accumulate(counts, initial=0)):
            here, count = slice(start, end), end - start
            gate = gates[:, here]
            if start:
                gate.baddbmm_(output[:, :count], transposed)
            gate[..., : 2 * hidden].sigmoid_()
            gate[..., 2 * hidden : 3 * hidden].tanh_()
            gate[..., 3 * hidden :].sigmoid_()
            entering, kept, candidate, leaving = gate.chunk(4, dim=-1)
            before, cell = cell, torch.mul(entering, candidate, out=cells[:, here])
            if start:
                cell.addcmul_(kept, before[:, :count])
            output = torch.mul(leaving, torch.tanh(cell, out=squashed[:, here]), out=outputs[:, here])
        ctx.counts = counts
        ctx.save_for_backward(input_weights, hidden_weights, gates, outputs, cells, squashed, *frames)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """gradient: (LSTMs, frames, hidden)."""
        input_weights, hidden_weights, gates, outputs, cells, squashed, *frames = ctx.saved_tensors
        lstms, _, hidden = hidden_weights.shape
        gate_gradients = torch.empty_like(gates)
        previous = torch.zeros_like(outputs)
        output_gradients, cell_gradients = (gradient.new_zeros(lstms, ctx.counts[0], hidden) for _ in range(2))
        bounds = list(pairwise(accumulate(ctx.counts, initial=0)))
        for number, (start, end) in reversed(list(enumerate(bounds))):
            here, count = slice(start, end), end - start
            gate, gate_gradient = gates[:, here], gate_gradients[:, here]
            entering, kept, candidate, leaving = gate.chunk(4, dim=-1)
            of_entering, of_kept, of_candidate, of_leaving = gate_gradient.chunk(4, dim=-1)
            of_output, of_cell = output_gradients[:, :count], cell_gradients[:, :count]
            of_output += gradient[:, here]
            torch.mul(of_output, squashed[:, here], out=of_leaving)
            of_cell += aten.tanh_backward(of_output * leaving, squashed[:, here])
            torch.mul(of_cell, candidate, out=of_entering)
            torch.mul(of_cell, entering, out=of_candidate)
            if start:
                before = slice(bounds[number - 1][0], bounds[number - 1][0] + count)
                torch.mul(of_cell, cells[:, before], out=of_kept)
                previous[:, here] = outputs[:, before]
            else:
                of_kept.zero_()
            both, squeezed = gate_gradient[..., : 2 * hidden], gate[..., : 2 * hidden]
            aten.sigmoid_backward.grad_input(both, squeezed, grad_input=both)
            aten.tanh_backward.grad_input(of_candidate, candidate, grad_input=of_candidate)
            aten.sigmoid_backward.grad_input(of_leaving, leaving, grad_input=of_leaving)
            of_cell *= kept
            if start:
                of_output.copy_(gate_gradient @ hidden_weights)
        read = frames * lstms if len(frames) == 1 else frames
        of_input_weights = torch.stack([part.T @ x for part, x in zip(gate_gradients, read, strict=True)])
        of_hidden_weights = gate_gradients.transpose(1, 2) @ previous
        # Features need no gradient, but the input of a system may be learned.
        of_frames: list[Tensor | None] = [None] * len(frames)
        if any(ctx.needs_input_grad[4:]):
            of_reading = gate_gradients @ input_weights
            of_frames = [of_reading.sum(dim=0)] if len(frames) == 1 else list(of_reading)
        return None, of_input_weights, of_hidden_weights, gate_gradients.sum(dim=1), *of_frames


class PackedMaxima(torch.autograd.Function):
    """Maximum over the frames of every utterance. Frames with equal maxima share its gradient, as with ``amax``."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, place: Tensor, counts: list[int]) -> Tensor:
        """outputs: (LSTMs, frames, hidden). place, counts: as in :class:`Packing`. Returns (LSTMs, utterances, hidden)
        in the packing's order."""
        maxima = outputs.new_full((len(outputs), counts[0], outputs.shape[2]), float("-inf"))
        for start, end in pairwise(accumulate(counts, initial=0)):
            highest = maxima[:, : end - start]
            torch.maximum(highest, outputs[:, start:end], out=highest)
        ctx.save_for_backward(outputs, place, maxima)
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """gradient: (LSTMs, utterances, hidden)."""
        outputs, place, maxima = ctx.saved_tensors
        attained = (outputs == maxima[:, place]).to(gradient.dtype)
        sharing = torch.zeros_like(maxima).index_add_(1, place, attained)
        attained *= (gradient / sharing)[:, place]
        return attained, None, None
