"""LSTMs computed one step of all of them after another, with the framework's fused cell: the form for a GPU.

Every LSTM of every repeat takes its step in the same two kernels, a batched matrix product and the framework's fused
cell, and two more in the backward pass. cuDNN runs one LSTM after another, each as long as all of them here, and drops
digits of their products whatever precision is set.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmer.systems.products import divisor, sum_of_products

aten = torch.ops.aten

PARTS_OF_A_BATCH = 8


class LstmOutputs(torch.autograd.Function):
    """Outputs of LSTMs whose input projections are given, at every step.

    Gates are in the framework's order: input, forget, candidate, output.
    """

    @staticmethod
    def forward(ctx: Any, products: Tensor, biases: Tensor, hidden_weights: Tensor) -> Tensor:
        """products: (LSTMs, steps, batch, 4 hidden), of what each reads and its input weights. biases: (LSTMs,
        4 hidden), the sum of both. hidden_weights: (LSTMs, 4 hidden, hidden).
        Returns (LSTMs, steps, batch, hidden)."""
        lstms, steps, batch, width = products.shape
        # Every step contiguous, as the fused cell reads it.
        input_gates = products.new_empty(steps, lstms, batch, width)
        torch.add(products.transpose(0, 1), biases[:, None], out=input_gates)
        transposed = hidden_weights.transpose(1, 2)
        hidden_gates = products.new_zeros(lstms * batch, width)
        cell = products.new_zeros(lstms * batch, width // 4)
        outputs: list[Tensor] = []
        cells, workspaces = [cell], []
        keep = any(ctx.needs_input_grad)
        for step in input_gates.flatten(1, 2).unbind():
            if outputs:
                hidden_gates = torch.bmm(outputs[-1], transposed).flatten(0, 1)
            hidden, cell, workspace = fused_cell(step, hidden_gates, cell)
            outputs.append(hidden.unflatten(0, (lstms, batch)))
            if keep:
                cells.append(cell)
                workspaces.append(workspace)
        stacked = torch.stack(outputs, dim=1)
        if keep:
            ctx.save_for_backward(hidden_weights, stacked, *cells, *workspaces)
        return stacked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """gradient: (LSTMs, steps, batch, hidden)."""
        hidden_weights, outputs, *kept = ctx.saved_tensors
        lstms, steps, batch, _hidden = outputs.shape
        cells, workspaces = kept[: steps + 1], kept[steps + 1 :]
        # A copy, into whose steps the gradients that come through the state are added.
        output_gradients = gradient.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        cell_gradient = torch.zeros_like(cells[0])
        # Part by part of the batch: on a GPU the product of a few LSTMs occupies too few multiprocessors.
        parts = lstms * divisor(batch, PARTS_OF_A_BATCH)
        weights = hidden_weights.repeat_interleave(parts // lstms, dim=0)
        gate_gradients: list[Tensor] = []
        for step in reversed(range(steps)):
            output_gradient = output_gradients[step].flatten(0, 1)
            if gate_gradients:
                later = gate_gradients[-1].flatten(0, 1).unflatten(0, (parts, -1))
                output_gradient.unflatten(0, (parts, -1)).baddbmm_(later, weights)
            gate_gradient, cell_gradient = fused_cell_backward(
                output_gradient, cell_gradient, cells[step], cells[step + 1], workspaces[step]
            )
            gate_gradients.append(gate_gradient.unflatten(0, (lstms, batch)))
        of_gates = torch.stack(gate_gradients[::-1], dim=1)
        of_weights = sum_of_products(of_gates[:, 1:].flatten(1, 2), outputs[:, :-1].flatten(1, 2))
        return of_gates, of_gates.sum(dim=(1, 2)), of_weights


def fused_cell(gates: Tensor, hidden_gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of an LSTM from its gates' two parts, (rows, 4 hidden), and its cell, (rows, hidden).

    Returns the output, the new cell, and the activated gates, which :func:`fused_cell_backward` reads.
    """
    if gates.is_cuda:
        output, new_cell, activated = aten._thnn_fused_lstm_cell(gates, hidden_gates, cell)
        return output, new_cell, activated
    # The framework has its fused cell for CUDA alone; this serves repeats that a CPU computes as one.
    hidden = cell.shape[1]
    activated = gates + hidden_gates
    activated[:, : 2 * hidden].sigmoid_()
    activated[:, 2 * hidden : 3 * hidden].tanh_()
    activated[:, 3 * hidden :].sigmoid_()
    entering, kept, candidate, leaving = activated.chunk(4, dim=1)
    new_cell = torch.addcmul(kept * cell, entering, candidate)
    return leaving * new_cell.tanh(), new_cell, activated


def fused_cell_backward(
    output_gradient: Tensor, cell_gradient: Tensor, cell: Tensor, new_cell: Tensor, activated: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the sum of the gates' two parts and of the cell that a step read. cell, new_cell: before and after
    the step."""
    if activated.is_cuda:
        of_gates, of_cell, _of_bias = aten._thnn_fused_lstm_cell_backward_impl(
            output_gradient, cell_gradient, cell, new_cell, activated, False
        )
        return of_gates, of_cell
    entering, kept, candidate, leaving = activated.chunk(4, dim=1)
    squashed = new_cell.tanh()
    of_new = cell_gradient + aten.tanh_backward(output_gradient * leaving, squashed)
    of_gates = torch.cat(
        [
            aten.sigmoid_backward(of_new * candidate, entering),
            aten.sigmoid_backward(of_new * cell, kept),
            aten.tanh_backward(of_new * entering, candidate),
            aten.sigmoid_backward(output_gradient * squashed, leaving),
        ],
        dim=1,
    )
    return of_gates, of_new * kept


class TimeMaxima(torch.autograd.Function):
    """Maximum over time of the steps that count. Steps that share a maximum share its gradient, as with ``amax``."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, beyond: Tensor) -> Tensor:
        """outputs: (..., steps, batch, width). beyond: (..., steps, batch) bool, True where a step does not count.
        Returns (..., batch, width)."""
        counted = outputs.masked_fill(beyond[..., None], float("-inf"))
        maxima = counted.amax(dim=-3)
        ctx.save_for_backward(counted, maxima)
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """gradient: (..., batch, width)."""
        counted, maxima = ctx.saved_tensors
        attained = counted == maxima.unsqueeze(-3)
        return attained * (gradient / attained.sum(dim=-3)).unsqueeze(-3), None
