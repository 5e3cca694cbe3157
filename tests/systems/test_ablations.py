"""Both ablations compute SPEC 4.5: each leaves out one part of NMER and keeps the rest."""

from __future__ import annotations

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
    layer_sizes,
    padded,
    random_utterances,
    small_system,
    squared_error,
)

from nmer.systems.nmer import Nmer
from nmer.systems.registry import pretraining, systems

LEFT_OUT = {
    "nmer_no_vae": {
        "layers",
        "heads",
        "feed_forward",
        "transformer_dropout",
        "latent",
        "residual",
        "divergence_reduction",
        "divergence_weight",
        "generation_weight",
    },
    "nmer_no_inv": {"invariance_weight"},
}
"""Options of NMER that belong to the part that an ablation leaves out."""

ABLATIONS = tuple(LEFT_OUT)


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_trained_like_nmer_in_the_incomplete_conditions_only(name):
    nmer, declared = systems.declaration("nmer"), systems.declaration(name)
    divisors = {"heads": 256} if "heads" in declared.options else {}
    assert declared.attributes == {
        "ablation_of": "nmer",
        "pretraining": nmer.attributes["pretraining"],
        "regimes": ("incomplete",),
        "fewest_modalities": nmer.attributes["fewest_modalities"],
    } | ({"divisors_per_modality": divisors} if divisors else {})


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_has_the_options_of_nmer_except_those_of_the_part_left_out_with_the_same_limits(name):
    nmer, declared = systems.declaration("nmer"), systems.declaration(name)
    assert set(nmer.options) - LEFT_OUT[name] == set(declared.options)
    assert {option: nmer.declared[option] for option in declared.options} == declared.declared
    assert {option: type(value) for option, value in declared.options.items()} == {
        option: type(nmer.options[option]) for option in declared.options
    }


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_starts_from_the_pretraining_that_nmer_starts_from(name):
    declared = systems.declaration(name)
    assert pretraining(declared) == "two_tower"
    assert pretraining(declared, {"invariance": "two_tower"}) == "two_tower"
    assert pretraining(declared, {"invariance": "stacked"}) == "shared"


@pytest.mark.parametrize("form", ["", " stacked"], ids=["two towers", "stacked"])
@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_encodes_as_nmer_does(name, form):
    nmer, system = small_system("nmer" + form).eval(), small_system(name + form).eval()
    system.towers.load_state_dict(nmer.towers.state_dict())
    for modality, utterances in random_utterances().items():
        sequences = padded(utterances)
        assert torch.equal(system.encode(modality, sequences), nmer.encode(modality, sequences)), modality


# Without the VAE


def test_without_the_vae_specific_then_invariant_features_are_classified_in_the_order_a_l_v():
    system = small_system("nmer_no_vae").eval()
    encodings = {m: torch.randn(4, 256) for m in DIMS}
    invariant = in_order(encodings, INVARIANT)
    outputs = system.fuse(encodings)
    assert set(outputs) == {"logits", "invariant"}
    assert torch.equal(outputs["invariant"], invariant)
    expected = system.classifier(torch.cat([in_order(encodings, SPECIFIC), invariant], dim=1))
    torch.testing.assert_close(outputs["logits"], expected)
    assert layer_sizes(system.classifier) == [(768, 384), (384, 128), (128, CLASSES)]
    assert {path.split(".")[0] for path in system.state_dict()} == {"towers", "classifier"}


@pytest.mark.parametrize(
    "weights", [{}, {"invariance_weight": 3.0, "classification_weight": 2.0}], ids=["default weights", "other weights"]
)
def test_without_the_vae_the_loss_is_invariance_to_the_clean_teacher_and_cross_entropy(weights):
    system = small_system("nmer_no_vae", **weights).eval()
    batch = batch_of(random_utterances(count=7))
    outputs = system(batch)
    invariant = in_order({m: system.encode(m, batch.observed[m]) for m in DIMS}, INVARIANT)
    invariance, classification = weights.values() or (10.0, 1.0)
    expected = {
        "invariance": invariance * squared_error(in_order(batch.teacher_clean, INVARIANT), invariant),
        "classification": classification * cross_entropy(outputs["logits"], batch.labels),
    }
    found = system.loss(outputs, batch)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)


# Without the invariance loss

OTHER_OPTIONS = {
    "generation_weight": 0.5,
    "divergence_weight": 3.0,
    "classification_weight": 2.0,
    "divergence_reduction": "sum",
    "residual": True,
}


def twins(**options) -> tuple[Nmer, Nmer]:
    """NMER and NMER without the invariance loss, with the same weights."""
    whole, ablated = small_system("nmer", **options).eval(), small_system("nmer_no_inv", **options).eval()
    ablated.load_state_dict(whole.state_dict())
    return whole, ablated


@pytest.mark.parametrize("options", [{}, OTHER_OPTIONS], ids=["default options", "other options"])
def test_without_the_invariance_loss_only_this_term_differs_from_nmer(options):
    whole, ablated = twins(**options)
    batch = batch_of(random_utterances(count=7))
    outputs, expected = ablated(batch), whole(batch)
    assert set(outputs) == set(expected)
    assert all(torch.equal(outputs[name], value) for name, value in expected.items())
    terms, wanted = ablated.loss(outputs, batch), whole.loss(expected, batch)
    assert set(terms) == set(wanted)
    assert wanted["invariance"] > 1
    assert terms["invariance"] == 0
    assert all(torch.equal(terms[name], value) for name, value in wanted.items() if name != "invariance")


def test_without_the_invariance_loss_no_gradient_pulls_towards_the_teachers_invariant_features():
    _whole, ablated = twins()
    gradients = []
    for shift in (0.0, 100.0):
        batch = batch_of(random_utterances(count=7))
        for target in batch.teacher_clean.values():
            target[:, INVARIANT] += shift
        ablated.zero_grad()
        sum(ablated.loss(ablated(batch), batch).values()).backward()
        gradients.append([parameter.grad.clone() for parameter in ablated.towers.invariance_mlp.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))
    assert all(gradient.any() for gradient in gradients[0])


def test_without_the_invariance_loss_invariant_features_still_guide_the_encoder_and_the_decoder():
    _whole, ablated = twins()
    encodings = {m: torch.randn(4, 256) for m in DIMS}
    others = {m: torch.cat([values[:, SPECIFIC], torch.randn(4, 128)], dim=1) for m, values in encodings.items()}
    decoded = []
    ablated.vae_decoder.register_forward_hook(lambda _module, inputs, _output: decoded.append(inputs[0]))
    first, second = ablated.fuse(encodings), ablated.fuse(others)
    for name in ("latent_mean", "joint_representation", "logits"):
        assert (first[name] - second[name]).abs().max() > 1e-3, name
    for inputs, invariant in zip(decoded, (in_order(encodings, INVARIANT), in_order(others, INVARIANT)), strict=True):
        assert torch.equal(inputs[:, 64:], invariant)
