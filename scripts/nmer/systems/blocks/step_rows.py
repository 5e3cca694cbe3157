"""A padded batch as rows, step by step with the longest utterances first, as the LSTMs of a GPU compute it.

A step has as many rows as the bounds of ``step_counts.py`` state. A batch of IEMOCAP's audio then has a third of the
rows that it has when every utterance is padded to the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmer.systems.blocks.fused_lstm import runs
from nmer.systems.blocks.recurrence import longest_first, pads, steps_and_places
from nmer.systems.blocks.reindexing import reindexed
from nmer.systems.blocks.repeats import across_repeats
from nmer.systems.blocks.step_counts import Counts, first_rows, step_counts
from nmer.systems.interface import Sequences


class StepRows(NamedTuple):
    """Sequences as rows. values: (rows, dim). lengths: (batch,). counts: utterances of each step. order: (batch,), the
    utterances, longest first. beyond: (rows,), True where a row is padding."""

    values: Tensor
    lengths: Tensor
    counts: Counts
    order: Tensor
    beyond: Tensor

    def turns(self) -> Tensor:
        """Return the index by which :func:`reindexed` reverses the frames of each utterance within its length: (rows,).
        It is its own inverse."""

        def of_all(lengths: Tensor, order: Tensor, beyond: Tensor) -> Tensor:
            step, place = steps_and_places(self.counts, lengths.device)
            reverse = lengths.gather(1, order)[:, place] - 1 - step
            first: Tensor = first_rows(self.counts, lengths.device)[torch.where(beyond, step, reverse)]
            return first + place

        index: Tensor = across_repeats(of_all, self.lengths, self.order, self.beyond)
        return index

    def padded(self) -> Sequences:
        """Return (batch, longest, dim), zero beyond each length."""
        longest = len(self.counts)

        def of_all(lengths: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            step, place = steps_and_places(self.counts, lengths.device)
            beyond = torch.arange(longest, device=lengths.device) >= lengths[..., None]
            row = first_rows(self.counts, lengths.device) + order.argsort(dim=1)[..., None]
            return row.masked_fill(beyond, 0).flatten(1), order[:, place] * longest + step, beyond.flatten(1)

        index, inverse, beyond = across_repeats(of_all, self.lengths, self.order)
        values = reindexed(self.values, index, inverse).masked_fill(beyond[:, None], 0.0)
        return Sequences(values.unflatten(0, (-1, longest)), self.lengths)

    def summed(self, values: Tensor) -> Tensor:
        """Sum values of rows, (rows, width), over the steps of each utterance: (batch, width), in the batch's order."""

        def of_all(rows: Tensor) -> Tensor:
            sums: Tensor = _Summed.apply(self.counts, rows)  # type: ignore[no-untyped-call]
            return sums

        return reindexed(across_repeats(of_all, values), self.order.argsort(), self.order)


Frames = Sequences | StepRows
"""Sequences, padded or as rows."""


def by_steps(sequences: list[Sequences]) -> Sequence[Frames]:
    """Return sequences that are read in the same steps as rows, if bounds are stated for them."""
    if not pads(sequences[0].values):
        return sequences
    own = [step_counts(*values.shape[:2]) for values, _lengths in sequences]
    longest = max(map(len, own))
    counts = tuple(max(count[step] for count in own if step < len(count)) for step in range(longest))
    if len(set(counts)) == 1:
        return sequences
    return [_rows(counts[: values.shape[1]], values, lengths) for values, lengths in sequences]


def _rows(counts: Counts, values: Tensor, lengths: Tensor) -> StepRows:
    order, rows, beyond = across_repeats(lambda *given: longest_first(counts, *given), values, lengths)
    return StepRows(rows, lengths, counts, order, beyond)


class _Summed(torch.autograd.Function):
    """Sum rows over the steps of each utterance."""

    @staticmethod
    def forward(ctx: Any, counts: Counts, rows: Tensor) -> Tensor:
        """rows: (repeats, rows, width). Returns (repeats, batch, width), the longest utterances first."""
        ctx.counts = counts
        of_runs = [
            rows[:, run.rows].unflatten(1, (run.steps, run.utterances)).sum(dim=1) for run in runs(counts, [rows])
        ]
        total: Tensor = of_runs[0]
        for other in of_runs[1:]:
            total[:, : other.shape[1]] += other
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        """gradient: (repeats, batch, width)."""
        _step, place = steps_and_places(ctx.counts, gradient.device)
        return None, gradient.index_select(1, place)
