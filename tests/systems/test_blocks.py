"""The shared blocks compute SPEC 3, compared with loops over single utterances without padding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_systems import padded
from torch import nn

from nmer.systems.blocks.discrepancy import central_moment_discrepancy, mean_cmd
from nmer.systems.blocks.encoders import LstmEncoder, TextCnn, encoder_tower
from nmer.systems.blocks.layers import classifier_head, initialise, invariance_mlp


def test_an_lstm_encoding_is_the_maximum_over_the_utterances_own_frames():
    encoder = LstmEncoder(4)
    utterances = [torch.randn(frames, 4) for frames in (3, 1, 11, 7)]
    found = encoder(padded(utterances))
    for row, frames in zip(found, utterances, strict=True):
        outputs, _ = encoder.lstm(frames[None])
        torch.testing.assert_close(row, outputs[0].max(dim=0).values, rtol=0, atol=1e-6)
    assert found.shape == (4, 128)


def test_without_the_mask_padding_would_win_the_maximum_of_a_negative_utterance():
    # Guard of the test above: without the mask, frames beyond the length change the encoding.
    encoder = LstmEncoder(4)
    sequences = padded([torch.randn(2, 4), torch.randn(12, 4)])
    unmasked = encoder.lstm(sequences.values)[0].amax(dim=1)
    assert (encoder(sequences)[0] - unmasked[0]).abs().max() > 1e-3


def naive_text_cnn(encoder: TextCnn, tokens: torch.Tensor) -> torch.Tensor:
    tokens = torch.cat([tokens, torch.zeros(max(0, 5 - len(tokens)), tokens.shape[1])])
    pooled = []
    for window, convolution in zip((3, 4, 5), encoder.convolutions, strict=True):
        responses = [
            torch.einsum("ktd,td->k", convolution.weight.unflatten(1, (window, -1)), tokens[start : start + window])
            + convolution.bias
            for start in range(len(tokens) - window + 1)
        ]
        pooled.append(torch.stack(responses).max(dim=0).values.clamp(min=0))
    return (encoder.projection.weight @ torch.cat(pooled) + encoder.projection.bias).clamp(min=0)


@pytest.mark.parametrize("lengths", [(7, 5, 22), (1, 9, 4), (1, 2)], ids=str)
def test_a_text_encoding_does_not_depend_on_the_batch_down_to_one_token(lengths):
    encoder = TextCnn(6).eval()
    texts = [torch.randn(tokens, 6) for tokens in lengths]
    found = encoder(padded(texts))
    for row, tokens in zip(found, texts, strict=True):
        torch.testing.assert_close(row, naive_text_cnn(encoder, tokens), rtol=1e-5, atol=1e-5)
    assert found.shape == (len(lengths), 128)


def test_the_text_encoder_drops_half_of_its_pooled_features_in_training_only():
    encoder = TextCnn(6)
    kept = []
    encoder.projection.register_forward_hook(lambda _module, inputs, _output: kept.append(inputs[0]))
    texts = padded([torch.randn(9, 6) for _ in range(64)])
    encoder.eval()(texts)
    encoder.train()(texts)
    evaluated, trained = kept
    alive = evaluated > 0
    dropped = (trained[alive] == 0).float().mean()
    assert float(dropped) == pytest.approx(0.5, abs=2.5 / math.sqrt(int(alive.sum())))
    survivors = alive & (trained > 0)
    torch.testing.assert_close(trained[survivors], 2 * evaluated[survivors])


def test_a_tower_has_an_lstm_for_sound_and_sight_and_a_text_cnn_for_words():
    tower = encoder_tower({"a": 4, "v": 3, "l": 5})
    assert {m: type(encoder) for m, encoder in tower.items()} == {"a": LstmEncoder, "v": LstmEncoder, "l": TextCnn}
    assert (tower["a"].lstm.input_size, tower["v"].lstm.input_size) == (4, 3)


def test_the_invariance_mlp_is_two_linear_layers_each_with_a_leaky_relu():
    mlp, features = invariance_mlp(), torch.randn(5, 128)
    first, second = (part for part in mlp if isinstance(part, nn.Linear))
    expected = features
    for layer in (first, second):
        expected = expected @ layer.weight.T + layer.bias
        expected = torch.where(expected > 0, expected, 0.01 * expected)
    torch.testing.assert_close(mlp(features), expected)


def test_a_classifier_head_ends_in_a_linear_layer():
    head, features = classifier_head(10, (8, 6), 3, 0.5).eval(), torch.randn(4, 10)
    one, two, three = (part for part in head if isinstance(part, nn.Linear))
    hidden = (features @ one.weight.T + one.bias).clamp(min=0)
    hidden = (hidden @ two.weight.T + two.bias).clamp(min=0)
    torch.testing.assert_close(head(features), hidden @ three.weight.T + three.bias)
    assert [(layer.in_features, layer.out_features) for layer in (one, two, three)] == [(10, 8), (8, 6), (6, 3)]


def test_a_classifier_head_drops_out_after_each_hidden_layer_at_its_rate():
    head = classifier_head(10, (8, 6), 3, 0.3)
    kinds = [type(part) for part in head]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert {part.p for part in head if isinstance(part, nn.Dropout)} == {0.3}


@pytest.mark.parametrize(
    ("layer", "fan_in"), [(nn.Linear(600, 400), 600), (nn.Conv2d(1, 128, (4, 300)), 1200), (nn.Conv1d(50, 90, 3), 150)]
)
def test_linear_and_convolution_weights_are_kaiming_normal_with_zero_biases(layer, fan_in):
    initialise(nn.Sequential(layer))
    weights = layer.weight.detach().double().flatten()
    spread = math.sqrt(2 / fan_in)
    error = spread / math.sqrt(len(weights))
    assert float(weights.mean()) == pytest.approx(0, abs=5 * error)
    assert float(weights.std()) == pytest.approx(spread, abs=5 * error / math.sqrt(2))
    # The fourth moment distinguishes a normal from a uniform distribution.
    assert float((weights / spread).pow(4).mean()) == pytest.approx(3, abs=0.2)
    assert not layer.bias.any()


def test_recurrent_attention_and_normalisation_weights_keep_the_frameworks_default():
    parts = nn.ModuleDict({"lstm": nn.LSTM(7, 128), "norm": nn.LayerNorm(6), "attention": nn.MultiheadAttention(32, 4)})
    before = {name: value.clone() for name, value in parts.state_dict().items()}
    initialise(parts)
    after = parts.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"attention.out_proj.weight"}
    bound = 1 / math.sqrt(128)
    assert all(value.abs().max() <= bound for name, value in after.items() if name.startswith("lstm"))


def naive_cmd(first: np.ndarray, second: np.ndarray) -> float:
    total = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    for k in range(2, 6):
        moments = [((x - x.mean(axis=0)) ** k).mean(axis=0) for x in (first, second)]
        total += np.linalg.norm(moments[0] - moments[1])
    return float(total)


@pytest.mark.parametrize(("rows", "others"), [(8, 8), (1, 1), (30, 12)])
def test_the_discrepancy_is_the_distance_of_means_and_of_four_central_moments(rows, others):
    generator = np.random.default_rng(rows)
    first, second = generator.standard_normal((rows, 6)), 0.3 + 2 * generator.exponential(size=(others, 6))
    found = central_moment_discrepancy(torch.from_numpy(first), torch.from_numpy(second))
    assert float(found) == pytest.approx(naive_cmd(first, second), rel=1e-6)


def test_identical_batches_have_no_discrepancy_and_a_finite_gradient():
    features = torch.randn(16, 8, requires_grad=True)
    found = central_moment_discrepancy(features, features.detach().clone())
    assert found.item() == pytest.approx(0, abs=1e-5)
    found.backward()
    assert features.grad.isfinite().all()


def test_the_discrepancy_of_three_modalities_is_the_mean_over_the_three_pairs():
    generator = np.random.default_rng(4)
    features = {m: scale * generator.standard_normal((10, 5)) for m, scale in (("a", 1), ("v", 2), ("l", 5))}
    pairs = [naive_cmd(features[first], features[second]) for first, second in ("lv", "la", "av")]
    found = mean_cmd({m: torch.from_numpy(values) for m, values in features.items()})
    assert float(found) == pytest.approx(sum(pairs) / 3, rel=1e-6)
