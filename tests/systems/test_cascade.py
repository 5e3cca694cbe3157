"""Both cascade auto-encoders follow their recurrences of SPEC 4.2 and 4.3, compared with loops over single rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_systems import layer_sizes
from torch import Tensor, nn

from nmer.systems.blocks.cascade import CascadeAutoencoder, GuidedCascadeAutoencoder

ROWS = 4


def mapped(network: nn.Sequential, values: np.ndarray, slope: float) -> np.ndarray:
    """Apply linear layers, each but the last followed by a leaky ReLU with this slope."""
    layers = [part for part in network if isinstance(part, nn.Linear)]
    for number, layer in enumerate(layers):
        values = layer.weight.detach().double().numpy() @ values + layer.bias.detach().double().numpy()
        if number < len(layers) - 1:
            values = np.where(values > 0, values, slope * values)
    return values


def naive_cascade(network: CascadeAutoencoder, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u_0 = x, r_0 = 0; u_k = u_{k-1} + r_{k-1}; c_k = enc_k(u_k); r_k = dec_k(c_k); Trans(u_5 + r_5)."""
    u, r, codes = {0: row}, {0: 0.0}, []
    for k in range(1, 6):
        u[k] = u[k - 1] + r[k - 1]
        codes.append(mapped(network.encoders[k - 1], u[k], 0.01))
        r[k] = mapped(network.decoders[k - 1], codes[-1], 0.0)
    return mapped(network.transition, u[5] + r[5], 0.0), np.concatenate(codes)


def naive_guided_cascade(
    network: GuidedCascadeAutoencoder, row: np.ndarray, invariant: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """r_0 = x; c_k = enc_k(r_{k-1} + H); r_k = dec_k(c_k); Trans(r_5)."""
    r, codes = {0: row}, []
    for k in range(1, 6):
        codes.append(mapped(network.encoders[k - 1], r[k - 1] + invariant, 0.01))
        r[k] = mapped(network.decoders[k - 1], codes[-1], 0.0)
    return mapped(network.transition, r[5], 0.0), np.concatenate(codes)


def loud(network: CascadeAutoencoder) -> CascadeAutoencoder:
    """Enlarge the weights of a network, so that every block contributes visibly."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    return network


def compare(found: tuple[Tensor, Tensor], expected: list[tuple[np.ndarray, np.ndarray]]) -> None:
    assert [tuple(part.shape) for part in found] == [(ROWS, 384), (ROWS, 320)]
    for part, rows in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(part.detach().numpy(), np.stack(rows), rtol=1e-4, atol=1e-4 * np.abs(rows).max())


def test_every_block_of_mmins_cascade_reads_the_input_and_the_outputs_of_all_blocks_before_it():
    network, features = loud(CascadeAutoencoder(384)), torch.randn(ROWS, 384)
    compare(network(features), [naive_cascade(network, row) for row in features.double().numpy()])


def test_every_block_of_the_guided_cascade_reads_the_output_of_the_block_before_it_and_the_invariant_features():
    network, features, invariant = loud(GuidedCascadeAutoencoder(384)), torch.randn(ROWS, 384), torch.randn(ROWS, 384)
    rows = zip(features.double().numpy(), invariant.double().numpy(), strict=True)
    compare(network(features, invariant), [naive_guided_cascade(network, *pair) for pair in rows])


def test_the_two_recurrences_differ():
    # Guard of the tests above: without invariant features only the first code would agree.
    network, guided = loud(CascadeAutoencoder(384)), GuidedCascadeAutoencoder(384)
    guided.load_state_dict(network.state_dict())
    features = torch.randn(ROWS, 384)
    (output, codes), (guided_output, guided_codes) = network(features), guided(features, torch.zeros(ROWS, 384))
    assert torch.equal(codes[:, :64], guided_codes[:, :64])
    for block in range(1, 5):
        columns = slice(64 * block, 64 * (block + 1))
        assert (codes[:, columns] - guided_codes[:, columns]).abs().max() > 1e-2 * codes.abs().max(), block
    assert (output - guided_output).abs().max() > 1e-2 * output.abs().max()


@pytest.mark.parametrize("kind", [CascadeAutoencoder, GuidedCascadeAutoencoder])
def test_a_cascade_has_five_blocks_with_separate_weights_and_neither_dropout_nor_normalisation(kind):
    network = kind(384)
    assert [layer_sizes(part) for part in network.encoders] == [[(384, 256), (256, 128), (128, 64)]] * 5
    assert [layer_sizes(part) for part in network.decoders] == [[(64, 128), (128, 256), (256, 384)]] * 5
    assert layer_sizes(network.transition) == [(384, 384), (384, 384)]
    assert len({id(parameter) for parameter in network.parameters()}) == 2 * (5 * 6 + 2)
    leaves = {type(part) for part in network.modules() if not list(part.children())}
    assert leaves == {nn.Linear, nn.LeakyReLU, nn.ReLU}
