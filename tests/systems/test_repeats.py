"""Repeats computed jointly equal repeats computed individually: draws, LSTMs, convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

from nmer.systems.blocks.convolution import window_maxima
from nmer.systems.blocks.decoders import AttentionDecoder, OutputLayer, decode
from nmer.systems.blocks.recurrence import lstm_maxima, lstm_outputs, lstm_weights
from nmer.systems.blocks.repeats import across_repeats, compute_stacked, drawn_alike, together
from nmer.systems.blocks.translation import (
    SequenceEncoder,
    Summary,
    encode,
    summarise,
)
from nmer.systems.interface import Sequences

pytestmark = pytest.mark.usefixtures("double")

REPEATS = 3
LENGTHS = torch.tensor([[5, 1, 7, 3], [2, 2, 6, 7], [7, 4, 1, 1]])


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(10 + number) for number in range(REPEATS)]


def sequences(dim: int) -> Sequences:
    """Draw (repeats, 4, 7, dim), zero beyond each length."""
    values = torch.randn(REPEATS, 4, 7, dim, generator=torch.Generator().manual_seed(0))
    return Sequences(values * (torch.arange(7) < LENGTHS[..., None])[..., None], LENGTHS)


def alone(sequences: Sequences, number: int) -> Sequences:
    return Sequences(*(part[number] for part in sequences))


def check(modules: list[nn.Module], inputs: Sequences, expected) -> None:
    """Check that modules computed jointly equal ``expected`` of each, with the same gradients."""
    parameters, _buffers = stack_module_state(modules)

    def of_one(own, part):
        return functional_call(modules[0], own, (part,))

    found = compute_stacked(of_one, generators(), parameters, inputs)
    found = found.values if isinstance(found, Sequences) else found
    scale = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (found * scale).sum().backward()
    for number, module in enumerate(modules):
        wanted = expected(module, alone(inputs, number))
        torch.testing.assert_close(found[number], wanted)
        (wanted * scale[number]).sum().backward()
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(parameters[name].grad[number], parameter.grad)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_every_repeat_has_the_dropout_masks_that_it_has_individually(probability):
    values = torch.randn(REPEATS, 4, 6)
    found = compute_stacked(lambda part: functional.dropout(part, probability), generators(), values)
    for number in range(REPEATS):
        torch.manual_seed(10 + number)
        torch.testing.assert_close(found[number], functional.dropout(values[number], probability))


def test_evaluation_drops_and_draws_nothing():
    own = generators()
    values = torch.ones(REPEATS, 4)
    assert torch.equal(compute_stacked(lambda part: functional.dropout(part, 0.5, False), own, values), values)
    assert all(torch.equal(one.get_state(), new.get_state()) for one, new in zip(own, generators(), strict=True))


def test_every_repeat_draws_the_normal_numbers_that_it_draws_individually():
    def drawn(part):
        drawn = torch.randn_like(part) + torch.randn_like(input=part, dtype=torch.float32)
        return drawn + functional.dropout(input=torch.randn_like(part), p=0.5)

    found = compute_stacked(drawn, generators(), torch.zeros(REPEATS, 4, 5))
    for number in range(REPEATS):
        torch.manual_seed(10 + number)
        torch.testing.assert_close(found[number], drawn(torch.zeros(4, 5)))


def test_a_single_repeat_on_a_gpu_draws_as_it_does_among_others(monkeypatch):
    values = torch.randn(4, 6)
    found = []
    # Without the mode a CPU draws the same.
    for device in ("cuda", "cpu"):
        torch.manual_seed(1)
        with drawn_alike(torch.device(device)):
            found.append(functional.dropout(values, 0.3) + torch.randn_like(values))
    assert torch.equal(*found)
    draws = []
    monkeypatch.setattr(
        torch.Tensor, "bernoulli_", lambda empty, *_arguments, **named: draws.append(named) or empty.fill_(1)
    )
    with drawn_alike(torch.device("cuda")):
        functional.dropout(values, 0.3)
    assert draws == [{"generator": None}]


def test_repeats_draw_separately_for_a_shared_tensor():
    found = compute_stacked(lambda part: part + torch.randn_like(torch.zeros(5)), generators(), torch.zeros(REPEATS, 5))
    assert len({tuple(row.tolist()) for row in found}) == REPEATS


def test_a_function_across_repeats_has_them_on_the_first_axis_and_runs_outside_vmap():
    shapes = []

    def scaled(values, factor):
        shapes.append((tuple(values.shape), tuple(factor.shape), together()))
        return values * factor[:, None]

    values, factors = torch.randn(REPEATS, 4), torch.tensor([1.0, 2.0, 3.0])
    factors.requires_grad_()
    found = compute_stacked(lambda part, factor: across_repeats(scaled, part, factor), generators(), values, factors)
    torch.testing.assert_close(found, values * factors[:, None])
    found.sum().backward()
    torch.testing.assert_close(factors.grad, values.sum(dim=1))
    torch.testing.assert_close(across_repeats(scaled, values[0], factors[1]), values[0] * 2.0)
    assert shapes == [((REPEATS, 4), (REPEATS,), False), ((1, 4), (1,), False)]
    assert not together()


def test_the_mode_ends_after_an_error():
    def failing(_part):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        compute_stacked(failing, generators(), torch.zeros(REPEATS))
    assert not together()


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_of_several_repeats_equal_those_of_each(bias):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(3, 3, bias=bias) for _ in range(2))
            self.scores = nn.Parameter(torch.randn(3))

        def forward(self, inputs):
            rows = self.layers[1](self.layers[0](inputs.values))
            return torch.cat(
                [rows[:, 0], self.layers[0](rows[0, 1])[None], functional.linear(rows, self.scores)[:, :3]]
            )

    check([Two() for _ in range(REPEATS)], sequences(3), lambda module, inputs: module(inputs))


def test_linear_layers_under_autocast_multiply_in_its_precision():
    torch.set_default_dtype(torch.float32)
    layers = [nn.Linear(3, 2) for _ in range(REPEATS)]
    parameters, _buffers = stack_module_state(layers)
    values = torch.randn(REPEATS, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = compute_stacked(
            lambda own, part: functional_call(layers[0], own, (part,)), generators(), parameters, values
        )
        assert found.dtype == torch.bfloat16
        for number, layer in enumerate(layers):
            torch.testing.assert_close(found[number], layer(values[number]))
    found.float().sum().backward()
    assert parameters["weight"].grad.dtype == torch.float32


def test_lstms_computed_in_the_same_steps_are_the_frameworks_lstms():
    lstms = [[nn.LSTM(3, 4, batch_first=True) for _ in range(2)] for _ in range(5)]
    values = [torch.randn(6, 7, 3, requires_grad=True) for _ in lstms]
    readers = [(read, [lstm_weights(lstm) for lstm in own]) for read, own in zip(values, lstms, strict=True)]
    found = torch.cat(lstm_outputs(readers))
    expected = torch.stack(
        [lstm(read)[0].transpose(0, 1) for read, own in zip(values, lstms, strict=True) for lstm in own]
    )
    torch.testing.assert_close(found, expected)
    scale = torch.randn(found.shape)
    leaves = [*values, *(parameter for own in lstms for lstm in own for parameter in lstm.parameters())]
    gradients = (torch.autograd.grad((outputs * scale).sum(), leaves) for outputs in (found, expected))
    for gradient, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, reference)


def test_lstms_with_fewer_steps_drop_out():
    lengths, dims = (3, 7, 1, 7, 4), (3, 2, 5, 3, 3)
    lstms = [[nn.LSTM(dim, 4, batch_first=True) for _ in range(2)] for dim in dims]
    values = [torch.randn(6, longest, dim, requires_grad=True) for longest, dim in zip(lengths, dims, strict=True)]
    readers = [(read, [lstm_weights(lstm) for lstm in own]) for read, own in zip(values, lstms, strict=True)]
    found = torch.cat([outputs.flatten() for outputs in lstm_outputs(readers)])
    expected = torch.cat(
        [
            torch.stack([lstm(read)[0].transpose(0, 1) for lstm in own]).flatten()
            for read, own in zip(values, lstms, strict=True)
        ]
    )
    torch.testing.assert_close(found, expected)
    scale = torch.randn(found.shape)
    leaves = [*values, *(parameter for own in lstms for lstm in own for parameter in lstm.parameters())]
    gradients = (torch.autograd.grad((outputs * scale).sum(), leaves) for outputs in (found, expected))
    for gradient, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, reference)


def test_joint_sequences_of_several_lengths_and_their_summaries_equal_those_of_each_utterance():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoders = nn.ModuleList(SequenceEncoder() for _ in range(2))
            self.summaries = nn.ModuleList(Summary() for _ in range(2))

        def parts(self, inputs):
            return inputs, Sequences(inputs.values[..., :3, :], inputs.lengths.clamp(max=3))

        def forward(self, inputs):
            joints = encode(list(self.encoders), self.parts(inputs))
            return torch.stack(summarise(list(self.summaries), joints))

    def naive(module, inputs):
        found = []
        for encoder, summary, part in zip(module.encoders, module.summaries, module.parts(inputs), strict=True):
            rows = []
            for values, length in zip(*part, strict=True):
                forwards, backwards = encoder.lstm(values[None, :length])[0][0].chunk(2, dim=1)
                outputs = summary.lstm((forwards + backwards)[None])[0][0]
                rows.append(summary.score(outputs).tanh().softmax(dim=0).T[0] @ outputs)
            found.append(torch.stack(rows))
        return torch.stack(found)

    check([Two() for _ in range(REPEATS)], sequences(128), naive)


def test_maxima_of_lstms_equal_those_of_each_utterance():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstms = nn.ModuleList(nn.LSTM(3, 4, batch_first=True) for _ in range(2))

        def forward(self, inputs):
            return lstm_maxima(list(self.lstms), inputs)

    def naive(module, inputs):
        rows = [
            [lstm(values[None, :length])[0][0].amax(dim=0) for values, length in zip(*inputs, strict=True)]
            for lstm in module.lstms
        ]
        return torch.stack([torch.stack(row) for row in rows])

    check([Two() for _ in range(REPEATS)], sequences(3), naive)


def test_maxima_over_windows_equal_those_of_each_text():
    class Filters(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights, self.biases = nn.Parameter(torch.randn(5, 3, 2)), nn.Parameter(torch.randn(5))

        def forward(self, inputs):
            lengths = inputs.lengths.clamp(min=3)
            return window_maxima(inputs.values.transpose(0, 1), self.weights, self.biases, lengths)

    def naive(module, inputs):
        def responses(values, length):
            windows = [values[start : start + 3] for start in range(max(int(length), 3) - 2)]
            return torch.stack([(module.weights * window).sum(dim=(1, 2)) + module.biases for window in windows])

        return torch.stack([responses(values, length).amax(dim=0) for values, length in zip(*inputs, strict=True)])

    check([Filters() for _ in range(REPEATS)], sequences(2), naive)


def test_both_directions_of_a_joint_sequence_equal_those_of_each_utterance():
    def naive(module, inputs):
        rows = []
        for values, length in zip(*inputs, strict=True):
            forwards, backwards = module.lstm(values[None, :length])[0][0].chunk(2, dim=1)
            rows.append(functional.pad(forwards + backwards, (0, 0, 0, 7 - int(length))))
        return torch.stack(rows)

    check([SequenceEncoder() for _ in range(REPEATS)], sequences(128), naive)


def test_summaries_equal_those_of_each_utterance():
    def naive(module, inputs):
        rows = []
        for values, length in zip(*inputs, strict=True):
            outputs = module.lstm(values[None, :length])[0][0]
            rows.append(module.score(outputs).tanh().softmax(dim=0).T[0] @ outputs)
        return torch.stack(rows)

    check([Summary() for _ in range(REPEATS)], sequences(128), naive)


class Decoders(nn.Module):
    """Two decoders of one batch, whose joint sequences have one length or two."""

    def __init__(self, lengths):
        super().__init__()
        self.decoders = nn.ModuleList(AttentionDecoder() for _ in range(2))
        self.outputs = nn.ModuleList(OutputLayer(dim) for dim in (3, 2))
        self.lengths = lengths
        # Reveals the gradient of the attended sequence.
        self.scale = nn.Parameter(torch.randn(128))

    def joints(self, inputs):
        values, lengths = inputs.values * self.scale, inputs.lengths
        return [Sequences(values[..., :longest, :], lengths.clamp(max=longest)) for longest in self.lengths]

    def forward(self, inputs):
        return torch.cat(decode(list(self.decoders), list(self.outputs), self.joints(inputs), 4), dim=2)


def decoded_plainly(decoder, output, frames):
    """Decode (frames, 128) to (4, dim) according to SPEC 4.6, with the framework's cell and its gradients."""
    hidden = decoder.start(frames.mean(dim=0)).tanh()
    cell, feedback, steps = torch.zeros_like(hidden), torch.zeros_like(hidden), []
    for _step in range(4):
        queries = torch.cat([hidden.expand(len(frames), -1), frames], dim=1)
        context = decoder.score(decoder.attention(queries).tanh()).softmax(dim=0).T[0] @ frames
        inputs = torch.cat([feedback, context])[None]
        hidden, cell = (part[0] for part in decoder.cell(inputs, (hidden[None], cell[None])))
        steps.append(output.head(torch.cat([hidden, context])))
        feedback = output.feedback(steps[-1])
    return torch.stack(steps)


@pytest.mark.parametrize("lengths", [(7, 7), (7, 5)], ids=["of one length", "of two lengths"])
def test_joint_decoders_equal_those_of_each_utterance(lengths):
    def naive(module, inputs):
        columns = []
        for decoder, output, joint in zip(module.decoders, module.outputs, module.joints(inputs), strict=True):
            rows = [decoded_plainly(decoder, output, values[:length]) for values, length in zip(*joint, strict=True)]
            columns.append(torch.stack(rows))
        return torch.cat(columns, dim=2)

    modules = [Decoders(lengths) for _ in range(REPEATS)]
    with torch.no_grad():
        for module in modules:
            for decoder in module.decoders:
                # Attention far from uniform reveals a wrong gradient of a score.
                decoder.score.weight.mul_(10)
    check(modules, sequences(128), naive)
