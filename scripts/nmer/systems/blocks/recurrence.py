"""LSTMs over sequences of different lengths: their outputs, or the maximum of these over time (SPEC 3.1).

The framework's LSTM also computes padding, which dominates a batch with one long utterance, and runs one LSTM at a time
on a CPU. Here a CPU computes several LSTMs together over the valid frames (``packed_lstm.py``). A GPU computes as many
frames as known bounds state, because looking up the valid ones would synchronise it: all steps of every LSTM of every
repeat in one kernel (``lstm_kernels.py``), or every LSTM in the same steps (``fused_lstm.py``).
"""

from __future__ import annotations

from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.systems.blocks import lstm_kernels, maxima_kernels
from nmer.systems.blocks.branches import compute_branches, hold
from nmer.systems.blocks.fused_lstm import LstmOutputs, TimeMaxima, joined, number_of_steps
from nmer.systems.blocks.packed_lstm import PackedLstms, PackedMaxima, pack
from nmer.systems.blocks.reindexing import reindexed
from nmer.systems.blocks.repeats import across_repeats, together
from nmer.systems.blocks.step_counts import Counts, first_rows, require, step_counts
from nmer.systems.interface import Sequences


def lstm_maxima(lstms: list[nn.LSTM], sequences: Sequences) -> Tensor:
    """Return the maximum of the outputs of every LSTM over each utterance's valid frames: (LSTMs, batch, hidden).

    lstms: one layer, one direction, batch first, all of one size. Computed in single precision, also under autocast,
    because rounding errors accumulate over steps.
    """
    if under_autocast(sequences.values):
        with torch.autocast(sequences.values.device.type, enabled=False):
            return lstm_maxima(lstms, Sequences(sequences.values.float(), sequences.lengths))
    weights = [lstm_weights(lstm) for lstm in lstms]
    if pads(sequences.values):
        return _maxima_of_steps(weights, sequences)
    packing = pack(sequences.lengths, sequences.values.shape[1])
    frames = sequences.values.flatten(0, 1).index_select(0, packing.rows())
    outputs = packed_outputs(packing.counts, weights, frames)
    maxima: Tensor = PackedMaxima.apply(outputs, packing.place, packing.counts)  # type: ignore[no-untyped-call]
    return maxima.index_select(1, packing.order.argsort())


def _maxima_of_steps(weights: list[list[Tensor]], sequences: Sequences) -> Tensor:
    """Return :func:`lstm_maxima` of a padded batch, computing at each step as many of the longest utterances as
    :func:`step_counts` requires."""
    values, lengths = sequences
    counts = step_counts(*values.shape[:2])
    everything = len(set(counts)) == 1
    if everything:
        frames, beyond = values.transpose(0, 1).flatten(0, 1), ~sequences.valid().T.flatten()
    else:
        order, frames, beyond = across_repeats(lambda *given: longest_first(counts, *given), values, lengths)
    (outputs,) = across_repeats(lambda *given: _outputs(counts, *given), *_given([frames], [weights]))
    maxima: Tensor = time_maxima(counts, outputs, beyond[None])
    if everything:
        return maxima
    in_order = reindexed(maxima.transpose(0, 1).flatten(1), order.argsort(), order)
    of_each: Tensor = in_order.unflatten(1, (len(weights), -1))
    return of_each.transpose(0, 1)


def time_maxima(counts: Counts, outputs: Tensor, beyond: Tensor) -> Tensor:
    """Return the maximum over time for every utterance, (..., utterances, width). Arguments: as in
    :class:`TimeMaxima`."""

    def of_all(*given: Tensor) -> Tensor:
        form = maxima_kernels.KernelMaxima if maxima_kernels.fuses(given[0]) else TimeMaxima
        found: Tensor = form.apply(counts, *given)  # type: ignore[no-untyped-call]
        return found

    maxima: Tensor = across_repeats(of_all, outputs, beyond)
    return maxima


def longest_first(counts: Counts, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the order of utterances by length, (repeats, batch), their frames step by step, (repeats, rows, dim), and
    which of these are beyond the length, (repeats, rows).

    values: (repeats, batch, longest, dim). lengths: (repeats, batch).
    """
    repeats, batch, longest = values.shape[:3]
    device = lengths.device
    sorted_lengths, order = lengths.sort(dim=1, descending=True, stable=True)
    step, place = steps_and_places(counts, device)
    beyond = step >= sorted_lengths[:, place]
    # Sequences of other lengths than those of the stated batch would lose frames.
    require((beyond.logical_not().sum(dim=1) == lengths.sum(dim=1)).all())
    utterance = torch.arange(0, repeats * batch, batch, device=device)[:, None] + order[:, place]
    frames = values.flatten(0, 2).index_select(0, (utterance * longest + step).flatten())
    return order, frames.unflatten(0, utterance.shape), beyond


def steps_and_places(counts: Counts, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the step of each row, and the place of its utterance among those ordered by length: (rows,) both."""
    steps, places, first = [], [], 0
    for count, group in groupby(counts):
        number = len(list(group))
        steps.append(torch.arange(first, first + number, device=device)[:, None].expand(number, count).flatten())
        places.append(torch.arange(count, device=device).repeat(number))
        first += number
    return torch.cat(steps), torch.cat(places)


def lstm_frames(lstm: nn.LSTM, sequences: Sequences) -> Tensor:
    """Return the outputs of an LSTM at every frame, zero beyond each length: (batch, longest, hidden). lstm and
    precision: as in :func:`lstm_maxima`."""
    values, lengths = sequences
    if under_autocast(values):
        with torch.autocast(values.device.type, enabled=False):
            return lstm_frames(lstm, Sequences(values.float(), lengths))
    weights = [lstm_weights(lstm)]
    if pads(values):
        (outputs,) = lstm_outputs([(values, weights)])
        return outputs[0].transpose(0, 1).masked_fill(~sequences.valid()[:, :, None], 0.0)
    packing = pack(lengths, values.shape[1])
    rows = packing.rows()
    outputs = packed_outputs(packing.counts, weights, values.flatten(0, 1).index_select(0, rows))[0]
    frames = outputs.new_zeros(len(values) * values.shape[1], outputs.shape[1]).index_copy(0, rows, outputs)
    return frames.view(len(values), -1, outputs.shape[1])


def pads(values: Tensor) -> bool:
    """Whether encoders compute all frames of a padded batch, as on a GPU, instead of the valid frames only."""
    return values.device.type != "cpu" or together()


def under_autocast(values: Tensor) -> bool:
    """Whether products of these values are computed in less than single precision."""
    device = values.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def lstm_weights(lstm: nn.LSTM, direction: str = "") -> list[Tensor]:
    """Return the weights of an LSTM's first layer in the order of :func:`lstm_outputs`. direction: "" or "_reverse"."""
    names = [f"{name}_l0{direction}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    return [getattr(lstm, name) for name in names]


def packed_outputs(counts: list[int], weights: list[list[Tensor]], *frames: Tensor) -> Tensor:
    """Return the outputs of LSTMs at every valid frame, (LSTMs, frames, hidden). counts, frames: as in
    :class:`PackedLstms`. weights: of the LSTMs, all of one size."""
    input_weights, hidden_weights = (torch.stack([own[number] for own in weights]) for number in (0, 1))
    # Summed before they are stacked: views of one gradient would be clipped once for each bias.
    biases = torch.stack([own[2] + own[3] for own in weights])
    outputs: Tensor = PackedLstms.apply(  # type: ignore[no-untyped-call]
        counts, input_weights, hidden_weights, biases, *frames
    )
    return outputs


def lstm_outputs(readers: list[tuple[Tensor, list[list[Tensor]]]]) -> list[Tensor]:
    """Compute the outputs of LSTMs at every frame of padded batches, all LSTMs in the same steps.

    Returns for each reader (LSTMs, longest, batch, hidden). readers: pairs of values, (batch, longest, dim), which may
    differ in longest and dim, and the weights of the LSTMs that read them, all of one size.
    """
    batch, longest = len(readers[0][0]), max(values.shape[1] for values, _lstms in readers)
    rows = [(values.transpose(0, 1).flatten(0, 1), lstms) for values, lstms in readers]
    return [outputs.unflatten(1, (-1, batch)) for outputs in lstm_rows((batch,) * longest, rows)]


def lstm_rows(counts: Counts, readers: list[tuple[Tensor, list[list[Tensor]]]]) -> list[Tensor]:
    """Compute the outputs of LSTMs at every row, all LSTMs in the same steps or at the same time.

    Returns for each reader (LSTMs, rows, hidden). counts: utterances of each step of the longest. readers: as in
    :func:`lstm_outputs`, with frames instead of values, (rows, dim): utterances step by step.
    """
    # Stable sort by length, longest first, so that finished LSTMs are at the end.
    order = sorted(range(len(readers)), key=lambda number: -len(readers[number][0]))
    if lstm_kernels.fuses(readers[0][1][0][1]):
        # Without a copy that joins the products of several readers.
        groups = [[number] for number in order]
    else:
        groups = [list(group) for _, group in groupby(order, lambda number: len(readers[number][0]))]
    given: list[Tensor] = []
    for group in groups:
        given += _given([readers[number][0] for number in group], [readers[number][1] for number in group])
    found: dict[int, Tensor] = {}
    grouped = across_repeats(lambda *parts: _outputs(counts, *parts), *given)
    for group, outputs in zip(groups, grouped, strict=True):
        parts = outputs.split([len(readers[number][1]) for number in group])
        found |= dict(zip(group, parts, strict=True))
    return [found[number] for number in range(len(readers))]


def _given(frames: list[Tensor], lstms: list[list[list[Tensor]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the operands of :func:`_outputs` for one repeat. frames: (rows, dim) of equally many rows. lstms: the
    weights of the LSTMs that read each."""
    weights = [own for reading in lstms for own in reading]
    return (
        joined([_product(own, reading) for own, reading in zip(frames, lstms, strict=True)]),
        torch.stack([own[2] + own[3] for own in weights]),
        torch.stack([own[1] for own in weights]),
    )


def _product(frames: Tensor, lstms: list[list[Tensor]]) -> Tensor:
    """Products of the LSTMs' inputs and input weights, (LSTMs, rows, 4 hidden)."""
    product = functional.linear(frames, torch.cat([own[0] for own in lstms]))
    apart: Tensor = product.unflatten(1, (len(lstms), -1))
    return apart.movedim(1, 0)


def _outputs(counts: Counts, *given: Tensor) -> tuple[Tensor, ...]:
    """given: products, biases and hidden weights of every group in turn. Repeats and LSTMs are the first two axes of
    each, and of each result. counts: utterances of each step."""
    products, biases, hidden_weights = (given[number::3] for number in range(3))
    if lstm_kernels.fuses(hidden_weights[0]):
        firsts = first_rows(counts, products[0].device)

        def of_group(*group: Tensor) -> Tensor:
            steps = number_of_steps(counts, group[-1].shape[2])
            found: Tensor = lstm_kernels.KernelOutputs.apply(  # type: ignore[no-untyped-call]
                counts[:steps], firsts[:steps], *group
            )
            return found

        # Read again in the backward pass of each branch.
        hold(firsts, *hidden_weights)
        groups = enumerate(zip(biases, hidden_weights, products, strict=True))
        return tuple(compute_branches({number: partial(of_group, *group) for number, group in groups}).values())
    flat_products, flat_biases, flat_weights = (
        [part.flatten(0, 1) for part in kind] for kind in (products, biases, hidden_weights)
    )
    outputs: tuple[Tensor, ...] = LstmOutputs.apply(  # type: ignore[no-untyped-call]
        counts, joined(flat_biases), joined(flat_weights), *flat_products
    )
    return tuple(own.unflatten(0, group.shape[:2]) for own, group in zip(outputs, products, strict=True))
