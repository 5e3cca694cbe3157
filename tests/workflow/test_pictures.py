"""The diagrams of the documentation are those that docs/pictures/draw.py draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"


def test_the_committed_diagrams_are_up_to_date():
    spec = importlib.util.spec_from_file_location("draw", FOLDER / "draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = {f"{name}.svg": draw() for name, draw in module.PICTURES.items()}
    assert drawn == {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")}
