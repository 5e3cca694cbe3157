"""LSTMs of one size side by side, a frame of all of them in a few kernels: the form for many LSTMs on a GPU.

cuDNN computes one LSTM after another, so the time of a captured step grows with their number. Here the recurrence of
all LSTMs is one batched product and one fused cell per frame, whose time hardly grows (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PARTS = 32
"""Parts of a sum over all frames of a batch: cuBLAS computes one sum of tens of thousands of terms on few cores."""

ROWS_APART = 8
"""Parts of a batch in the backward recurrence, for the same reason."""


def side_by_side_lstms(
    values: Tensor, input_weights: Tensor, hidden_weights: Tensor, input_biases: Tensor, hidden_biases: Tensor
) -> Tensor:
    """Outputs of LSTMs at every frame, (readers, LSTMs, batch, longest, hidden); gates in the framework's order.

    values: (readers, batch, longest, dim). input_weights: (readers, LSTMs, 4 hidden, dim), the LSTMs of each reader.
    hidden_weights: (readers, LSTMs, 4 hidden, hidden). Biases: (readers, LSTMs, 4 hidden).
    """
    readers, batch, longest, _dim = values.shape
    lstms = hidden_weights.shape[1]
    frames = values.transpose(1, 2).flatten(1, 2)
    biases = (input_biases + hidden_biases).flatten(1)
    projected: Tensor = _Projection.apply(frames, input_weights.flatten(1, 2), biases)  # type: ignore[no-untyped-call]
    # (longest, readers x LSTMs, batch, 4 hidden): what a step reads is contiguous.
    gates = projected.unflatten(1, (longest, batch)).unflatten(3, (lstms, -1)).permute(1, 0, 3, 2, 4).flatten(1, 2)
    outputs: Tensor = _Recurrence.apply(gates.contiguous(), hidden_weights.flatten(0, 1))  # type: ignore[no-untyped-call]
    found: Tensor = outputs.permute(1, 2, 0, 3).unflatten(0, (readers, lstms))
    return found


class _Projection(torch.autograd.Function):
    """Linear layers of several readers, whose weights' gradients are sums over very many frames."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
        """frames: (readers, frames, dim). weights: (readers, width, dim). biases: (readers, width)."""
        ctx.save_for_backward(frames, weights)
        return torch.baddbmm(biases[:, None], frames, weights.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """gradient: (readers, frames, width)."""
        frames, weights = ctx.saved_tensors
        of_frames = torch.bmm(gradient, weights) if ctx.needs_input_grad[0] else None
        return of_frames, _sum_of_products(gradient, frames), gradient.sum(dim=1)


class _Recurrence(torch.autograd.Function):
    """From the projections of all frames to the outputs of all frames."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, hidden_weights: Tensor) -> Tensor:
        """gates: (longest, LSTMs, batch, 4 hidden). hidden_weights: (LSTMs, 4 hidden, hidden). Returns (longest, LSTMs,
        batch, hidden)."""
        lstms, batch, hidden = gates.shape[1], gates.shape[2], hidden_weights.shape[2]
        transposed = hidden_weights.transpose(1, 2).contiguous()
        recurrent, cell = gates.new_zeros(lstms * batch, 4 * hidden), gates.new_zeros(lstms * batch, hidden)
        outputs, cells, activated = list[Tensor](), [cell], list[Tensor]()
        for step, frame in enumerate(gates.flatten(1, 2)):
            if step:
                recurrent = torch.bmm(outputs[-1].unflatten(0, (lstms, batch)), transposed).flatten(0, 1)
            output, cell, squashed = _cell(frame, recurrent, cell)
            outputs.append(output)
            cells.append(cell)
            activated.append(squashed)
        found: Tensor = torch.stack(outputs).unflatten(1, (lstms, batch))
        ctx.save_for_backward(hidden_weights, found)
        ctx.cells, ctx.activated = cells, activated
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """gradient: (longest, LSTMs, batch, hidden), of the outputs."""
        hidden_weights, outputs = ctx.saved_tensors
        longest, lstms, batch = outputs.shape[:3]
        apart = _divisor(batch, ROWS_APART)
        weights = hidden_weights.repeat_interleave(apart, dim=0)
        of_outputs = gradient.clone(memory_format=torch.contiguous_format)
        of_cell: Tensor | None = None
        of_gates: list[Tensor] = []
        for step in reversed(range(longest)):
            of_output, before, after = of_outputs[step].flatten(0, 1), ctx.cells[step], ctx.cells[step + 1]
            of_gate, of_cell = _cell_backward(of_output, of_cell, before, after, ctx.activated[step])
            of_gates.append(of_gate)
            if step:
                earlier = of_outputs[step - 1].flatten(0, 1).unflatten(0, (lstms * apart, -1))
                earlier.baddbmm_(of_gate.unflatten(0, (lstms * apart, -1)), weights)
        ctx.cells = ctx.activated = None
        found = torch.stack(of_gates[::-1]).unflatten(1, (lstms, batch))
        later, former = (part.transpose(0, 1).flatten(1, 2) for part in (found[1:], outputs[:-1]))
        return found, _sum_of_products(later, former)


def _sum_of_products(first: Tensor, second: Tensor) -> Tensor:
    """(n, rows, p) and (n, rows, q) to the sum over rows of their outer products, (n, p, q)."""
    count, rows = first.shape[:2]
    if not rows:
        return first.new_zeros(count, first.shape[2], second.shape[2])
    parts = _divisor(rows, PARTS)
    split = [part.unflatten(1, (parts, -1)).flatten(0, 1) for part in (first, second)]
    total: Tensor = torch.bmm(split[0].transpose(1, 2), split[1]).unflatten(0, (count, parts)).sum(dim=1)
    return total


def _divisor(number: int, most: int) -> int:
    """The largest divisor up to ``most``."""
    return next(part for part in range(most, 0, -1) if number % part == 0)


def _cell(frame: Tensor, recurrent: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, cell and activated gates. frame, recurrent: (rows, 4 hidden). cell: (rows, hidden)."""
    if frame.is_cuda:
        fused: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._thnn_fused_lstm_cell(frame, recurrent, cell)
        return fused
    entering, kept, candidate, leaving = (frame + recurrent).chunk(4, dim=1)
    gates = [entering.sigmoid(), kept.sigmoid(), candidate.tanh(), leaving.sigmoid()]
    after = gates[1] * cell + gates[0] * gates[2]
    return gates[3] * after.tanh(), after, torch.cat(gates, dim=1)


def _cell_backward(
    of_output: Tensor, of_cell: Tensor | None, before: Tensor, after: Tensor, activated: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the gates, (rows, 4 hidden), and of the cell before, (rows, hidden)."""
    if of_output.is_cuda:
        backward = torch.ops.aten._thnn_fused_lstm_cell_backward_impl
        of_gates, of_before, _bias = backward(of_output, of_cell, before, after, activated, False)
        return of_gates, of_before
    entering, kept, candidate, leaving = activated.chunk(4, dim=1)
    squashed = after.tanh()
    own = of_output * leaving * (1 - squashed**2)
    own = own if of_cell is None else own + of_cell
    parts = [
        own * candidate * entering * (1 - entering),
        own * before * kept * (1 - kept),
        own * entering * (1 - candidate**2),
        of_output * squashed * leaving * (1 - leaving),
    ]
    return torch.cat(parts, dim=1), own * kept
