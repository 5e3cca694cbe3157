"""The steps of attention decoders, several of them side by side, with their gradients (SPEC 4.6).

Everything that does not depend on a step's state is computed before or after: a caller gives the keys, and weights in
which the way from a step's output to the next step's gates is one matrix. What remains of a step is the attention, one
batched product and the LSTM's fused cell.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmer.systems.fused_lstm import fused_cell, fused_cell_backward

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
        """All operands have the repeats, then the decoders, on their first two axes.

        start: (..., batch, hidden), what the first query is read from. first: (..., batch, 4 hidden), the first step's
        gates but for the context's part. later: (..., 4 hidden), bias of the gates from the second step on.
        query_weights: (..., hidden, hidden). score_weights: (..., hidden).
        state_weights: (..., 4 hidden, 2 hidden), from the state and the context of a step to the next step's gates.
        context_weights: (..., 4 hidden, hidden), from a step's context to its own gates.
        memories: of consecutive decoders together the keys and values, (..., batch, longest, hidden), and where there
        is no frame, (..., batch, longest) bool, in turn.
        Returns states and contexts side by side, (..., steps, batch, 2 hidden).
        """
        axes, batch, hidden = start.shape[:2], start.shape[2], start.shape[3]
        keep = any(ctx.needs_input_grad)
        each = [memories[number : number + 3] for number in range(0, len(memories), 3)]
        scores = score_weights.split([keys.shape[1] for keys, _values, _beyond in each], dim=1)
        attention = [_Attention(memory, score, keep) for memory, score in zip(each, scores, strict=True)]
        of_query, of_state, of_context = (
            weights.flatten(0, 1).transpose(1, 2) for weights in (query_weights, state_weights, context_weights)
        )
        offset = later[:, :, None].expand(*axes, batch, 4 * hidden).flatten(0, 2)
        gates_before, output = first.flatten(0, 2), start.flatten(0, 1)
        cell = start.new_zeros(len(gates_before), hidden)
        states: list[Tensor] = []
        cells, workspaces = [cell], []
        for _step in range(steps):
            queries = torch.bmm(output, of_query).unflatten(0, axes)
            context = _attended(attention, queries).flatten(0, 1)
            gates = torch.bmm(context, of_context)
            if states:
                gates.baddbmm_(states[-1], of_state)
            flat, cell, workspace = fused_cell(gates.flatten(0, 1), gates_before, cell)
            gates_before, output = offset, flat.view_as(context)
            states.append(torch.cat([output, context], dim=2))
            if keep:
                cells.append(cell)
                workspaces.append(workspace)
        stacked = torch.stack(states, dim=1)
        if keep:
            ctx.attention = attention
            ctx.save_for_backward(start, query_weights, state_weights, context_weights, stacked, *cells, *workspaces)
        of_all: Tensor = stacked.unflatten(0, axes)
        return of_all

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """gradient: (repeats, decoders, steps, batch, 2 hidden)."""
        start, query_weights, state_weights, context_weights, states, *kept = ctx.saved_tensors
        axes, hidden, steps = start.shape[:2], start.shape[3], states.shape[1]
        cells, workspaces = kept[: steps + 1], kept[steps + 1 :]
        attention = [_AttentionGradients(memory) for memory in ctx.attention]
        scores = torch.cat([memory.score for memory in ctx.attention], dim=1)[..., None]
        # Queries' gradients come without the score weights, which are a factor of every one.
        of_query, of_state, of_context = (
            weights.flatten(0, 1) for weights in (scores * query_weights, state_weights, context_weights)
        )
        # A copy, to which the gradients that come through later steps are added.
        state_gradients = gradient.flatten(0, 1).transpose(0, 1).clone(memory_format=torch.contiguous_format)
        cell_gradient = torch.zeros_like(cells[0])
        query_gradients: list[Tensor] = []
        gate_gradients: list[Tensor] = []
        for step in reversed(range(steps)):
            state_gradient = state_gradients[step]
            if gate_gradients:
                state_gradient.baddbmm_(gate_gradients[-1], of_state)
                state_gradient[..., :hidden].baddbmm_(query_gradients[-1], of_query)
            flat, cell_gradient = fused_cell_backward(
                state_gradient[..., :hidden].flatten(0, 1),
                cell_gradient,
                cells[step],
                cells[step + 1],
                workspaces[step],
            )
            gate_gradients.append(flat.unflatten(0, state_gradient.shape[:2]))
            context_gradient = torch.baddbmm(state_gradient[..., hidden:], gate_gradients[-1], of_context)
            query_gradients.append(_queries(attention, context_gradient.unflatten(0, axes), step).flatten(0, 1))
        gates, queries = (torch.stack(parts[::-1], dim=1) for parts in (gate_gradients, query_gradients))
        outputs = torch.cat([start.flatten(0, 1)[:, None], states[:, :-1, :, :hidden]], dim=1)
        later, own = gates[:, 1:], [each.of_memory() for each in attention]
        of_operands = (
            torch.bmm(query_gradients[-1], of_query).unflatten(0, axes),
            gates[:, 0].unflatten(0, axes),
            later.sum(dim=(1, 2)).unflatten(0, axes),
            scores * _of_weights(queries, outputs).unflatten(0, axes),
            torch.cat([score for _keys, _values, score in own], dim=1),
            _of_weights(later, states[:, :-1]).unflatten(0, axes),
            _of_weights(gates, states[..., hidden:]).unflatten(0, axes),
        )
        return None, *of_operands, *(part for keys, values, _score in own for part in (keys, values, None))


def _of_weights(gradient: Tensor, given: Tensor) -> Tensor:
    """Gradient of the weights that map ``given`` to what ``gradient`` is of: both (decoders, steps, batch, width)."""
    return torch.bmm(gradient.flatten(1, 2).transpose(1, 2), given.flatten(1, 2))


def _attended(attention: list[_Attention], queries: Tensor) -> Tensor:
    parts = queries.split([memory.decoders for memory in attention], dim=1)
    contexts = [memory.context(part) for memory, part in zip(attention, parts, strict=True)]
    return contexts[0] if len(contexts) == 1 else torch.cat(contexts, dim=1)


def _queries(attention: list[_AttentionGradients], gradient: Tensor, step: int) -> Tensor:
    parts = gradient.split([each.attention.decoders for each in attention], dim=1)
    queries = [each.query(part, step) for each, part in zip(attention, parts, strict=True)]
    return queries[0] if len(queries) == 1 else torch.cat(queries, dim=1)


class _Attention:
    """Additive attention of decoders over memories of one shape, padding included; notes what its gradients need."""

    def __init__(self, memory: tuple[Tensor, ...], score: Tensor, keep: bool) -> None:
        """memory: keys and values, (repeats, decoders, batch, longest, hidden), and True where there is no frame,
        (repeats, decoders, batch, longest). score: (repeats, decoders, hidden). keep: whether gradients will be
        needed."""
        self.keys, self.values, self._beyond = memory
        self.decoders = self.keys.shape[1]
        self.score, self._keep = score, keep
        self.squashed: list[Tensor] = []
        self.weights: list[Tensor] = []

    def context(self, query: Tensor) -> Tensor:
        """Sum of the values weighted by the softmax of the scores. query: (repeats, decoders, batch, hidden), and so
        is the result."""
        squashed = (self.keys + query[..., None, :]).tanh_()
        scores = torch.bmm(squashed.flatten(2, 3).flatten(0, 1), self.score.flatten(0, 1)[..., None])
        weights = scores.view(self._beyond.shape).masked_fill_(self._beyond, float("-inf")).softmax(dim=-1)
        if self._keep:
            self.squashed.append(squashed)
            self.weights.append(weights)
        return torch.bmm(weights.flatten(0, 2)[:, None], self.values.flatten(0, 2)).view(query.shape)


class _AttentionGradients:
    """The backward pass of an attention, the latest step first."""

    def __init__(self, attention: _Attention) -> None:
        self.attention = attention
        self._of_contexts: list[Tensor] = []
        self._of_keys: Tensor | None = None
        self._of_score: Tensor | None = None

    def query(self, gradient: Tensor, step: int) -> Tensor:
        """Gradient of a step's query but for the score weights as a factor, from that of its context: (repeats,
        decoders, batch, hidden) both."""
        memory = self.attention
        squashed, weights = memory.squashed[step], memory.weights[step]
        of_context = gradient.flatten(0, 2)[:, None]
        of_weights = torch.bmm(of_context, memory.values.flatten(0, 2).transpose(1, 2)).view(weights.shape)
        of_scores = aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        # Summed over the batch at the end: many small products are faster than one of a single row.
        of_score = torch.bmm(of_scores.flatten(0, 2)[:, None], squashed.flatten(0, 2))
        through = aten.tanh_backward(of_scores[..., None].expand(squashed.shape), squashed)
        of_query: Tensor = through.sum(dim=-2)
        self._of_score = of_score if self._of_score is None else self._of_score.add_(of_score)
        self._of_keys = through if self._of_keys is None else self._of_keys.add_(through)
        self._of_contexts.append(of_context)
        return of_query

    def of_memory(self) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of keys, values and score weights, once every step was computed."""
        memory = self.attention
        assert self._of_keys is not None, "a decoder has a step at least"
        assert self._of_score is not None
        weights = torch.stack([part.flatten(0, 2) for part in memory.weights[::-1]], dim=2)
        of_values = torch.bmm(weights, torch.cat(self._of_contexts, dim=1))
        of_score = self._of_score.view(*memory.keys.shape[:3], -1).sum(dim=2)
        return self._of_keys * memory.score[:, :, None, None], of_values.view(memory.values.shape), of_score
