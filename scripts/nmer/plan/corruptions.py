"""The levels of an experiment's noise kinds: SNRs in dB, or rates of a kind that declares an option as its level.

A rate runs as a separate noise without an SNR, such as ``drop_frames_0.3``: the kind with this option.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nmer.errors import ConfigError, nearest
from nmer.names import FRESH, MIXED, OWN_LEVEL, corruption_name, plain_number
from nmer.noise.registry import has_snr, level_option, noise_kinds
from nmer.plan.reserved import refuse_reserved
from nmer.plugins import Declaration
from nmer.references.registry import REFERENCES

OWN_KEYS = ("file", "kind")
"""Keys of a noise in ``noise.kinds`` that are not options of its plug-in."""


@dataclass(frozen=True)
class Corruption:
    """A noise at a level; its ``name`` is the stem of its files."""

    noise: str
    snr_db: float | None

    @property
    def name(self) -> str:
        """E.g. ``gaussian_-10dB``, ``drop_frames_0.3``."""
        return corruption_name(self.noise, self.snr_db)


class Levels:
    """The noise kinds of an experiment and the levels at which they are run."""

    def __init__(self, section: Mapping[str, Any], experiment: Mapping[str, Any]) -> None:
        """section: ``noise.kinds`` of the configuration. experiment: checked by :func:`check_levels`."""
        self._section = section
        self._rates: dict[str, tuple[str, float]] = {}
        self.listed: dict[str, list[float]] = {}
        """Noise kind -> its levels, SNRs or rates; empty for a kind without levels."""
        snr_db, levels = experiment.get("snr_db", []), experiment.get("levels", {})
        for kind in experiment["noise"]:
            listed = levels.get(kind, [])
            if not listed and has_snr(declaration_of(section, kind)):
                listed = snr_db[kind] if isinstance(snr_db, dict) else snr_db
            self.listed[kind] = list(map(plain_number, listed))

    def corruptions(self, kind: str, levels: Iterable[float] | None = None) -> list[Corruption]:
        """Return a noise kind at some levels, by default those of the experiment; one entry if it has no levels."""
        listed = self.listed[kind] if levels is None else list(map(plain_number, levels))
        if not listed:
            return [Corruption(kind, None)]
        if has_snr(declaration_of(self._section, kind)):
            return [Corruption(kind, level) for level in listed]
        named = {f"{kind}_{rate}": (kind, rate) for rate in listed}
        self._rates |= named
        return [Corruption(name, None) for name in named]

    def rates(self) -> dict[str, dict[str, float]]:
        """Return noise kind -> the names of its rates, with the rates, ascending; only for kinds with rates."""
        of_kinds: dict[str, dict[str, float]] = {}
        for name, (kind, rate) in sorted(self._rates.items(), key=lambda item: item[1][1]):
            of_kinds.setdefault(kind, {})[name] = rate
        return {kind: of_kinds[kind] for kind in self.listed if kind in of_kinds}

    def expanded(self, listed: Any) -> list[Corruption]:
        """Return the noises of a list of SNRs (for every kind with an SNR) or of a mapping from kinds to levels."""
        if isinstance(listed, Mapping):
            return [one for kind, levels in listed.items() for one in self.corruptions(kind, levels)]
        kinds = [kind for kind in self.listed if has_snr(declaration_of(self._section, kind))]
        return [one for kind in kinds for one in self.corruptions(kind, listed)] if listed else []

    def trained_at(self, listed: Any) -> dict[str, Corruption | None]:
        """Return the training levels by the name of their folder: ``mixed``, ``clean`` or a level with its noise.

        listed: the key ``train_at``, if not ``own``.
        """
        if isinstance(listed, Mapping):
            return {one.name: one for one in self.expanded(listed)}
        entries = [listed] if isinstance(listed, str) else listed
        words = [entry for entry in entries if isinstance(entry, str)]
        numbers = [entry for entry in entries if not isinstance(entry, str)]
        return {**dict.fromkeys(words), **{one.name: one for one in self.expanded(numbers)}}

    def described(self, noise: str) -> dict[str, Any]:
        """Return the configuration of a noise: its ``kind``, ``file`` and options."""
        kind, rate = self._rates.get(noise, (noise, None))
        section: dict[str, Any] = {"kind": kind, **self._section.get(kind, {})}
        return section if rate is None else section | {level_option(declaration_of(self._section, kind)): float(rate)}


def declaration_of(section: Mapping[str, Any], kind: str) -> Declaration:
    """Return the declaration of the plug-in of a noise. section: ``noise.kinds`` of the configuration."""
    noise = section.get(kind, {})
    return refuse_reserved(noise_kinds.declaration(noise.get("kind", kind), noise.get("file")), OWN_KEYS)


def check_levels(section: Mapping[str, Any], experiment: Mapping[str, Any], where: str) -> None:
    """Check that every noise kind with levels has them once, and within bounds. where: key of the experiment.

    Raises ConfigError for the first fault.
    """
    snr_db, levels = experiment.get("snr_db"), experiment.get("levels", {})
    of_kinds = snr_db if isinstance(snr_db, dict) else {}
    for kind in experiment["noise"]:
        if not has_snr(declaration_of(section, kind)):
            continue
        if kind in levels and (kind in of_kinds or isinstance(snr_db, list)):
            raise ConfigError(f"{where}.levels: noise kind '{kind}' also has SNRs in snr_db. Keep one of them.")
        if kind not in levels and kind not in of_kinds and not isinstance(snr_db, list):
            raise ConfigError(f"{where}.snr_db: no list for noise kind '{kind}'. Add one.")
    for key, lists in (("snr_db", of_kinds), ("levels", levels)):
        for kind in lists:
            if kind not in experiment["noise"]:
                hint = nearest(kind, experiment["noise"])
                raise ConfigError(f"{where}.{key}: '{kind}' is not in the experiment's noise. {hint}")
    for kind in of_kinds:
        if not has_snr(declaration_of(section, kind)):
            remedy = "List its rates in levels" if level_option(declaration_of(section, kind)) else "Remove its list"
            raise ConfigError(f"{where}.snr_db: noise kind '{kind}' has no SNR. {remedy}.")
    check_listed(section, levels, experiment, f"{where}.levels")
    if snr_db and not any(has_snr(declaration_of(section, kind)) for kind in experiment["noise"]):
        with_rates = any(level_option(declaration_of(section, kind)) for kind in experiment["noise"])
        remedy = "Remove the list; rates belong in levels" if with_rates else "Remove the list"
        raise ConfigError(f"{where}.snr_db: no noise kind of the experiment has an SNR. {remedy}.")


def check_listed(
    section: Mapping[str, Any], levels: Mapping[str, Any], experiment: Mapping[str, Any], where: str
) -> None:
    """Check that noise kinds with a list have levels, and the bounds of these. where: the key of the lists."""
    for kind, listed in levels.items():
        declaration = declaration_of(section, kind)
        if has_snr(declaration):
            continue
        option = level_option(declaration)
        if not option:
            raise ConfigError(f"{where}: noise kind '{kind}' has no level. Remove its list.")
        for rate in listed:
            declaration.check_options({option: float(rate)}, f"{where}.{kind}")
            name = f"{kind}_{plain_number(rate)}"
            if name in section or name in experiment["noise"]:
                raise ConfigError(
                    f"{where}.{kind}: the rate {rate} runs as '{name}', but another noise has this name. Rename it."
                )


def check_studies(config: Mapping[str, Any], experiment: Mapping[str, Any], where: str) -> None:
    """Check ``train_at`` and ``test_at``: their kinds and levels, and combinations with other keys.

    Raises ConfigError for the first fault. where: key of the experiment, whose levels must have been checked.
    """
    section = config.get("noise", {}).get("kinds", {})
    with_snr = [kind for kind in experiment["noise"] if has_snr(declaration_of(section, kind))]
    for key in ("train_at", "test_at"):
        listed = experiment.get(key, [])
        if isinstance(listed, Mapping):
            for kind in listed:
                if kind not in experiment["noise"]:
                    hint = nearest(kind, experiment["noise"])
                    raise ConfigError(f"{where}.{key}: '{kind}' is not in the experiment's noise. {hint}")
            check_listed(section, listed, experiment, f"{where}.{key}")
        elif not isinstance(listed, str) and not with_snr and any(not isinstance(entry, str) for entry in listed):
            raise ConfigError(f"{where}.{key}: no noise kind of the experiment has an SNR. Give a list per kind.")
    trained = experiment.get("train_at", OWN_LEVEL)
    if trained == OWN_LEVEL and "test_at" not in experiment:
        return
    rows = [system for system in experiment["systems"] if system in REFERENCES]
    if rows:
        raise ConfigError(
            f"{where}.systems: '{rows[0]}' is always trained at its test level, so train_at and test_at do not apply. "
            "Remove the reference row or these keys."
        )
    mixed = trained == MIXED or (isinstance(trained, list) and MIXED in trained)
    if mixed and config.get("noise", {}).get("train_draws") == FRESH:
        raise ConfigError(
            f"{where}.train_at: mixed levels do not support fresh noise. Set noise.train_draws to a number."
        )
