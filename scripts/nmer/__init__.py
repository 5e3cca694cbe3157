"""Noise-robust multimodal emotion recognition: the library behind the NMER workflow.

The names below are the public interface. Each is imported from its module on first use, so importing ``nmer`` loads
neither PyTorch nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_MODULES = {
    "Batch": "nmer.systems.interface",
    "Corrupted": "nmer.noise.features",
    "Level": "nmer.noise.calibration",
    "NmerError": "nmer.errors",
    "Schedule": "nmer.noise.schedule",
    "Sequences": "nmer.systems.interface",
    "System": "nmer.systems.interface",
    "TrainedSystem": "nmer.prediction.trained",
    "add_noise": "nmer.noise.corruption",
    "build_system": "nmer.systems.building",
    "calibrate": "nmer.noise.calibration",
    "corrupt_features": "nmer.noise.features",
    "layout": "nmer.corpora.registry",
    "load_trained": "nmer.prediction.trained",
    "noise_kind": "nmer.noise.registry",
    "noise_kinds": "nmer.noise.registry",
    "snr_db": "nmer.noise.calibration",
    "system": "nmer.systems.registry",
}

__all__ = [
    "Batch",
    "Corrupted",
    "Level",
    "NmerError",
    "Schedule",
    "Sequences",
    "System",
    "TrainedSystem",
    "__version__",
    "add_noise",
    "build_system",
    "calibrate",
    "corrupt_features",
    "layout",
    "load_trained",
    "noise_kind",
    "noise_kinds",
    "snr_db",
    "system",
]

if TYPE_CHECKING:
    from nmer.corpora.registry import layout
    from nmer.errors import NmerError
    from nmer.noise.calibration import Level, calibrate, snr_db
    from nmer.noise.corruption import add_noise
    from nmer.noise.features import Corrupted, corrupt_features
    from nmer.noise.registry import noise_kind, noise_kinds
    from nmer.noise.schedule import Schedule
    from nmer.prediction.trained import TrainedSystem, load_trained
    from nmer.systems.building import build_system
    from nmer.systems.interface import Batch, Sequences, System
    from nmer.systems.registry import system


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'nmer' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
