"""LSTMs over sequences of different lengths, reduced to the maximum over time of their outputs (SPEC 3.1).

The framework's LSTM computes padding as well, most of a batch whose longest utterance is long, and on a CPU one
LSTM at a time. Here several LSTMs that read the same sequences run side by side, over the frames that exist; the input
projection of all frames is one matrix product, and so is each gradient of a weight. A GPU, which would have to tell
the program which frames exist, computes all of them, every LSTM of every repeat in the same steps.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from nmer.systems.fused_lstm import LstmOutputs, TimeMaxima
from nmer.systems.interface import Sequences
from nmer.systems.repeats import for_all, together

aten = torch.ops.aten


def lstm_maxima(lstms: list[nn.LSTM], sequences: Sequences) -> Tensor:
    """Maximum over each utterance's own frames of the outputs of every LSTM: (LSTMs, batch, hidden).

    lstms: one layer, one direction, batch first, all of one size. In single precision, also under autocast: rounding
    adds up from step to step.
    """
    if under_autocast(sequences.values):
        with torch.autocast(sequences.values.device.type, enabled=False):
            return lstm_maxima(lstms, Sequences(sequences.values.float(), sequences.lengths))
    weights = [lstm_weights(lstm) for lstm in lstms]
    if pads(sequences.values):
        outputs = lstm_outputs([(sequences.values, weights)])
        maxima: Tensor = for_all(TimeMaxima.apply, outputs, ~sequences.valid().T[None])
        return maxima
    # The longest first: the utterances that still go on at a step are then the first ones.
    lengths, order = sequences.lengths.sort(descending=True, stable=True)
    going_on = torch.arange(int(lengths[0]), device=lengths.device)[:, None] < lengths
    step, place = going_on.nonzero(as_tuple=True)
    frames = sequences.values.flatten(0, 1).index_select(0, order[place] * sequences.values.shape[1] + step)
    input_weights, hidden_weights = (torch.stack([own[number] for own in weights]) for number in (0, 1))
    # Summed before they are stacked: views of one gradient would be clipped once for each bias.
    biases = torch.stack([own[2] + own[3] for own in weights])
    given = (frames, place, going_on.sum(dim=1).tolist(), input_weights, hidden_weights, biases)
    maxima = _LongestFirst.apply(*given)  # type: ignore[no-untyped-call]
    return maxima.index_select(1, order.argsort())


def pads(values: Tensor) -> bool:
    """Whether encoders compute all frames of a padded batch, in the form for a GPU, and not those that exist."""
    return values.device.type != "cpu" or together()


def under_autocast(values: Tensor) -> bool:
    """Whether products of these values are multiplied in less than single precision."""
    device = values.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def lstm_weights(lstm: nn.LSTM, direction: str = "") -> list[Tensor]:
    """Weights of an LSTM's first layer as :func:`lstm_outputs` reads them. direction: "" or "_reverse"."""
    names = [f"{name}_l0{direction}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    return [getattr(lstm, name) for name in names]


def lstm_outputs(readers: list[tuple[Tensor, list[list[Tensor]]]]) -> Tensor:
    """Outputs of LSTMs at every frame of a padded batch, all LSTMs in the same steps.

    Returns (readers x LSTMs, longest, batch, hidden). readers: values, (batch, longest, dim) each of one shape, and
    the weights of the LSTMs that read them, all of one size and as many for each.
    """
    products = []
    for values, lstms in readers:
        product = functional.linear(values.transpose(0, 1), torch.cat([own[0] for own in lstms]))
        products.append(product.unflatten(2, (len(lstms), -1)).movedim(2, 0))
    weights = [own for _values, lstms in readers for own in lstms]
    biases = torch.stack([own[2] + own[3] for own in weights])
    return for_all(_outputs, torch.cat(products), biases, torch.stack([own[1] for own in weights]))


def _outputs(products: Tensor, biases: Tensor, hidden_weights: Tensor) -> Tensor:
    """Every operand has the repeats, then the LSTMs, on its first two axes, and so has the result."""
    flat = (part.flatten(0, 1) for part in (products, biases, hidden_weights))
    outputs: Tensor = LstmOutputs.apply(*flat)  # type: ignore[no-untyped-call]
    of_all: Tensor = outputs.unflatten(0, products.shape[:2])
    return of_all


class _LongestFirst(torch.autograd.Function):
    """Maxima of LSTMs over frames that are ordered by step, the longest utterance first in every step.

    Gates stand in the framework's order: input, forget, candidate, output.
    """

    @staticmethod
    def forward(
        ctx: Any,
        frames: Tensor,
        place: Tensor,
        counts: list[int],
        input_weights: Tensor,
        hidden_weights: Tensor,
        biases: Tensor,
    ) -> Tensor:
        """frames: (frames, dim). place: (frames,) number of the utterance of each. counts: how many utterances each
        step has. input_weights: (LSTMs, 4 hidden, dim); hidden_weights: (LSTMs, 4 hidden, hidden); biases: (LSTMs,
        4 hidden). Returns (LSTMs, utterances, hidden)."""
        lstms, _, hidden = hidden_weights.shape
        gates = torch.stack([torch.addmm(b, frames, w.T) for w, b in zip(input_weights, biases, strict=True)])
        outputs, cells, squashed = (frames.new_empty(lstms, len(frames), hidden) for _ in range(3))
        maxima = frames.new_full((lstms, counts[0], hidden), float("-inf"))
        transposed = hidden_weights.transpose(1, 2)
        output, cell = maxima, maxima  # of a step before the first, which reads neither
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
            highest = maxima[:, :count]
            torch.maximum(highest, output, out=highest)
        ctx.counts = counts
        ctx.save_for_backward(frames, place, input_weights, hidden_weights, gates, outputs, cells, squashed, maxima)
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """gradient: (LSTMs, utterances, hidden), of the maxima."""
        frames, place, input_weights, hidden_weights, gates, outputs, cells, squashed, maxima = ctx.saved_tensors
        hidden = hidden_weights.shape[2]
        # Frames that share a maximum share its gradient, as the framework's amax has it.
        attained = (outputs == maxima[:, place]).to(gradient.dtype)
        sharing = torch.zeros_like(maxima).index_add_(1, place, attained)
        attained *= (gradient / sharing)[:, place]
        gate_gradients = torch.empty_like(gates)
        previous = torch.zeros_like(outputs)
        output_gradients, cell_gradients = torch.zeros_like(maxima), torch.zeros_like(maxima)
        bounds = list(pairwise(accumulate(ctx.counts, initial=0)))
        for number, (start, end) in reversed(list(enumerate(bounds))):
            here, count = slice(start, end), end - start
            gate, gate_gradient = gates[:, here], gate_gradients[:, here]
            entering, kept, candidate, leaving = gate.chunk(4, dim=-1)
            of_entering, of_kept, of_candidate, of_leaving = gate_gradient.chunk(4, dim=-1)
            of_output, of_cell = output_gradients[:, :count], cell_gradients[:, :count]
            of_output += attained[:, here]
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
        of_input_weights = torch.stack([part.T @ frames for part in gate_gradients])
        of_hidden_weights = gate_gradients.transpose(1, 2) @ previous
        # Features are data and need none; a system may have learnt what it reads.
        of_frames = (gate_gradients @ input_weights).sum(dim=0) if ctx.needs_input_grad[0] else None
        return of_frames, None, None, of_input_weights, of_hidden_weights, gate_gradients.sum(dim=1)
