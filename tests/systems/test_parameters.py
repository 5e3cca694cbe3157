"""Every network has the golden number of parameters of SPEC 4, on both datasets."""

from __future__ import annotations

import pytest
import torch

from nmer.systems.blocks import encoder_tower, invariance_mlp
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
    ("nmer", {}, 32_082_820, 29_486_722),
    ("nmer", {"feed_forward": 128}, 17_327_620, 14_731_522),
]


@pytest.fixture(autouse=True)
def _shapes_without_memory():
    """Parameters are only counted: on the device ``meta`` they have a shape and no content."""
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


@pytest.mark.parametrize("dataset", SHAPES)
@pytest.mark.parametrize(("name", "options", "iemocap", "mosei"), SYSTEMS, ids=lambda value: str(value))
def test_systems_have_their_golden_size(dataset, name, options, iemocap, mosei):
    system = build_system(name, *SHAPES[dataset], 0.5, options)
    assert parameters(system) == {"IEMOCAP": iemocap, "CMU-MOSEI": mosei}[dataset]
    assert all(parameter.requires_grad for parameter in system.parameters())
