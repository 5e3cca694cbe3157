"""Systems with the initial weights of their repeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nmer.plan.settings import RunSettings
from nmer.seeds import derive_seed
from nmer.systems.building import FILLS
from nmer.systems.interface import System

BUILDERS = 4
"""Threads that build repeats."""


def initial_system(
    build: Callable[[], System], device: torch.device, settings: RunSettings, repeat: int, teacher: System | None
) -> System:
    """Build the system of a repeat with its initial weights, including those inherited from its teacher."""
    torch.manual_seed(weights_seed(settings, repeat))
    return _inheriting(build().to(device), teacher)


def initial_systems(
    build: Callable[[], System],
    device: torch.device,
    settings: RunSettings,
    repeats: list[int],
    teachers: Mapping[int, System],
) -> list[System]:
    """Build the systems of several repeats as :func:`initial_system` does, in threads.

    Drawing 100 million weights takes longer than an epoch on a GPU. A custom system may share state between its
    instances, so its repeats are built one after another.
    """
    if settings.file is None:
        before = torch.get_rng_state()
        with ThreadPoolExecutor(BUILDERS) as builders:
            built = list(builders.map(lambda repeat: _drawn(weights_seed(settings, repeat), build).to(device), repeats))
        # Otherwise a constructor drew from the generator that all threads share.
        if torch.equal(torch.get_rng_state(), before):
            pairs = zip(repeats, built, strict=True)
            return [_inheriting(system, teachers.get(repeat)) for repeat, system in pairs]
    return [initial_system(build, device, settings, repeat, teachers.get(repeat)) for repeat in repeats]


def weights_seed(settings: RunSettings, repeat: int) -> int:
    """Return the seed of the initial weights of a repeat."""
    return derive_seed("weights", settings.system, settings.dataset, settings.fold, repeat)


def _inheriting(system: System, teacher: System | None) -> System:
    if teacher is not None:
        system.inherit(teacher)
    return system


def _drawn(seed: int, build: Callable[[], System]) -> System:
    with _Generator(torch.Generator().manual_seed(seed)):
        return build()


class _Generator(TorchFunctionMode):
    """Draw initial values from a generator, which gives the same values as the default one with the same seed."""

    _DRAWS = (*FILLS, torch.rand, torch.randn)

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self, function: Any, types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        """Intercept a function of the framework."""
        named = dict(named or {})
        if function in self._DRAWS and named.get("generator") is None:
            named["generator"] = self._generator
        return function(*given, **named)
