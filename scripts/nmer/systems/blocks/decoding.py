"""The steps of several attention decoders, computed jointly, with their gradients (SPEC 4.6).

Everything that does not depend on a step's state is computed before or after: a caller gives the keys, and weights that
map a step's output to the next step's gates by one matrix. A step is then the attention, two batched products and the
LSTM's fused cell.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nmer.systems.blocks.fused_lstm import fused_cell, fused_cell_backward
from nmer.systems.blocks.products import sum_of_products

aten = torch.ops.aten


class DecoderStates(torch.autograd.Function):
    """States and contexts of decoders at every step."""

    @staticmethod
    def forward(
        ctx: Any,
        steps: int,
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
        to the gates. memories: in turn keys and values, (rows, longest, hidden), and the mask of positions without a
        frame, (rows, longest) bool, of consecutive rows of decoders x batch: some rows of one decoder, or all of
        several.

        Returns states and contexts concatenated, (decoders, batch, steps, 2 hidden).
        """
        decoders, batch, hidden = start.shape
        keep = any(ctx.needs_input_grad)
        attention = _attention(memories, score_weights, batch, steps if keep else 1)
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
            for each in attention:
                each.context(queries[each.rows], step if keep else 0, contexts.flatten(0, 1)[each.rows, step + 1])
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
            ctx.attention = attention
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
        attention: list[_Attention] = ctx.attention
        del ctx.attention
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
            for each in attention:
                each.query_gradient(of_context[each.rows], step, query.flatten(0, 1)[each.rows])
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
        for each in attention:
            of_keys, of_values, of_score = each.gradients(through[..., 0, :].flatten(0, 1)[each.rows])
            of_scores[each.decoders] += of_score
            of_memories += [of_keys, of_values, None]
        return (
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


def _attention(memories: tuple[Tensor, ...], scores: Tensor, batch: int, steps: int) -> list[_Attention]:
    found: list[_Attention] = []
    first = 0
    for keys, values, beyond in zip(memories[::3], memories[1::3], memories[2::3], strict=True):
        found.append(_Attention(keys, values, beyond, scores, slice(first, first + len(keys)), batch, steps))
        first += len(keys)
    return found


class _Attention:
    """Additive attention of some rows over their memory, which keeps what its gradients need.

    w^T tanh(x) is computed as 2 w^T sigmoid(2 x). A softmax ignores the difference, which is constant over frames, and
    a sigmoid takes a CPU a sixth of the time of a tanh. rows: of decoders x batch. decoders: those of the rows.
    """

    def __init__(
        self, keys: Tensor, values: Tensor, beyond: Tensor, scores: Tensor, rows: slice, batch: int, steps: int
    ) -> None:
        """keys, values, beyond: as in :class:`DecoderStates`. scores: (all decoders, hidden). steps: number of steps to
        keep."""
        self.rows = rows
        self.decoders = slice(rows.start // batch, (rows.stop - 1) // batch + 1)
        self._keys, self._values, self._beyond = keys, values, beyond
        self._score = scores[self.decoders, :, None]
        self._squashed = keys.new_empty(steps, *keys.shape)
        self._weights: list[Tensor] = []
        self._of_scores = keys.new_zeros(len(keys), 1, keys.shape[2])

    def context(self, query: Tensor, step: int, context: Tensor) -> None:
        """Write the sum of the values weighted by the softmax of the scores to ``context``. query, context: (rows,
        hidden)."""
        squashed = torch.add(self._keys, query[:, None], out=self._squashed[step]).sigmoid_()
        scores = torch.bmm(squashed.view(len(self._score), -1, squashed.shape[2]), self._score)
        weights = scores.view(self._beyond.shape).masked_fill_(self._beyond, float("-inf")).softmax(dim=1)
        self._weights.append(weights)
        # With out=, a CPU would compute this product row by row.
        context.copy_(torch.bmm(weights[:, None], self._values).squeeze(1))

    def query_gradient(self, of_context: Tensor, step: int, of_query: Tensor) -> None:
        """Write the gradient of a step's query, without the factor of the score weights, from that of its context,
        (rows, hidden) both. Call it from the last step to the first."""
        squashed, weights = self._squashed[step], self._weights[step]
        of_weights = torch.bmm(of_context[:, None], self._values.transpose(1, 2)).squeeze(1)
        of_scores = aten._softmax_backward_data(of_weights, weights, 1, weights.dtype)
        self._of_scores.baddbmm_(of_scores[:, None], squashed)
        # Gradient of the keys, computed in place.
        through = of_scores[..., None].expand(squashed.shape)
        aten.sigmoid_backward.grad_input(through, squashed, grad_input=squashed)
        torch.sum(squashed, dim=1, out=of_query)

    def gradients(self, of_contexts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of keys, values and score weights, (decoders, hidden), after all steps. of_contexts:
        (rows, steps, hidden)."""
        of_keys = self._squashed.sum(dim=0)
        of_keys.view(len(self._score), -1, of_keys.shape[2]).mul_(self._score.transpose(1, 2))
        of_values = torch.bmm(torch.stack(self._weights, dim=2), of_contexts)
        return of_keys, of_values, self._of_scores.view(len(self._score), -1, of_keys.shape[2]).sum(dim=1)
