"""Seeds and generators derived from names, never from order, time or worker."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def derive_key(*names: str | int) -> int:
    """Return a 128-bit key determined by the names, e.g. ``derive_key("noise", 0, "iemocap", "Ses01F", "a")``."""
    return int.from_bytes(_digest(names), "little")


def derive_seed(*names: str | int) -> int:
    """Return a 63-bit seed from names, for generators that take a signed 64-bit integer (torch)."""
    return derive_key(*names) >> 65


def generator(*names: str | int) -> np.random.Generator:
    """Return a NumPy generator (counter-based Philox) keyed by the names."""
    # NumPy accepts any ISeedSequence, but its type stubs allow only its own class.
    return np.random.Generator(np.random.Philox(_Key(_digest(names))))  # type: ignore[arg-type]


class _Key(ISeedSequence):
    """Passes a 128-bit key to Philox. Its argument ``key`` does the same at three times the cost, because it first
    gathers entropy from the system and discards it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def generate_state(self, n_words: int, dtype: object = np.uint64) -> NDArray[np.uint64]:
        return np.frombuffer(self._key, "<u8")


def _digest(names: tuple[str | int, ...]) -> bytes:
    return hashlib.sha256(_encoder.encode(names).encode("utf-8")).digest()[:16]
