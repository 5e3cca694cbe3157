"""The pages on systems state the sizes of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from test_parameters import SHAPES, parameters

from nmer.systems.building import build_system
from nmer.systems.registry import systems

DOCS = Path(__file__).resolve().parents[2] / "docs"
NARROW = ("nmer", {"feed_forward": 128})
SIZES = {
    "shared": [("shared", {}), ("two_tower", {})],
    "men": [("men", {})],
    "mctn": [("mctn", {})],
    "mmin": [("mmin", {})],
    "if_mmin": [("if_mmin", {})],
    "nmer": [("nmer", {}), ("nmer_no_inv", {}), NARROW, ("nmer_no_vae", {})],
    "emt_dlfr": [("emt_dlfr", {})],
    "momke": [("experts", {}), ("momke", {})],
    "lnln": [("lnln", {}), ("lnln", {"fusion_layers": 2})],
    "cif_mmin": [("contrastive", {}), ("cif_mmin", {})],
    "unimodal": [("unimodal_a", {}), ("unimodal_v", {}), ("unimodal_l", {})],
}
"""Page -> the systems, with their options, whose numbers of parameters it states."""


@pytest.mark.parametrize("page", SIZES)
def test_a_page_states_the_number_of_parameters_of_its_systems_on_both_datasets(page):
    stated = re.findall(r"\| (\d{1,3}(?:,\d{3})+)\b", (DOCS / "systems" / f"{page}.md").read_text())
    with torch.device("meta"):
        counted = {
            parameters(build_system(name, *shape, 0.5, options))
            for name, options in SIZES[page]
            for shape in SHAPES.values()
        }
    assert {int(number.replace(",", "")) for number in stated} == counted


def test_every_system_has_a_page_and_every_page_a_link_from_the_overview():
    assert {name for sizes in SIZES.values() for name, _options in sizes} == set(systems.shipped())
    assert {path.stem for path in (DOCS / "systems").glob("*.md")} == set(SIZES)
    linked = set(re.findall(r"\(systems/(\w+)\.md\)", (DOCS / "systems.md").read_text()))
    assert linked == set(SIZES)
