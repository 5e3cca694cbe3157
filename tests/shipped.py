"""The shipped configuration, for tests that change a part of it."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


def shipped_config() -> dict[str, Any]:
    """Return a new copy of ``config.yaml``, which is parsed once, because parsing takes longer than planning."""
    return copy.deepcopy(_parsed())


@cache
def _parsed() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
