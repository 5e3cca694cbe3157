"""NMER computes SPEC 4.4: one token per utterance, a sampled latent in training, four weighted terms."""

from __future__ import annotations

import math

import pytest
import torch
from small_systems import CLASSES, DIMS, batch_of, padded, random_utterances, small_system
from torch import nn

from nmer.systems.nmer import OneTokenLayer, VaeEncoder, kl_divergence
from nmer.systems.registry import systems

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
    given = [features.clone().requires_grad_() for _ in range(2)]
    weight = torch.randn(5, WIDTH)
    outputs = own(given[0]), reference(given[1][:, None])[:, 0]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad, rtol=1e-3, atol=1e-4)
    theirs = dict(reference.named_parameters())
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-4, msg=name)


def test_one_token_attention_drops_whole_heads_at_its_rate():
    # Everything but the dropout of attention weights is made transparent, so that the heads themselves come out.
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
    assert declared.attributes == {"pretraining": "two_tower", "regimes": ("six", "all")}
    assert declared.options == {
        "layers": 5,
        "heads": 16,
        "feed_forward": 2048,
        "transformer_dropout": 0.1,
        "latent": 64,
        "divergence_weight": 1.0,
        "generation_weight": 1.0,
        "invariance_weight": 10.0,
        "classification_weight": 1.0,
    }


def test_the_log_variance_is_kept_within_ten():
    encoder = VaeEncoder(1, 2, 8, 0.0, 4).eval()
    with torch.no_grad():
        encoder.logvar.bias.copy_(torch.tensor([1000.0, -1000.0, 0.0, 0.0]))
        encoder.logvar.weight.zero_()
    _mean, logvar = encoder(torch.randn(3, WIDTH))
    assert logvar.tolist() == [[10, -10, 0, 0]] * 3


def test_a_modalitys_encoding_is_its_specific_and_its_invariant_feature():
    system = small_system("nmer").eval()
    sequences = padded(random_utterances()["v"])
    specific = system.specific["v"](sequences)
    invariant = system.invariance_mlp(system.invariance["v"](sequences))
    torch.testing.assert_close(system.encode("v", sequences), torch.cat([specific, invariant], dim=1))


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
    system.vae_decoder.register_forward_hook(lambda _module, given, _output: decoded.append(given[0]))
    encodings = {m: torch.randn(400, 256) for m in DIMS}
    outputs = system.fuse(encodings)
    latent = decoded[0][:, :64]
    noise = (latent.detach() - outputs["latent_mean"].detach()) / (outputs["latent_logvar"].detach() / 2).exp()
    assert float(noise.mean()) == pytest.approx(0, abs=5 / math.sqrt(noise.numel()))
    assert float(noise.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / noise.numel()))
    assert float(noise.pow(4).mean()) == pytest.approx(3, abs=5 * math.sqrt(96 / noise.numel()))
    system.fuse(encodings)
    assert not torch.allclose(decoded[1][:, :64], latent)


def test_evaluation_gives_the_same_answer_twice():
    system = small_system("nmer").eval()
    encodings = {m: torch.randn(4, 256) for m in DIMS}
    assert torch.equal(system.fuse(encodings)["logits"], system.fuse(encodings)["logits"])


def test_the_divergence_is_that_from_a_standard_normal_summed_over_latents_and_averaged_over_the_batch():
    mean, logvar = torch.randn(7, 64), torch.randn(7, 64)
    own = torch.distributions.Normal(mean, (logvar / 2).exp())
    standard = torch.distributions.Normal(torch.zeros(64), torch.ones(64))
    expected = torch.distributions.kl_divergence(own, standard).sum(dim=1).mean()
    torch.testing.assert_close(kl_divergence(mean, logvar), expected)
    assert float(kl_divergence(torch.zeros(3, 64), torch.zeros(3, 64))) == 0


WEIGHTS = {"generation_weight": 0.5, "invariance_weight": 3.0, "classification_weight": 2.0}


@pytest.mark.parametrize("weights", [{}, WEIGHTS], ids=["default weights", "other weights"])
def test_the_four_terms_follow_their_formulas_against_the_clean_teacher(weights):
    system = small_system("nmer", **weights).eval()
    batch = batch_of(random_utterances(count=5))
    outputs = system(batch)
    target = torch.cat([batch.teacher_clean[m][:, :128] for m in "alv"], dim=1)
    target_invariant = torch.cat([batch.teacher_clean[m][:, 128:] for m in "alv"], dim=1)
    mean, logvar = outputs["latent_mean"], outputs["latent_logvar"]
    probability = outputs["logits"].softmax(dim=1)[range(5), batch.labels]
    generation, invariance, classification = (weights or {"": 1.0, "i": 10.0, "c": 1.0}).values()
    expected = {
        "divergence": generation * -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum() / 5,
        "reconstruction": generation * ((target - outputs["joint_representation"]) ** 2).sum() / (5 * 384),
        "invariance": invariance * ((target_invariant - outputs["invariant"]) ** 2).sum() / (5 * 384),
        "classification": classification * -probability.log().sum() / 5,
    }
    found = system.loss(outputs, batch)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_nmer_starts_from_its_teachers_towers_and_invariance_mlp_and_nothing_else():
    teacher, student = small_system("two_tower"), small_system("nmer")
    before = {name: value.clone() for name, value in student.state_dict().items()}
    student.inherit(teacher)
    after, source = student.state_dict(), teacher.state_dict()
    for name, value in after.items():
        inherited = name.split(".")[0] in ("specific", "invariance", "invariance_mlp")
        assert torch.equal(value, source[name] if inherited else before[name]), name
    # A copy, not the teacher's own memory.
    next(student.specific["a"].parameters()).data.zero_()
    assert next(teacher.specific["a"].parameters()).any()


@pytest.mark.parametrize(("dropout", "expected"), [(0.5, 0.5), (0.2, 0.2)])
def test_the_classifiers_dropout_is_the_global_rate_and_the_transformers_its_own(dropout, expected):
    from nmer.systems.building import build_system

    system = build_system("nmer", DIMS, CLASSES, dropout, {"layers": 1, "feed_forward": 8, "transformer_dropout": 0.15})
    assert {part.p for part in system.classifier if isinstance(part, nn.Dropout)} == {expected}
    (layer,) = system.vae_encoder.layers
    assert {layer.self_attn.dropout, layer.dropout.p, layer.dropout1.p, layer.dropout2.p} == {0.15}
