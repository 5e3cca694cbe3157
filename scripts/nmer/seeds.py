"""Randomness derived from names: never from order, time or worker (DESIGN section 9)."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive_key(*names: str | int) -> int:
    """A 128-bit key that depends on the names alone, e.g. ``derive_key("noise", 0, "iemocap", "Ses01F", "a")``."""
    text = json.dumps(names, ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:16], "little")


def derive_seed(*names: str | int) -> int:
    """A 63-bit seed from names, for generators that take a signed 64-bit integer (torch)."""
    return derive_key(*names) >> 65


def generator(*names: str | int) -> np.random.Generator:
    """A NumPy generator (counter-based Philox) keyed by the names."""
    return np.random.Generator(np.random.Philox(key=derive_key(*names)))
