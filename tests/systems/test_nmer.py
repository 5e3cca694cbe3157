"""NMER computes SPEC 4.4: one token per utterance, a sampled latent in training, four weighted terms."""

from __future__ import annotations

import math

import pytest
import torch
from small_systems import (
    CLASSES,
    DIMS,
    INVARIANT,
    SPECIFIC,
    batch_of,
    cross_entropy,
    in_order,
    padded,
    random_utterances,
    small_system,
    squared_error,
)
from torch import nn

from nmer.errors import ConfigError
from nmer.options import Bounds
from nmer.systems.building import build_system
from nmer.systems.nmer import OneTokenLayer, VaeEncoder, kl_divergence
from nmer.systems.registry import pretraining, systems

WIDTH, HEADS, FEED_FORWARD = 768, 16, 96


def framework_layer(own: OneTokenLayer, dropout: float) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FEED_FORWARD, dropout, batch_first=True)
    layer.load_state_dict(own.state_dict())
    return layer


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training without dropout"])
def test_a_one_token_layer_is_the_frameworks_layer_on_sequences_of_one(training):
    dropout = 0.0 if training else 0.1
    own = OneTokenLayer(WIDTH, HEADS, FEED_FORWARD, dropout).train(training)
    reference = framework_layer(own, dropout).train(training)
    features = torch.randn(5, WIDTH)
    inputs = [features.clone().requires_grad_() for _ in range(2)]
    weight = torch.randn(5, WIDTH)
    outputs = own(inputs[0]), reference(inputs[1][:, None])[:, 0]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-3, atol=1e-4)
    theirs = dict(reference.named_parameters())
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-4, msg=name)


def test_one_token_attention_drops_whole_heads_at_its_rate():
    # Make everything but the dropout of attention weights the identity, so that the output shows the heads.
    layer = OneTokenLayer(8, 4, 8, 0.25).train()
    layer.dropout1.p = layer.dropout2.p = layer.dropout.p = 0.0
    with torch.no_grad():
        for parameter in (layer.self_attn.in_proj_weight, layer.linear2.weight, layer.linear2.bias):
            parameter.zero_()
        layer.self_attn.in_proj_bias.fill_(1.0)
        layer.self_attn.out_proj.weight.copy_(torch.eye(8))
        layer.self_attn.out_proj.bias.zero_()
    layer.norm1 = layer.norm2 = nn.Identity()
    heads = layer(torch.zeros(4000, 8)).unflatten(1, (4, 2))
    assert torch.equal(heads[:, :, 0], heads[:, :, 1])
    torch.testing.assert_close(heads.unique(), torch.tensor([0, 1 / 0.75]))
    assert float((heads == 0).float().mean()) == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / 16000))


def test_the_defaults_are_the_papers():
    declared = systems.declaration("nmer")
    weights = ("divergence_weight", "generation_weight", "invariance_weight", "classification_weight")
    assert declared.attributes == {
        "pretraining": {"invariance": {"two_tower": "two_tower", "stacked": "shared"}},
        "regimes": ("incomplete", "all_noisy"),
        "fewest_modalities": 2,
        "divisors_per_modality": {"heads": 256},
    }
    assert {name: option.choices for name, option in declared.declared.items() if option.choices} == {
        "invariance": ("two_tower", "stacked"),
        "invariant_features": ("raw", "sigmoid", "tanh"),
        "heads": tuple(heads for heads in range(1, 129) if WIDTH % heads == 0),
        "divergence_reduction": ("mean", "batch_mean", "sum"),
    }
    assert {name: option.bounds for name, option in declared.declared.items() if option.bounds != Bounds()} == {
        **dict.fromkeys(("layers", "feed_forward", "latent"), Bounds(1)),
        **dict.fromkeys(weights, Bounds(0.0)),
        "transformer_dropout": Bounds(0.0, 0.99),
    }
    assert declared.options == {
        "invariance": "two_tower",
        "invariant_features": "raw",
        "layers": 5,
        "heads": 16,
        "feed_forward": 2048,
        "transformer_dropout": 0.1,
        "latent": 64,
        "residual": False,
        "divergence_reduction": "mean",
        "divergence_weight": 1.0,
        "generation_weight": 1.0,
        "invariance_weight": 10.0,
        "classification_weight": 1.0,
    }


def test_nmer_starts_from_the_pretraining_of_its_form_of_invariance():
    declared = systems.declaration("nmer")
    assert pretraining(declared) == "two_tower"
    assert pretraining(declared, {"layers": 2}) == "two_tower"
    assert pretraining(declared, {"invariance": "two_tower"}) == "two_tower"
    assert pretraining(declared, {"invariance": "stacked"}) == "shared"


def test_the_log_variance_is_clamped_to_ten():
    encoder = VaeEncoder(768, 1, 2, 8, 0.0, 4).eval()
    with torch.no_grad():
        encoder.logvar.bias.copy_(torch.tensor([1000.0, -1000.0, 0.0, 0.0]))
        encoder.logvar.weight.zero_()
    _mean, logvar = encoder(torch.randn(3, WIDTH))
    assert logvar.tolist() == [[10, -10, 0, 0]] * 3


@pytest.mark.parametrize("modality", DIMS)
def test_an_encoding_is_the_specific_feature_and_the_invariant_feature_of_the_second_tower(modality):
    system = small_system("nmer").eval()
    sequences = padded(random_utterances()[modality])
    specific = system.towers.specific[modality](sequences)
    invariant = system.towers.invariance_mlp(system.towers.invariance[modality](sequences))
    torch.testing.assert_close(system.encode(modality, sequences), torch.cat([specific, invariant], dim=1))


@pytest.mark.parametrize("modality", DIMS)
def test_stacked_invariant_features_are_computed_from_the_specific_features(modality):
    system = small_system("nmer stacked").eval()
    sequences = padded(random_utterances()[modality])
    specific = system.towers.specific[modality](sequences)
    expected = torch.cat([specific, system.towers.invariance_mlp(specific)], dim=1)
    torch.testing.assert_close(system.encode(modality, sequences), expected)
    assert {path.split(".")[1] for path in system.state_dict() if path.startswith("towers.")} == {
        "specific",
        "invariance_mlp",
    }


def test_the_residual_adds_specific_features_only_before_classification():
    plain, residual = small_system("nmer").eval(), small_system("nmer", residual=True).eval()
    residual.load_state_dict(plain.state_dict())
    batch = batch_of(random_utterances())
    before, after = plain(batch), residual(batch)
    specific = in_order({m: plain.encode(m, batch.observed[m]) for m in DIMS}, SPECIFIC)
    torch.testing.assert_close(after["logits"], plain.classifier(before["joint_representation"] + specific))
    assert not torch.allclose(after["logits"], before["logits"], atol=1e-3)
    assert set(after) == set(before)
    assert all(torch.equal(after[name], value) for name, value in before.items() if name != "logits")
    losses = plain.loss(before, batch), residual.loss(after, batch)
    for name in ("divergence", "reconstruction", "invariance"):
        assert torch.equal(losses[0][name], losses[1][name]), name


def test_evaluation_decodes_the_mean_of_the_latent_with_features_in_the_order_a_l_v():
    system = small_system("nmer").eval()
    encodings = {m: torch.randn(4, 256) for m in DIMS}
    specific = torch.cat([encodings[m][:, :128] for m in "alv"], dim=1)
    invariant = torch.cat([encodings[m][:, 128:] for m in "alv"], dim=1)
    features = torch.cat([specific, invariant], dim=1)
    (own,) = system.vae_encoder.layers
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 64, 0.0, batch_first=True).eval()
    layer.load_state_dict(own.state_dict())
    token = layer(features[:, None])[:, 0]
    mean, logvar = system.vae_encoder.mean(token), system.vae_encoder.logvar(token)
    joint = torch.cat([mean, invariant], dim=1)
    linear = [part for part in system.vae_decoder if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == [(448, 128), (128, 256), (256, 384)]
    for number, part in enumerate(linear):
        joint = part(joint)
        if number < 2:
            joint = torch.where(joint > 0, joint, 0.01 * joint)
    outputs = system.fuse(encodings)
    for name, expected in (
        ("latent_mean", mean),
        ("latent_logvar", logvar.clamp(-10, 10)),
        ("invariant", invariant),
        ("joint_representation", joint),
        ("logits", system.classifier(joint)),
    ):
        torch.testing.assert_close(outputs[name], expected, rtol=1e-4, atol=1e-4, msg=name)
    widths = [part.out_features for part in system.classifier if isinstance(part, nn.Linear)]
    assert widths == [384, 128, CLASSES]


def test_training_samples_the_latent_from_its_mean_and_variance():
    system = small_system("nmer").train()
    decoded = []
    system.vae_decoder.register_forward_hook(lambda _module, inputs, _output: decoded.append(inputs[0]))
    encodings = {m: torch.randn(400, 256) for m in DIMS}
    outputs = system.fuse(encodings)
    latent = decoded[0][:, :64]
    noise = (latent.detach() - outputs["latent_mean"].detach()) / (outputs["latent_logvar"].detach() / 2).exp()
    assert float(noise.mean()) == pytest.approx(0, abs=5 / math.sqrt(noise.numel()))
    assert float(noise.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / noise.numel()))
    assert float(noise.pow(4).mean()) == pytest.approx(3, abs=5 * math.sqrt(96 / noise.numel()))
    system.fuse(encodings)
    assert not torch.allclose(decoded[1][:, :64], latent)


def test_evaluation_is_deterministic():
    system = small_system("nmer").eval()
    encodings = {m: torch.randn(4, 256) for m in DIMS}
    assert torch.equal(system.fuse(encodings)["logits"], system.fuse(encodings)["logits"])


def test_the_divergence_of_every_latent_is_that_from_a_standard_normal():
    mean, logvar = torch.randn(7, 64), torch.randn(7, 64)
    own = torch.distributions.Normal(mean, (logvar / 2).exp())
    standard = torch.distributions.Normal(torch.zeros(64), torch.ones(64))
    expected = torch.distributions.kl_divergence(own, standard)
    torch.testing.assert_close(kl_divergence(mean, logvar), expected)
    assert not kl_divergence(torch.zeros(3, 64), torch.zeros(3, 64)).any()


# Interpretations of Eq. 6 (SPEC 12): the divisor of the sum over five utterances and eight latents.
@pytest.mark.parametrize(("reduction", "divisor"), [("", 5 * 8), ("mean", 5 * 8), ("batch_mean", 5), ("sum", 1)])
def test_the_divergence_is_reduced_by_the_option(reduction, divisor):
    chosen = {"divergence_reduction": reduction} if reduction else {}
    system = small_system("nmer", divergence_weight=3.0, latent=8, **chosen).eval()
    batch = batch_of(random_utterances(count=5))
    outputs = system(batch)
    mean, logvar = outputs["latent_mean"], outputs["latent_logvar"]
    total = sum(-0.5 * (1 + s - m**2 - s.exp()).sum() for m, s in zip(mean, logvar, strict=True))
    torch.testing.assert_close(system.loss(outputs, batch)["divergence"], 3 * total / divisor)


WEIGHTS = {
    "divergence_weight": 7.0,
    "generation_weight": 0.5,
    "invariance_weight": 3.0,
    "classification_weight": 2.0,
}


@pytest.mark.parametrize("name", ["nmer", "nmer stacked"])
@pytest.mark.parametrize("weights", [{}, WEIGHTS], ids=["default weights", "other weights"])
def test_the_four_terms_follow_their_formulas_against_the_clean_teacher_under_all_conditions(name, weights):
    system = small_system(name, **weights).eval()
    batch = batch_of(random_utterances(count=7))
    outputs = system(batch)
    mean, logvar = outputs["latent_mean"], outputs["latent_logvar"]
    reconstruction = squared_error(in_order(batch.teacher_clean, SPECIFIC), outputs["joint_representation"])
    invariant = in_order({m: system.encode(m, batch.observed[m]) for m in DIMS}, INVARIANT)
    divergence, generation, invariance, classification = weights.values() or (1.0, 1.0, 10.0, 1.0)
    expected = {
        "divergence": generation * divergence * -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum() / (7 * 64),
        "reconstruction": generation * reconstruction,
        "invariance": invariance * squared_error(in_order(batch.teacher_clean, INVARIANT), invariant),
        "classification": classification * cross_entropy(outputs["logits"], batch.labels),
    }
    found = system.loss(outputs, batch)
    assert set(found) == set(expected)
    for term, value in expected.items():
        torch.testing.assert_close(found[term], value, rtol=1e-5, atol=1e-6, msg=term)


@pytest.mark.parametrize(("dropout", "expected"), [(0.5, 0.5), (0.2, 0.2)])
def test_the_classifier_uses_the_global_dropout_and_the_transformer_its_option(dropout, expected):
    system = build_system("nmer", DIMS, CLASSES, dropout, {"layers": 1, "feed_forward": 8, "transformer_dropout": 0.15})
    assert {part.p for part in system.classifier if isinstance(part, nn.Dropout)} == {expected}
    (layer,) = system.vae_encoder.layers
    assert {layer.self_attn.dropout, layer.dropout.p, layer.dropout1.p, layer.dropout2.p} == {0.15}


@pytest.mark.parametrize("name", ["nmer", "nmer_no_inv"])
def test_heads_that_do_not_divide_the_width_are_refused(name):
    with pytest.raises(ConfigError, match=r"heads: 5 is not possible\."):
        build_system(name, DIMS, CLASSES, 0.5, {"heads": 5})
