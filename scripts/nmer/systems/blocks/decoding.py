"""The steps of several attention decoders, computed jointly, with their gradients (SPEC 4.6).

Everything that does not depend on a step's state is computed before or after: a caller gives the keys, and weights that
map a step's output to the next step's gates by one matrix. A step is then the attention, two batched products and the
LSTM's fused cell.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nmer.systems.blocks.additive_attention import AdditiveAttention
from nmer.systems.blocks.fused_attention import FusedAttention
from nmer.systems.blocks.fused_lstm import fused_cell, fused_cell_backward
from nmer.systems.blocks.products import sum_of_products

AttentionForm = type[AdditiveAttention] | type[FusedAttention]


class DecoderStates(torch.autograd.Function):
    """States and contexts of decoders at every step."""

    @staticmethod
    def forward(
        ctx: Any,
        steps: int,
        form: AttentionForm,
        start: Tensor,
        first: Tensor,
        later: Tensor,
        query_weights: Tensor,
        score_weights: Tensor,
        state_weights: Tensor,
        context_weights: Tensor,
        *memories: Tensor,
    ) -> Tensor:
        """start: (decoders, batch, hidden), the state that the first query is computed from. first: (decoders, batch, 4
        hidden), the first step's gates without the context's part. later: (decoders, 4 hidden), bias of the gates from
        the second step on. query_weights: (decoders, hidden, hidden). score_weights: (decoders, hidden), of the sigmoid
        of key and query. state_weights: (decoders, 4 hidden, hidden), from the state of a step to the next step's
        gates. context_weights: (decoders, 4 hidden, 2 hidden), from the contexts of the previous and the current step
        to the gates. memories: in turn the tensors of which ``form`` is constructed, of consecutive rows of decoders x
        batch: some rows of one decoder, or all of several.

        Returns states and contexts concatenated, (decoders, batch, steps, 2 hidden).
        """
        decoders, batch, hidden = start.shape
        keep = any(ctx.needs_input_grad)
        attended = _memories(form, memories, score_weights, batch, steps if keep else 1)
        of_query = query_weights.transpose(1, 2)
        of_state = torch.cat([query_weights, state_weights], dim=1).transpose(1, 2)
        of_contexts = context_weights.transpose(1, 2)
        offset = later[:, None].expand(decoders, batch, 4 * hidden).flatten(0, 1)
        # Contexts of all steps of a row, preceded by zeros: a step reads two neighbours.
        contexts = start.new_empty(decoders, batch, steps + 1, hidden)
        contexts[:, :, 0] = 0.0
        cell = start.new_zeros(decoders * batch, hidden)
        states: list[Tensor] = []
        cells, workspaces = [cell], []
        for step in range(steps):
            # Queries and the state's part of the gates in one product.
            products = torch.bmm(states[-1], of_state) if states else torch.bmm(start, of_query)
            queries = products[..., :hidden].flatten(0, 1)
            for rows, _decoders, attention in attended:
                attention.context(queries[rows], step if keep else 0, contexts.flatten(0, 1)[rows, step + 1])
            heard = contexts.flatten(2)[:, :, step * hidden : (step + 2) * hidden]
            if states:
                gates = products[..., hidden:].baddbmm_(heard, of_contexts)
                state, cell, workspace = fused_cell(gates.flatten(0, 1), offset, cell)
            else:
                gates = torch.bmm(heard, of_contexts)
                state, cell, workspace = fused_cell(gates.flatten(0, 1), first.flatten(0, 1), cell)
            states.append(state.view_as(start))
            if keep:
                cells.append(cell)
                workspaces.append(workspace)
        found = torch.cat([torch.stack(states, dim=2), contexts[:, :, 1:]], dim=3)
        if keep:
            ctx.attended = attended
            own = (start, query_weights, score_weights, state_weights, context_weights)
            ctx.save_for_backward(*own, found, *cells, *workspaces)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """gradient: (decoders, batch, steps, 2 hidden)."""
        start, query_weights, score_weights, state_weights, context_weights, found, *kept = ctx.saved_tensors
        hidden, steps = start.shape[2], found.shape[2]
        cells, workspaces = kept[: steps + 1], kept[steps + 1 :]
        # The backward pass overwrites it, so a second pass would be wrong.
        attended: list[_Memory] = ctx.attended
        del ctx.attended
        # Gradients of queries lack the factor of the score weights.
        scores = score_weights[..., None]
        of_query = scores * query_weights
        # A copy, because the gradients through later steps are added to it. Contexts before states: then the previous
        # step and the current context, which a step's gates read, are neighbours and need one product.
        through = torch.cat([gradient[..., hidden:], gradient[..., :hidden]], dim=3).unflatten(3, (2, hidden))
        of_previous, of_current = context_weights.split(hidden, dim=2)
        heard_weights = torch.cat([of_previous, state_weights, of_current], dim=2)
        cell_gradient = torch.zeros_like(cells[0])
        queries: list[Tensor] = []
        gates: list[Tensor] = []
        for step in reversed(range(steps)):
            state = through[:, :, step, 1]
            if queries:
                state.baddbmm_(queries[-1], of_query)
            flat, cell_gradient = fused_cell_backward(
                state.flatten(0, 1), cell_gradient, cells[step], cells[step + 1], workspaces[step]
            )
            gates.append(flat.unflatten(0, state.shape[:2]))
            # The first step reads no earlier one.
            heard = through.flatten(2)[:, :, max(0, 2 * step - 2) * hidden : (2 * step + 1) * hidden]
            heard.baddbmm_(gates[-1], heard_weights[..., -heard.shape[2] :])
            query = torch.empty_like(cells[0]).view_as(start)
            of_context = through[:, :, step, 0].flatten(0, 1)
            for rows, _decoders, attention in attended:
                attention.query_gradient(of_context[rows], step, query.flatten(0, 1)[rows])
            queries.append(query)
        # Steps before rows: they are stacked without reordering.
        of_gates, of_queries = (torch.stack(parts[::-1], dim=1) for parts in (gates, queries))
        steps_first = found.transpose(1, 2)
        before = functional.pad(steps_first[:, :-1], (0, 0, 0, 0, 1, 0))
        heard = torch.cat([before, steps_first[..., hidden:]], dim=3)
        of_heard = _of_weights(of_gates, heard)
        of_query_weights = _of_weights(of_queries, heard[..., :hidden]).baddbmm_(of_queries[:, 0].mT, start)
        of_scores = torch.zeros_like(score_weights)
        of_memories: list[Tensor | None] = []
        for rows, decoders_of_rows, attention in attended:
            of_keys, of_values, of_score = attention.gradients(through[..., 0, :].flatten(0, 1)[rows])
            of_scores[decoders_of_rows] += of_score
            of_memories += [of_keys, of_values, *[None] * (attention.TENSORS - 2)]
        return (
            None,
            None,
            torch.bmm(queries[-1], of_query),
            of_gates[:, 0],
            of_gates[:, 1:].sum(dim=(1, 2)),
            scores * of_query_weights,
            of_scores,
            of_heard[..., :hidden],
            of_heard[..., hidden:],
            *of_memories,
        )


def _of_weights(gradient: Tensor, given: Tensor) -> Tensor:
    """Return the gradient of the weights of a linear map from its input and the gradient of its output, (decoders,
    steps, batch, width) each."""
    return sum_of_products(gradient.flatten(1, 2), given.flatten(1, 2))


class _Memory(NamedTuple):
    """Rows of decoders x batch that attend jointly, and the decoders of these rows."""

    rows: slice
    decoders: slice
    attention: AdditiveAttention | FusedAttention


def _memories(
    form: AttentionForm, memories: tuple[Tensor, ...], scores: Tensor, batch: int, steps: int
) -> list[_Memory]:
    """form, memories, scores: as in :class:`DecoderStates`. steps: number of steps to keep."""
    found: list[_Memory] = []
    first = 0
    for number in range(0, len(memories), form.TENSORS):
        own = memories[number : number + form.TENSORS]
        end = first + len(own[2])
        decoders = slice(first // batch, (end - 1) // batch + 1)
        attention = form(*own, scores=scores[decoders], steps=steps)
        found.append(_Memory(slice(first, end), decoders, attention))
        first = end
    return found
