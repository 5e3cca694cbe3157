"""The fused LSTM cell and its gradients are the equations of an LSTM, on a CPU and on a GPU; so are the maxima."""

from __future__ import annotations

import pytest
import torch

from nmer.systems.blocks.fused_lstm import TimeMaxima, fused_cell, fused_cell_backward

ROWS, HIDDEN = 5, 3
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_the_fused_cell_and_its_gradients_follow_the_equations(device):
    random = torch.Generator().manual_seed(0)
    gates, hidden_gates = (
        torch.randn(ROWS, 4 * HIDDEN, generator=random, dtype=torch.float64).requires_grad_() for _ in range(2)
    )
    cell = torch.randn(ROWS, HIDDEN, generator=random, dtype=torch.float64).requires_grad_()
    entering, kept, candidate, leaving = (gates + hidden_gates).unflatten(1, (4, HIDDEN)).unbind(1)
    new_cell = kept.sigmoid() * cell + entering.sigmoid() * candidate.tanh()
    output = leaving.sigmoid() * new_cell.tanh()
    of_output, of_cell = (torch.randn(ROWS, HIDDEN, generator=random, dtype=torch.float64) for _ in range(2))
    wanted = torch.autograd.grad((output * of_output + new_cell * of_cell).sum(), (gates, cell))

    # Rows of wider ones, as a decoder has them.
    def on_device(tensor):
        wide = torch.zeros(len(tensor), tensor.shape[1] + 2, dtype=tensor.dtype, device=device)
        wide[:, : tensor.shape[1]] = tensor.detach()
        return wide[:, : tensor.shape[1]]

    found_output, found_cell, activated = fused_cell(*map(on_device, (gates, hidden_gates, cell)))
    torch.testing.assert_close(found_output.cpu(), output)
    torch.testing.assert_close(found_cell.cpu(), new_cell)
    found = fused_cell_backward(on_device(of_output), of_cell.to(device), on_device(cell), found_cell, activated)
    for gradient, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient.cpu(), reference)


def test_maxima_over_time_ignore_invalid_steps_and_share_gradients_as_amax_does():
    lengths = torch.tensor([6, 4, 3, 1])
    counts = (4, 4, 4, 2, 1, 1)
    step = torch.cat([torch.full((count,), number) for number, count in enumerate(counts)])
    place = torch.cat([torch.arange(count) for count in counts])
    drawn = torch.randint(0, 3, (2, len(step), 5), generator=torch.Generator().manual_seed(0))
    outputs = drawn.double().requires_grad_()
    expected = torch.stack(
        [outputs[:, (place == number) & (step < length)].amax(dim=1) for number, length in enumerate(lengths)], dim=1
    )
    found = TimeMaxima.apply(counts, outputs, (step >= lengths[place])[None])
    torch.testing.assert_close(found, expected)
    scale = torch.randn(found.shape, dtype=torch.float64)
    gradients = (torch.autograd.grad((maxima * scale).sum(), outputs)[0] for maxima in (found, expected))
    torch.testing.assert_close(*gradients)
