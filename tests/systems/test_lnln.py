"""LNLN computes SYSTEMS.md, section 4."""

from __future__ import annotations

import math

import pytest
import torch
from small_systems import DIMS, TRIPLES, batch_of, cross_entropy, padded, random_utterances, small_system, squared_error
from torch import nn

from nmer.systems.lnln import TransformerLayer, reverse_gradient, warn_of_cut
from nmer.systems.registry import regimes, systems


@pytest.fixture
def batch():
    return six_conditions(random_utterances(4))


def six_conditions(utterances):
    """A batch whose clean sequences are the observed ones where a modality is not noisy."""
    states = [triple[0] for triple in TRIPLES.values()]
    clean = {
        m: [frames - 0.3 * (state[position] == "n") for frames, state in zip(utterances[m], states, strict=False)]
        for position, m in enumerate("avl")
    }
    return batch_of(utterances, teacher_width=0, conditions=tuple(TRIPLES), clean=clean)


@torch.no_grad()
def test_a_layer_is_residual_attention_of_eight_heads_and_a_residual_feed_forward_part():
    layer, tokens, context = TransformerLayer(), torch.randn(5, 128), torch.randn(9, 128)
    query, key, value = (
        part(norm(values))
        for part, norm, values in [
            (layer.query, layer.norm_query, tokens),
            (layer.key, layer.norm_key, context),
            (layer.value, layer.norm_value, context),
        ]
    )
    heads = []
    for number in range(8):
        own = slice(64 * number, 64 * number + 64)
        heads.append(torch.softmax(query[:, own] @ key[:7, own].T / 8, dim=1) @ value[:7, own])
    expected = tokens + layer.output(torch.cat(heads, dim=1))
    first, _gelu, second = layer.feed_forward
    expected = expected + second(nn.functional.gelu(first(layer.norm(expected))))
    valid = torch.arange(9)[None] < 7
    torch.testing.assert_close(layer(tokens[None], context[None], valid)[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fusion_follows_the_published_steps(batch):
    system = small_system("lnln").eval()
    encodings = {m: system.encode(m, batch.observed[m]) for m in DIMS}
    outputs = system.fuse(encodings)
    tokens = {m: own.reshape(4, 8, 128) for m, own in encodings.items()}

    def run(encoder, inputs, leading):
        states = [torch.cat([leading.expand(4, -1, -1), inputs], dim=1) + encoder.positions.values]
        for layer in encoder.layers:
            states.append(layer(states[-1], states[-1]))
        return states

    check = system.completeness
    token = run(check.encoder, tokens["l"], check.encoder.tokens.values)[-1][:, 0]
    share = torch.sigmoid(check.head[2](nn.functional.leaky_relu(check.head[0](token), 0.1)))
    torch.testing.assert_close(outputs["completeness"], share)
    inputs = torch.cat([torch.ones(4, 8, 128), tokens["a"], tokens["v"]], dim=1)
    proxy = run(system.generator, inputs, system.generator.tokens.values)[-1][:, :8]
    torch.testing.assert_close(outputs["proxy"], proxy)
    corrected = (1 - share[:, :, None]) * proxy + share[:, :, None] * tokens["l"]
    torch.testing.assert_close(outputs["corrected"], corrected)
    states = run(system.language, corrected, torch.empty(0, 128))
    hyper = torch.ones(4, 8, 128)
    for layer, state in zip(system.hyper, states, strict=True):
        query, found = layer.query(layer.norm_dominant(state)), 0
        for number, m in enumerate("av"):
            context = layer.norms[number](tokens[m])
            key, value = layer.keys[number](context), layer.values[number](context)
            split = [part.reshape(4, 8, 8, 16).transpose(1, 2) for part in (query, key, value)]
            found = found + nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).reshape(4, 8, 128)
        hyper = layer.norm_hyper(hyper) + layer.output(found)
    fusion = system.fusion
    token = fusion.token.values.expand(4, -1, -1)
    source = torch.cat([token, hyper], dim=1) + fusion.source_positions.values
    target = torch.cat([token, states[-1]], dim=1) + fusion.target_positions.values
    for layer in fusion.layers:
        target = layer(target, source)
    torch.testing.assert_close(outputs["logits"], system.classifier(target[:, 1:].mean(dim=1)), rtol=1e-4, atol=1e-5)


def test_every_term_of_the_loss(batch):
    weights = {"completeness_weight": 2.0, "adversarial_weight": 3.0, "reconstruction_weight": 5.0}
    system = small_system("lnln", **weights).train()
    outputs = system(batch)
    found = system.loss(outputs, batch)
    flags = torch.tensor([TRIPLES[c][0][2] == "c" for c in list(TRIPLES)[:4]]).float()
    clean = {m: system.encode(m, batch.clean(m)).reshape(4, 8, 128) for m in DIMS}
    observed = {m: system.encode(m, batch.observed[m]).reshape(4, 8, 128) for m in DIMS}
    rebuilt = torch.cat([system.reconstructors[m](observed[m]) for m in DIMS], dim=1)
    judged = torch.cat([outputs["corrected"], clean["l"]]).reshape(64, 128)
    judged = system.discriminator[2](nn.functional.leaky_relu(system.discriminator[0](judged), 0.1))
    expected = {
        "classification": cross_entropy(outputs["logits"], batch.labels),
        "completeness": 2 * ((outputs["completeness"][:, 0] - flags) ** 2).mean(),
        "adversarial": 3 * cross_entropy(judged, torch.tensor([1] * 32 + [0] * 32)),
        "reconstruction": 5 * squared_error(rebuilt, torch.cat(list(clean.values()), dim=1)),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert found["adversarial"].item() / 3 == pytest.approx(math.log(2), abs=0.1)


def test_training_encodes_the_clean_view_of_noisy_utterances_only_with_the_same_gradients(batch, monkeypatch):
    system, encoded, found = small_system("lnln").double().train(), [], []
    double = six_conditions({m: [u.double() for u in own] for m, own in random_utterances(4).items()})
    for encoder in system.encoders.values():
        encoder.register_forward_hook(lambda _encoder, given, _found: encoded.append(len(given[0].lengths)))
    for all_views in (True, False):
        encoded.clear()
        monkeypatch.setattr("nmer.systems.lnln.pads", lambda _values, all_views=all_views: all_views)
        system.zero_grad()
        terms = system.loss(system(double), double)
        sum(terms.values()).backward()
        found.append((terms, {name: own.grad.clone() for name, own in system.named_parameters()}))
        assert encoded == [8 if all_views else 4 + int(double.noisy[m].sum()) for m in system.modalities]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def gradients(system, batch, term: str) -> dict[str, torch.Tensor]:
    system.zero_grad()
    system.loss(system(batch), batch)[term].backward()
    return {name: own.grad.clone() for name, own in system.named_parameters() if own.grad is not None}


@pytest.mark.parametrize("reversal", ["discriminator", "released"])
def test_the_classification_loss_trains_the_generator_unless_reversed_as_released(batch, reversal):
    system = small_system("lnln", reversal=reversal).double().train()
    double = batch_of({m: [u.double() for u in own] for m, own in random_utterances(4).items()}, teacher_width=0)
    parameter = system.generator.layers[1].output.bias
    found = gradients(system, double, "classification")["generator.layers.1.output.bias"]
    losses = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            parameter += step * found / found.norm()
            losses.append(system.loss(system(double), double)["classification"].item())
            parameter -= step * found / found.norm()
    slope = (losses[0] - losses[1]) / 2e-5
    sign = 1 if reversal == "discriminator" else -1
    assert slope == pytest.approx(sign * found.norm().item(), rel=1e-4)


def test_the_adversarial_gradient_of_the_generator_is_reversed_and_reaches_no_encoder_of_language(batch, monkeypatch):
    system = small_system("lnln").train()
    found = gradients(system, batch, "adversarial")
    assert not any(name.startswith(("encoders.l", "completeness", "language")) for name in found)
    monkeypatch.setattr("nmer.systems.lnln.reverse_gradient", lambda values: values)
    plain = gradients(system, batch, "adversarial")
    for name in found:
        sign = 1 if name.startswith("discriminator") else -1
        torch.testing.assert_close(found[name], sign * plain[name], rtol=1e-4, atol=1e-7)


def test_reversing_a_gradient_keeps_the_values():
    values = torch.randn(5, requires_grad=True)
    assert torch.equal(reverse_gradient(values), values)
    (3 * reverse_gradient(values)).sum().backward()
    assert torch.equal(values.grad, torch.full((5,), -3.0))


def test_reconstruction_targets_can_be_detached(batch):
    outputs = small_system("lnln").train()(batch)
    for detached in (False, True):
        system = small_system("lnln", detach_targets=detached)
        clean = outputs["clean"].detach().requires_grad_()
        system.loss(outputs | {"clean": clean}, batch)["reconstruction"].backward(retain_graph=True)
        assert (clean.grad is None) == detached


@torch.no_grad()
def test_with_noise_flags_completeness_is_the_flag_and_clean_language_needs_no_proxy(batch):
    declared = systems.declaration("lnln")
    assert regimes(declared, {"noise_flags": True}) == ("incomplete",)
    system = small_system("lnln", noise_flags=True).train()
    outputs = system(batch)
    assert outputs["completeness"][:, 0].tolist() == [float(TRIPLES[c][0][2] == "c") for c in list(TRIPLES)[:4]]
    assert set(system.loss(outputs, batch)) == {"classification", "adversarial", "reconstruction"}
    clean = outputs["completeness"][:, 0] == 1
    others = batch_of(random_utterances(4) | {m: random_utterances(4, seed=6)[m] for m in "av"}, teacher_width=0)
    torch.testing.assert_close(system(others)["corrected"][clean], outputs["corrected"][clean])
    assert not torch.allclose(system(others)["corrected"][~clean], outputs["corrected"][~clean])


@torch.no_grad()
def test_frames_beyond_max_frames_are_cut_with_one_warning(capsys):
    warn_of_cut.cache_clear()
    system, utterance = small_system("lnln", max_frames=4).eval(), torch.randn(9, DIMS["a"])
    found = [
        system.encode("a", padded([frames, torch.randn(12, DIMS["a"])]))[0] for frames in (utterance, utterance[:4])
    ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)
    assert capsys.readouterr().err.count("cut to max_frames 4") == 1
