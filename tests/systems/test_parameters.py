"""Every network has the golden number of parameters of SPEC 4, on both datasets."""

from __future__ import annotations

import pytest
import torch

from nmer.systems.blocks.cascade import CascadeAutoencoder, GuidedCascadeAutoencoder
from nmer.systems.blocks.encoders import encoder_tower
from nmer.systems.blocks.layers import invariance_mlp
from nmer.systems.building import build_system

SHAPES = {
    "IEMOCAP": ({"a": 130, "v": 342, "l": 1024}, 4),
    "CMU-MOSEI": ({"a": 74, "v": 35, "l": 300}, 2),
}
ENCODERS = {
    "IEMOCAP": {"a": 133_120, "v": 241_664, "l": 1_622_528},
    "CMU-MOSEI": {"a": 104_448, "v": 84_480, "l": 510_464},
}
SYSTEMS = [
    ("men", {}, 2_063_620, 765_442),
    ("shared", {}, 2_145_796, 847_618),
    ("two_tower", {}, 4_143_108, 1_547_010),
    ("two_tower", {"invariant_features": "tanh", "discrepancy_scaling": True}, 4_143_108, 1_547_010),
    ("mmin", {}, 5_444_228, 4_146_050),
    ("if_mmin", {}, 3_782_852, 2_484_674),
    ("nmer", {}, 32_082_820, 29_486_722),
    ("nmer", {"feed_forward": 128}, 17_327_620, 14_731_522),
    ("nmer", {"residual": True, "divergence_reduction": "sum"}, 32_082_820, 29_486_722),
    ("nmer", {"invariant_features": "sigmoid"}, 32_082_820, 29_486_722),
    ("nmer_no_vae", {}, 4_372_740, 1_776_642),
    ("nmer_no_inv", {}, 32_082_820, 29_486_722),
    ("experts", {}, 4_334_348, 4_054_534),
    ("momke", {}, 5_124_621, 4_844_811),
    ("momke", {"tokens": "mean", "noise_flags": True}, 5_124_621, 4_844_811),
    ("lnln", {}, 7_244_231, 7_104_837),
    ("lnln", {"fusion_layers": 2, "reversal": "released"}, 6_651_591, 6_512_197),
    ("lnln", {"noise_flags": True}, 7_244_231 - 602_241, 7_104_837 - 602_241),
    ("emt_dlfr", {}, 2_246_877, 1_549_596),
    ("emt_dlfr", {"layers": 2}, 2_246_877, 1_549_596),
    ("contrastive", {}, 3_129_092, 1_274_370),
    ("cif_mmin", {}, 4_723_652, 2_868_930),
    # SPEC gives only those of IEMOCAP. On CMU-MOSEI: the encoder, two layers of 16,512, and 258 for two classes.
    ("unimodal_a", {}, 166_660, 104_448 + 2 * 16_512 + 258),
    ("unimodal_v", {}, 275_204, 84_480 + 2 * 16_512 + 258),
    ("unimodal_l", {}, 1_656_068, 510_464 + 2 * 16_512 + 258),
]
"""MCTN, whose size SPEC does not give, is counted in ``test_mctn.py``."""


@pytest.fixture(autouse=True)
def _shapes_without_memory():
    """Build parameters on the device ``meta``, with a shape and no content, because they are only counted."""
    with torch.device("meta"):
        yield


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("dataset", SHAPES)
def test_encoders_have_their_golden_size(dataset):
    tower = encoder_tower(SHAPES[dataset][0])
    assert {modality: parameters(encoder) for modality, encoder in tower.items()} == ENCODERS[dataset]


def test_the_invariance_mlp_has_its_golden_size():
    assert parameters(invariance_mlp()) == 33_024


@pytest.mark.parametrize("kind", [CascadeAutoencoder, GuidedCascadeAutoencoder])
def test_a_cascade_autoencoder_has_its_golden_size(kind):
    assert parameters(kind(384)) == 1_694_400


@pytest.mark.parametrize("dataset", SHAPES)
@pytest.mark.parametrize(("name", "options", "iemocap", "mosei"), SYSTEMS, ids=lambda value: str(value))
def test_systems_have_their_golden_size(dataset, name, options, iemocap, mosei):
    system = build_system(name, *SHAPES[dataset], 0.5, options)
    assert parameters(system) == {"IEMOCAP": iemocap, "CMU-MOSEI": mosei}[dataset]
    assert all(parameter.requires_grad for parameter in system.parameters())


TRANSFORMER_LAYER = (
    (768 + 1) * 3 * 768  # query, key and value
    + (768 + 1) * 768  # output of the attention
    + (768 + 1) * 2048
    + (2048 + 1) * 768
    + 2 * 2 * 768  # two normalisations
)
VAE = (
    5 * TRANSFORMER_LAYER
    + 2 * (768 + 1) * 64  # mean and log-variance
    + (64 + 384 + 1) * 128
    + (128 + 1) * 256
    + (256 + 1) * 384
)


@pytest.mark.parametrize("dataset", SHAPES)
@pytest.mark.parametrize(
    ("name", "vae", "joint"), [("nmer", VAE, 384), ("nmer_no_inv", VAE, 384), ("nmer_no_vae", 0, 768)]
)
@pytest.mark.parametrize(("invariance", "towers"), [("stacked", 1), ("two_tower", 2)])
def test_the_forms_of_nmer_have_the_size_of_their_layers_with_one_tower_or_two(
    dataset, name, vae, joint, invariance, towers
):
    dims, classes = SHAPES[dataset]
    classifier = (joint + 1) * 384 + (384 + 1) * 128 + (128 + 1) * classes
    expected = towers * sum(ENCODERS[dataset].values()) + 33_024 + vae + classifier
    system = build_system(name, dims, classes, 0.5, {"invariance": invariance})
    assert parameters(system) == expected
