"""LSTMs computed jointly step by step with the framework's fused cell: the form for a GPU.

Every LSTM of every repeat takes its step in the same two kernels, a batched matrix product and the framework's fused
cell, and two more in the backward pass. cuDNN runs one LSTM after another, each taking as long as all of them here, and
reduces the precision of products regardless of the setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nmer.systems.blocks.products import divisor, sum_of_products

aten = torch.ops.aten

PARTS_OF_A_BATCH = 8


class LstmOutputs(torch.autograd.Function):
    """Outputs of LSTMs at every step, from their input projections.

    LSTMs with fewer steps drop out. Gates have the framework's order: input, forget, candidate, output.
    """

    @staticmethod
    def forward(ctx: Any, biases: Tensor, hidden_weights: Tensor, *products: Tensor) -> tuple[Tensor, ...]:
        """biases: (LSTMs, 4 hidden), the sum of both. hidden_weights: (LSTMs, 4 hidden, hidden). products: of what each
        reads and its input weights, (LSTMs, steps, batch, 4 hidden), one for all LSTMs of as many steps, the longest
        first. Returns outputs for each product, (LSTMs, steps, batch, hidden)."""
        batch, width = products[0].shape[2:]
        input_gates = _steps(products, biases)
        transposed = hidden_weights.transpose(1, 2)
        hidden_gates = torch.zeros_like(input_gates[0])
        cell = products[0].new_zeros(len(hidden_gates), width // 4)
        outputs: list[Tensor] = []
        cells, workspaces = [cell], []
        keep = any(ctx.needs_input_grad)
        for step in input_gates:
            rows = len(step)
            if outputs:
                lstms = rows // batch
                hidden_gates = torch.bmm(outputs[-1][:lstms], transposed[:lstms]).flatten(0, 1)
            hidden, cell, workspace = fused_cell(step, hidden_gates, cell[:rows])
            outputs.append(hidden.unflatten(0, (-1, batch)))
            if keep:
                cells.append(cell)
                workspaces.append(workspace)
        stacked = _of_each(outputs, products)
        if keep:
            ctx.groups = len(products)
            ctx.save_for_backward(hidden_weights, *stacked, *cells, *workspaces)
        return stacked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """gradients: as the outputs."""
        hidden_weights, *kept = ctx.saved_tensors
        outputs, kept = kept[: ctx.groups], kept[ctx.groups :]
        steps, batch = outputs[0].shape[1:3]
        cells, workspaces = kept[: steps + 1], kept[steps + 1 :]
        # Copies, because the gradients through the state are added to them.
        output_gradients = _steps(gradients)
        cell_gradient = torch.zeros_like(cells[-1])
        # Split the batch: on a GPU the product of a few LSTMs occupies too few multiprocessors.
        parts = divisor(batch, PARTS_OF_A_BATCH)
        weights = hidden_weights.repeat_interleave(parts, dim=0)
        gate_gradients: list[Tensor] = []
        for step in reversed(range(steps)):
            output_gradient = output_gradients[step]
            rows = len(output_gradient)
            if gate_gradients:
                later = gate_gradients[-1].unflatten(1, (parts, -1)).flatten(0, 1)
                going_on = output_gradient[: len(cell_gradient)]
                going_on.unflatten(0, (len(later), -1)).baddbmm_(later, weights[: len(later)])
                if rows > len(cell_gradient):
                    cell_gradient = functional.pad(cell_gradient, (0, 0, 0, rows - len(cell_gradient)))
            gate_gradient, cell_gradient = fused_cell_backward(
                output_gradient, cell_gradient, cells[step][:rows], cells[step + 1], workspaces[step]
            )
            gate_gradients.append(gate_gradient.unflatten(0, (-1, batch)))
        of_products = _of_each(gate_gradients[::-1], gradients)
        of_weights = [
            sum_of_products(own[:, 1:].flatten(1, 2), output[:, :-1].flatten(1, 2))
            for own, output in zip(of_products, outputs, strict=True)
        ]
        return joined([own.sum(dim=(1, 2)) for own in of_products]), joined(of_weights), *of_products


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate the parts on their first axis, without a copy of a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _steps(groups: Sequence[Tensor], biases: Tensor | None = None) -> list[Tensor]:
    """Return every step of the LSTMs that have it, contiguous for the fused cell: (LSTMs x batch, width) each.

    groups: (LSTMs, steps, batch, width) each, longest first. biases: (all LSTMs, width), added.
    """
    found: list[Tensor] = []
    for number in range(len(groups), 0, -1):
        going_on, here = groups[:number], slice(len(found), groups[number - 1].shape[1])
        counts = [len(group) for group in going_on]
        steps = groups[0].new_empty(here.stop - here.start, sum(counts), *groups[0].shape[2:])
        for place, group, first in zip(steps.split(counts, dim=1), going_on, accumulate([0, *counts]), strict=False):
            own = group[:, here].transpose(0, 1)
            if biases is None:
                place.copy_(own)
            else:
                torch.add(own, biases[first : first + len(group), None], out=place)
        found += steps.flatten(1, 2).unbind()
    return found


def _of_each(steps: Sequence[Tensor], groups: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Invert :func:`_steps`, from (LSTMs, batch, width) each. groups: with the same LSTMs and steps."""
    found, first = [], 0
    for group in groups:
        end = first + len(group)
        found.append(torch.stack([step[first:end] for step in steps[: group.shape[1]]], dim=1))
        first = end
    return tuple(found)


def fused_cell(gates: Tensor, hidden_gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute one step of an LSTM from the two parts of its gates, (rows, 4 hidden), and its cell, (rows, hidden).

    Returns the output, the new cell, and the activated gates for :func:`fused_cell_backward`.
    """
    if gates.is_cuda:
        output, new_cell, activated = aten._thnn_fused_lstm_cell(gates, hidden_gates, cell)
        return output, new_cell, activated
    # The framework has a fused cell for CUDA only; this serves repeats that a CPU computes jointly.
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
    """Return the gradients of the gates' two parts, which are equal, and of the previous cell. cell, new_cell: before
    and after the step."""
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
    """Maximum over the valid steps. Steps with equal maxima share its gradient, as with ``amax``."""

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
