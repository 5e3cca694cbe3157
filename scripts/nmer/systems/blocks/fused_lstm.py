"""LSTMs computed jointly step by step with the framework's fused cell: the form for a GPU without ``lstm_kernels.py``.

Every LSTM of every repeat takes its step in the same two kernels, a batched matrix product and the framework's fused
cell, and two more in the backward pass. Unlike here, cuDNN runs one LSTM after another and cannot leave out utterances
that have ended without reading their lengths on the CPU (docs/gpu.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nmer.systems.blocks.products import sum_of_products
from nmer.systems.blocks.step_counts import Counts

aten = torch.ops.aten


class LstmOutputs(torch.autograd.Function):
    """Outputs of LSTMs at every step, from their input projections.

    LSTMs with fewer steps drop out, and so do utterances, the last ones first. Gates have the framework's order: input,
    forget, candidate, output.
    """

    @staticmethod
    def forward(
        ctx: Any, counts: Counts, biases: Tensor, hidden_weights: Tensor, *products: Tensor
    ) -> tuple[Tensor, ...]:
        """counts: utterances of each step, of every LSTM that has it. biases: (LSTMs, 4 hidden), the sum of both.
        hidden_weights: (LSTMs, 4 hidden, hidden). products: of what each reads and its input weights, (LSTMs, rows, 4
        hidden), one for all LSTMs of as many steps, the longest first. Rows are utterances step by step. Returns
        outputs for each product, (LSTMs, rows, hidden)."""
        steps = _steps(counts, products, biases)
        transposed = hidden_weights.transpose(1, 2)
        hidden_gates = torch.zeros_like(steps[0])
        cell = hidden_gates.new_zeros(*hidden_gates.shape[:2], hidden_weights.shape[2])
        outputs: list[Tensor] = []
        before, after, workspaces = [], [], []
        keep = any(ctx.needs_input_grad)
        for gates in steps:
            shape = lstms, count = gates.shape[:2]
            if outputs:
                hidden_gates = torch.bmm(outputs[-1][:lstms, :count], transposed[:lstms])
            old_cell = cell[:lstms, :count].flatten(0, 1)
            output, new_cell, workspace = fused_cell(gates.flatten(0, 1), hidden_gates.flatten(0, 1), old_cell)
            outputs.append(output.unflatten(0, shape))
            cell = new_cell.unflatten(0, shape)
            if keep:
                before.append(old_cell)
                after.append(new_cell)
                workspaces.append(workspace)
        found = _of_each(outputs, counts, products)
        if keep:
            ctx.counts, ctx.groups = counts, len(products)
            ctx.save_for_backward(hidden_weights, *found, *before, *after, *workspaces)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """gradients: as the outputs."""
        counts, number = ctx.counts, len(ctx.counts)
        hidden_weights, *kept = ctx.saved_tensors
        outputs, kept = kept[: ctx.groups], kept[ctx.groups :]
        before, after, workspaces = kept[:number], kept[number : 2 * number], kept[2 * number :]
        # Copies, because the gradients through the state are added to them.
        output_gradients = _steps(counts, gradients)
        cell_gradient = torch.zeros_like(output_gradients[-1])
        gate_gradients: list[Tensor] = []
        for step in reversed(range(number)):
            output_gradient = output_gradients[step]
            shape = lstms, count = output_gradient.shape[:2]
            if gate_gradients:
                later = gate_gradients[-1]
                output_gradient[: len(later), : later.shape[1]].baddbmm_(later, hidden_weights[: len(later)])
                ended = count - cell_gradient.shape[1], lstms - len(cell_gradient)
                if any(ended):
                    cell_gradient = functional.pad(cell_gradient, (0, 0, 0, ended[0], 0, ended[1]))
            gate_gradient, flat = fused_cell_backward(
                output_gradient.flatten(0, 1), cell_gradient.flatten(0, 1), before[step], after[step], workspaces[step]
            )
            gate_gradients.append(gate_gradient.unflatten(0, shape))
            cell_gradient = flat.unflatten(0, shape)
        found = _of_each(gate_gradients[::-1], counts, gradients)
        of_weights = [
            sum_of_products(own, previous_outputs(counts, output)) for own, output in zip(found, outputs, strict=True)
        ]
        return None, joined([own.sum(dim=1) for own in found]), joined(of_weights), *found


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate the parts on their first axis, without a copy of a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


class Run(NamedTuple):
    """Consecutive steps of the same LSTMs and utterances. rows: of each product."""

    steps: int
    utterances: int
    rows: slice
    groups: int


def runs(counts: Counts, groups: Sequence[Tensor]) -> Iterator[Run]:
    """Divide all steps into runs. groups: (LSTMs, rows, width) each, longest first."""
    ends = [number_of_steps(counts, group.shape[1]) for group in groups]
    changes = (step for step in range(1, ends[0]) if counts[step] != counts[step - 1])
    rows = list(accumulate(counts, initial=0))
    for start, stop in pairwise(sorted({0, *changes, *ends})):
        yield Run(stop - start, counts[start], slice(rows[start], rows[stop]), sum(end > start for end in ends))


def number_of_steps(counts: Counts, rows: int) -> int:
    """Return how many of the first steps have that many rows together."""
    return list(accumulate(counts)).index(rows) + 1


def _steps(counts: Counts, groups: Sequence[Tensor], biases: Tensor | None = None) -> list[Tensor]:
    """Return every step of the LSTMs that have it: (LSTMs, utterances, width) each, contiguous for the fused cell.

    groups: (LSTMs, rows, width) each, longest first. biases: (all LSTMs, width), added.
    """
    found: list[Tensor] = []
    for run in runs(counts, groups):
        going_on = groups[: run.groups]
        sizes = [len(group) for group in going_on]
        steps = groups[0].new_empty(run.steps, sum(sizes), run.utterances, groups[0].shape[2])
        for place, group, first in zip(steps.split(sizes, dim=1), going_on, accumulate([0, *sizes]), strict=False):
            own = group[:, run.rows].unflatten(1, (run.steps, run.utterances)).transpose(0, 1)
            if biases is None:
                place.copy_(own)
            else:
                torch.add(own, biases[first : first + len(group), None], out=place)
        found += steps.unbind()
    return found


def _of_each(steps: Sequence[Tensor], counts: Counts, groups: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Invert :func:`_steps`. groups: with the same LSTMs and rows."""
    found, first = [], 0
    for group in groups:
        end = first + len(group)
        found.append(torch.cat([step[first:end] for step in steps[: number_of_steps(counts, group.shape[1])]], dim=1))
        first = end
    return tuple(found)


def previous_outputs(counts: Counts, outputs: Tensor) -> Tensor:
    """Return the output before each row, zero at the first step. outputs: (LSTMs, rows, hidden)."""
    found = [torch.zeros_like(outputs[:, : counts[0]])]
    for run in runs(counts, [outputs]):
        first, end = run.rows.start, run.rows.stop
        if first:
            last_step = first - counts[counts.index(run.utterances) - 1]
            found.append(outputs[:, last_step : last_step + run.utterances])
        found.append(outputs[:, first : end - run.utterances])
    return torch.cat(found, dim=1)


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
    def forward(ctx: Any, counts: Counts, outputs: Tensor, beyond: Tensor) -> Tensor:
        """outputs: (..., rows, width), rows as in :class:`LstmOutputs`. beyond: (..., rows) bool, True where a row does
        not count. Returns (..., utterances, width)."""
        counted = outputs.masked_fill(beyond[..., None], float("-inf"))
        ctx.runs = [(run.rows, (run.steps, run.utterances)) for run in runs(counts, [counted.flatten(0, -3)])]
        of_runs = [counted[..., rows, :].unflatten(-2, shape).amax(dim=-3) for rows, shape in ctx.runs]
        maxima: Tensor = of_runs[0]
        for other in of_runs[1:]:
            highest = maxima[..., : other.shape[-2], :]
            torch.maximum(highest, other, out=highest)
        ctx.save_for_backward(counted, maxima)
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        """gradient: (..., utterances, width)."""
        counted, maxima = ctx.saved_tensors
        attained = torch.empty_like(counted)
        parts = [attained[..., rows, :].unflatten(-2, shape) for rows, shape in ctx.runs]
        for part, (rows, shape) in zip(parts, ctx.runs, strict=True):
            # Numbers rather than truth values, because their sum would be converted first.
            torch.eq(counted[..., rows, :].unflatten(-2, shape), maxima[..., None, : shape[1], :], out=part)
        sharing, *others = (part.sum(dim=-3) for part in parts)
        for other in others:
            sharing[..., : other.shape[-2], :] += other
        share = gradient / sharing
        for part in parts:
            part *= share[..., None, : part.shape[-2], :]
        return None, attained, None
