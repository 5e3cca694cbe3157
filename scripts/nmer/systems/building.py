"""Build a system by name. Only its file is imported."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nmer.errors import ConfigError
from nmer.systems.blocks.layers import initialise
from nmer.systems.interface import System
from nmer.systems.registry import systems, unfit


def build_system(
    name: str,
    dims: dict[str, int],
    classes: int,
    dropout: float = 0.5,
    options: dict[str, Any] | None = None,
    file: str | None = None,
) -> System:
    """Build and initialise a system (SPEC 3.2), with options that are not given at their default.

    name: of a shipped system, or of one in ``file``. dims: width of each modality of the corpus. classes: number of
    classes. dropout: rate of the classifier. Raises ConfigError for an unknown option, an impossible value, and
    modalities that the system does not support.
    """
    options = options or {}
    constructor = systems.load(name, file)
    declaration = systems.declaration(name, file)
    declaration.check_options(options, f"systems.{name}")
    if reason := unfit(declaration, options, dims):
        raise ConfigError(f"systems.{name}: it cannot read the modalities {', '.join(dims)}: {reason}.")
    built = constructor(dims=dims, classes=classes, dropout=dropout, **options)
    if lost := next((option for option, value in options.items() if getattr(built, option, value) != value), None):
        raise ConfigError(
            f"systems.{name}: its constructor does not pass '{lost}' on. Take **options, and call "
            "super().__init__(dims, classes, dropout, **options)."
        )
    if built.initialisation == "kaiming":
        initialise(built)
    return built


FILLS = (Tensor.uniform_, Tensor.normal_, nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)
"""Functions that fill a tensor with random values. Other functions of ``nn.init`` call these."""


def build_to_restore(
    restored: Collection[str],
    name: str,
    dims: dict[str, int],
    classes: int,
    dropout: float = 0.5,
    options: dict[str, Any] | None = None,
    file: str | None = None,
) -> System:
    """Build a system without drawing the initial weights that will be overwritten.

    restored: names of the parameters that will be loaded from a file; their values are undefined until then. Other
    arguments and errors as in :func:`build_system`.
    """
    build = partial(build_system, name, dims, classes, dropout, options)
    if file is not None:
        # A custom system may seed the generator and draw values that are not in the file, which depend on every draw.
        return build(file)
    with _ParametersNotDrawn() as mode:
        built = build()
    loaded = {id(value) for key, value in built.named_parameters(remove_duplicate=False) if key in restored}
    if all(id(parameter) in loaded for parameter in mode.undefined):
        return built
    # The constructor also draws values that are not in the file, from which it may compute others.
    return build()


class _ParametersNotDrawn(TorchFunctionMode):
    """Skip functions that fill a parameter with random values. Draws from a generator of the system are kept.

    undefined: parameters that were not filled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.undefined: list[nn.Parameter] = []

    def __torch_function__(
        self, function: Any, types: Any, given: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        """Intercept a function of the framework."""
        named = named or {}
        if function in FILLS:
            filled = given[0] if given else named["tensor"]
            others = [*given[1:], *named.values()]
            if isinstance(filled, nn.Parameter) and not any(isinstance(each, torch.Generator) for each in others):
                self.undefined.append(filled)
                return filled
        return function(*given, **named)
