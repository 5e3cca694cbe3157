"""Systems for fewer than three modalities: sizes, training, and sets that a method does not support (SPEC 13)."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch

from nmer.errors import ConfigError
from nmer.systems.blocks.discrepancy import central_moment_discrepancy, mean_cmd
from nmer.systems.building import build_system
from nmer.systems.interface import concatenate
from nmer.systems.mctn import ring
from nmer.systems.registry import systems, unfit
from nmer.training.system_checks import check_system

DIMS = {"a": 130, "v": 342, "l": 1024}
ENCODERS = {"a": 133_120, "v": 241_664, "l": 1_622_528}
SMALL = {"a": 6, "v": 5, "l": 7}
PAIRS = ["".join(pair) for pair in combinations("avl", 2)]
OF_PAIRS = ["men", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv", "two_tower", "shared"]
OF_PAIRS += ["experts", "momke", "emt_dlfr", "contrastive", "cif_mmin"]
NEEDING_TWO = [name for name in OF_PAIRS if name != "men"]
FEW = {"layers": 1, "feed_forward": 8}
OPTIONS = {
    "experts": {"depth": 1},
    "momke": {"depth": 1},
    "emt_dlfr": {"layers": 1},
    "nmer": FEW,
    "nmer_no_inv": FEW,
    "mctn": {"steps": 3},
}


def linear(*sizes: int) -> int:
    """Return the number of parameters of consecutive linear layers with biases."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


CASCADE = 5 * (linear(256, 256, 128, 64) + linear(64, 128, 256, 256)) + linear(256, 256, 256)
INVARIANCE = linear(128, 128, 128)
LAYER = linear(512, 3 * 512) + linear(512, 512) + linear(512, 2048, 512) + 4 * 512
SIZES = {
    "men": (1, linear(256, 128, 128, 4)),
    "shared": (1, INVARIANCE + linear(512, 128, 128, 4)),
    "two_tower": (2, INVARIANCE + linear(512, 128, 128, 4)),
    "mmin": (1, 2 * CASCADE + linear(320, 128, 128, 4)),
    "if_mmin": (1, INVARIANCE + CASCADE + linear(320, 128, 128, 4)),
    "nmer": (
        2,
        INVARIANCE + 5 * LAYER + 2 * linear(512, 64) + linear(64 + 256, 128, 256, 256) + linear(256, 384, 128, 4),
    ),
    "nmer_no_vae": (2, INVARIANCE + linear(512, 384, 128, 4)),
}
"""Number of towers, and of parameters outside the encoders, for two modalities and four classes."""


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", SIZES)
def test_widths_follow_from_the_number_of_modalities(name, pair):
    towers, rest = SIZES[name]
    with torch.device("meta"):
        system = build_system(name, {m: DIMS[m] for m in pair}, 4)
    expected = towers * sum(ENCODERS[m] for m in pair) + rest
    assert sum(parameter.numel() for parameter in system.parameters()) == expected


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", OF_PAIRS)
def test_a_system_is_trained_on_any_two_modalities(name, pair):
    assert check_system(name, {m: SMALL[m] for m in pair}, 3, OPTIONS.get(name)) == []


@pytest.mark.parametrize("pair", ["al", "vl"])
def test_lnln_is_trained_on_language_and_one_other_modality(pair):
    assert check_system("lnln", {m: SMALL[m] for m in pair}, 3, {"fusion_layers": 1}) == []


@pytest.mark.parametrize("name", ["experts", "momke", "lnln", "emt_dlfr", "contrastive", "cif_mmin"])
def test_a_recent_system_trains_on_scores(name):
    options = OPTIONS.get(name, {"fusion_layers": 1} if name == "lnln" else None)
    assert check_system(name, SMALL, 1, options, target="score") == []


@pytest.mark.parametrize("modality", "avl")
@pytest.mark.parametrize("name", ["men", "unimodal"])
def test_men_and_the_uni_modal_system_accept_one_modality(name, modality):
    name = f"unimodal_{modality}" if name == "unimodal" else name
    assert check_system(name, {modality: SMALL[modality]}, 3) == []


@pytest.mark.parametrize("name", NEEDING_TWO)
def test_a_system_that_needs_two_modalities_is_not_built_for_one(name):
    with pytest.raises(ConfigError, match=rf"systems\.{name}: it cannot read the modalities a: .* at least 2"):
        build_system(name, {"a": 4}, 2)


def test_a_system_that_needs_a_modality_is_not_built_without_it():
    with pytest.raises(ConfigError, match="needs the modality v"):
        build_system("unimodal_v", {"a": 4, "l": 5}, 2)
    with pytest.raises(ConfigError, match="needs the modality l"):
        build_system("lnln", {"a": 4, "v": 5}, 2)
    with pytest.raises(ConfigError, match="needs the modality v with form 'hier'"):
        build_system("mctn", {"a": 4, "l": 5}, 2, options={"form": "hier"})


def test_heads_must_divide_the_width_of_the_token():
    declared = systems.declaration("nmer")
    for heads in declared.declared["heads"].choices:
        for modalities in ("avl", "al"):
            refused = unfit(declared, {"heads": heads}, modalities) != ""
            assert refused == (256 * len(modalities) % heads > 0)
    with pytest.raises(ConfigError, match="its heads, 12, must divide 256 times the number of modalities, 512"):
        build_system("nmer", {"a": 4, "l": 5}, 2, options={"heads": 12})


def test_the_ring_has_every_modality_once_as_source_and_once_as_target():
    assert ring("avl") == {"a": "v", "v": "l", "l": "a"}
    assert ring("la") == {"a": "l", "l": "a"}


def test_concatenation_is_in_the_order_a_l_v():
    encodings = {m: torch.full((1, 1), float(number)) for number, m in enumerate("avl")}
    assert concatenate(encodings).tolist() == [[0, 2, 1]]
    del encodings["a"]
    assert concatenate(encodings).tolist() == [[2, 1]]


def test_the_discrepancy_of_two_modalities_is_that_of_the_pair():
    random = torch.Generator().manual_seed(1)
    features = {m: torch.randn(6, 3, generator=random) for m in "av"}
    assert torch.equal(mean_cmd(features), central_moment_discrepancy(features["a"], features["v"]))
