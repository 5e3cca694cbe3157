"""LSTMs over sequences of different lengths: their outputs, or the maximum of these over time (SPEC 3.1).

The framework's LSTM also computes padding, which dominates a batch with one long utterance, and runs one LSTM at a time
on a CPU. Here a CPU computes several LSTMs together over the valid frames (``packed_lstm.py``). A GPU computes all
frames, with every LSTM of every repeat in the same steps (``fused_lstm.py``), because looking up the valid frames would
synchronise it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmer.systems.blocks.fused_lstm import LstmOutputs, TimeMaxima, joined
from nmer.systems.blocks.packed_lstm import PackedLstms, PackedMaxima, pack
from nmer.systems.blocks.repeats import across_repeats, together
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
        (outputs,) = lstm_outputs([(sequences.values, weights)])
        maxima: Tensor = across_repeats(TimeMaxima.apply, outputs, ~sequences.valid().T[None])
        return maxima
    packing = pack(sequences.lengths, sequences.values.shape[1])
    frames = sequences.values.flatten(0, 1).index_select(0, packing.rows())
    outputs = packed_outputs(packing.counts, weights, frames)
    maxima = PackedMaxima.apply(outputs, packing.place, packing.counts)  # type: ignore[no-untyped-call]
    return maxima.index_select(1, packing.order.argsort())


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
    of_length: dict[int, list[int]] = {}
    for number, (values, _lstms) in enumerate(readers):
        of_length.setdefault(values.shape[1], []).append(number)
    # Stable sort by length, longest first, so that finished LSTMs are at the end.
    groups = [of_length[longest] for longest in sorted(of_length, reverse=True)]
    given: list[Tensor] = []
    for group in groups:
        weights = [own for number in group for own in readers[number][1]]
        given += [
            joined([_product(*readers[number]) for number in group]),
            torch.stack([own[2] + own[3] for own in weights]),
            torch.stack([own[1] for own in weights]),
        ]
    found: dict[int, Tensor] = {}
    for group, outputs in zip(groups, across_repeats(_outputs, *given), strict=True):
        parts = outputs.split([len(readers[number][1]) for number in group])
        found |= dict(zip(group, parts, strict=True))
    return [found[number] for number in range(len(readers))]


def _product(values: Tensor, lstms: list[list[Tensor]]) -> Tensor:
    """Products of the LSTMs' inputs and input weights, (LSTMs, longest, batch, 4 hidden)."""
    product = functional.linear(values.transpose(0, 1), torch.cat([own[0] for own in lstms]))
    apart: Tensor = product.unflatten(2, (len(lstms), -1))
    return apart.movedim(2, 0)


def _outputs(*given: Tensor) -> tuple[Tensor, ...]:
    """given: products, biases and hidden weights of every group in turn. Repeats and LSTMs are the first two axes of
    each, and of each result."""
    products, biases, hidden_weights = ([part.flatten(0, 1) for part in given[number::3]] for number in range(3))
    outputs: tuple[Tensor, ...] = LstmOutputs.apply(  # type: ignore[no-untyped-call]
        joined(biases), joined(hidden_weights), *products
    )
    return tuple(own.unflatten(0, group.shape[:2]) for own, group in zip(outputs, given[::3], strict=True))
