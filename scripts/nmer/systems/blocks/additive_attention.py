"""Additive attention of a decoder's step, computed by the framework's operators, with its gradients (SPEC 4.6).

A GPU uses ``fused_attention.py`` instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

aten = torch.ops.aten


class AdditiveAttention:
    """Additive attention of some rows over their memory, which keeps what its gradients need.

    w^T tanh(x) is computed as 2 w^T sigmoid(2 x). A softmax ignores the difference, which is constant over frames, and
    a sigmoid takes a CPU a sixth of the time of a tanh.
    """

    TENSORS = 3
    """Number of tensors that describe a memory."""

    def __init__(self, keys: Tensor, values: Tensor, lengths: Tensor, *, scores: Tensor, steps: int) -> None:
        """keys, values: (rows, longest, hidden). lengths: (rows,) int64. scores: (decoders, hidden), the weights of the
        sigmoid, each for equally many rows. steps: number of steps to keep."""
        self._keys, self._values = keys, values
        self._beyond = torch.arange(keys.shape[1], device=keys.device) >= lengths[:, None]
        self._score = scores[..., None]
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
