"""The diagrams of the noise and protocol pages match the output of docs/draw_diagrams.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))
import draw_diagrams  # noqa: E402


@pytest.mark.parametrize("name", draw_diagrams.PICTURES)
def test_a_committed_diagram_is_up_to_date(name):
    drawn = draw_diagrams.PICTURES[name]()
    committed = (draw_diagrams.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert committed == drawn, "run: PYTHONPATH=scripts python docs/draw_diagrams.py"
