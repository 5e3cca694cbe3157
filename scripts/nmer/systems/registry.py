"""The registry of systems and functions of their declarations, which the plan reads without importing torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from nmer.errors import ConfigError
from nmer.names import incomplete_conditions, modality_set
from nmer.plugins import Declaration, Registry

if TYPE_CHECKING:
    from nmer.systems.interface import System


Constructor: TypeAlias = "Callable[..., System]"
"""What builds a system: its class, or a function that chooses a class."""


class SystemRegistry(Registry[Constructor]):
    """Systems by name. An ablation, ``ablation_of="nmer"``, inherits the attributes that it does not give."""

    def declaration(self, name: str, file: str | None = None) -> Declaration:
        """As :meth:`Registry.declaration`. The system of an ablation is searched in its file, then in the package."""
        own = super().declaration(name, file)
        whole = own.attributes.get("ablation_of")
        if whole == name:
            raise ConfigError(f"{own.file}: '{name}' is an ablation of itself. Name another system in ablation_of.")
        if whole is None or not (self.declares(own.file, whole) or whole in self.shipped()):
            return own
        base = self.declaration(whole, file if self.declares(own.file, whole) else None)
        divisors = base.attributes.get("divisors_per_modality", {})
        kept = {option: number for option, number in divisors.items() if option in own.options}
        inherited = {key: value for key, value in base.attributes.items() if key != "divisors_per_modality"}
        return replace(own, attributes=inherited | ({"divisors_per_modality": kept} if kept else {}) | own.attributes)


systems = SystemRegistry("system", "system", "nmer.systems")
system = systems.register


def regimes(declaration: Declaration, options: dict[str, Any] | None = None) -> tuple[str, ...]:
    """Return the regimes in which a system is trained; none for a stage-A pretraining. Default: both noisy regimes.

    A declaration lists them, or gives them by the value of an option: ``{"noise_flags": {False: (...), True: (...)}}``.
    options: those of the system that are not at their default.
    """
    declared = declaration.attributes.get("regimes", ("incomplete", "all_noisy"))
    if isinstance(declared, dict):
        ((option, by_value),) = declared.items()
        declared = by_value[(declaration.options | (options or {}))[option]]
    return tuple(declared)


def pretraining(declaration: Declaration, options: dict[str, Any] | None = None) -> str | None:
    """Return the pretraining whose weights a system starts from, its frozen teacher, or None.

    A declaration names it, or gives it by the value of an option: ``{"invariance": {"stacked": "shared", ...}}``.
    options: those of the system that are not at their default. Raises ConfigError if they are not possible.
    """
    options = options or {}
    declaration.check_options(options, f"systems.{declaration.name}")
    stage: str | dict[str, dict[str, str]] = declaration.attributes.get("pretraining", "none")
    if isinstance(stage, dict):
        ((option, stages),) = stage.items()
        stage = stages[(declaration.options | options)[option]]
    return None if stage == "none" else stage


def unfit(declaration: Declaration, options: dict[str, Any] | None, modalities: Iterable[str]) -> str:
    """Return why a system cannot be trained on a corpus with these modalities (SPEC 13); empty if it can.

    A declaration may give ``fewest_modalities``; ``modalities``, those that it needs, or these by the value of an
    option, ``{"form": {"ring": (), "hier": ("a", "v", "l")}}``; and ``divisors_per_modality``, options that must divide
    a number times the number of modalities, ``{"heads": 256}``. options: those that are not at their default.
    """
    own, given = modality_set(modalities), declaration.options | (options or {})
    fewest = declaration.attributes.get("fewest_modalities", 1)
    if len(own) < fewest:
        return f"it needs at least {fewest} modalities"
    if "incomplete" in regimes(declaration, options) and not incomplete_conditions(own):
        return "it is trained on incomplete conditions, which one modality does not have"
    needed, value = declaration.attributes.get("modalities", ()), ""
    if isinstance(needed, dict):
        ((option, by_value),) = needed.items()
        needed, value = by_value[given[option]], f" with {option} '{given[option]}'"
    if absent := [modality for modality in needed if modality not in own]:
        return f"it needs the modality {', '.join(absent)}{value}"
    for option, number in declaration.attributes.get("divisors_per_modality", {}).items():
        if number * len(own) % given[option]:
            whole = number * len(own)
            return f"its {option}, {given[option]}, must divide {number} times the number of modalities, {whole}"
    return ""


def check_teacher(
    declaration: Declaration, options: dict[str, Any], teacher: Declaration, teacher_options: dict[str, Any]
) -> None:
    """Check that a system and its pretraining agree in the options that the pretraining passes on.

    A pretraining names them, ``passed_on=("invariant_features",)``. A system without such an option needs it at its
    default. options, teacher_options: those that are not at their default. Raises ConfigError if they differ.
    """
    for option in teacher.attributes.get("passed_on", ()):
        default = teacher.options[option]
        wanted, given = options.get(option, default), teacher_options.get(option, default)
        if wanted != given:
            key, name = f"systems.{teacher.name}.{option}", declaration.name
            if option not in declaration.options:
                raise ConfigError(f"{key}: '{name}' starts from it but has no such option. Remove it.")
            raise ConfigError(
                f"{key}: it is {given!r}, but systems.{name}.{option} is {wanted!r}. Set both to the same value."
            )
