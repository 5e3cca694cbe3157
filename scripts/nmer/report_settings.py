"""Settings of tables, figures and the report of an experiment, written by the plan and read by the steps.

Not for settings of trainings and evaluations: see ``nmer.plan.settings``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Self

from nmer.command import fill
from nmer.metrics import METRICS, SHOWN
from nmer.names import (
    ALL_CLEAN,
    ALL_NOISY,
    EVERY_CONDITION,
    MODALITIES,
    UNIMODAL_SYSTEMS,
    default_reference,
    in_paper_order,
    incomplete_conditions,
)


@dataclass(frozen=True)
class DatasetSettings:
    """A dataset in tables, figures and the report.

    paper_name: the paper's name of the corpus, whose numbers are shown next to ours. synthetic: whether it is
    generated. evaluation: whether every utterance is scored under all conditions or under one. modalities: those of the
    corpus, in the order a, v, l.
    """

    paper_name: str | None = None
    synthetic: bool = False
    evaluation: str = EVERY_CONDITION
    modalities: tuple[str, ...] = MODALITIES


@dataclass(frozen=True)
class UnimodalSettings:
    """The uni-modality benchmark (Table 4).

    datasets: those that it is run on. snr_db: its SNRs, empty if the reference noise has none. clean_reference: whether
    it is also run without noise.
    """

    datasets: list[str]
    snr_db: list[float]
    clean_reference: bool = False


@dataclass(frozen=True)
class ReportSettings:
    """An experiment in tables, figures and the report.

    datasets: name -> its settings. systems: in the order of the configuration. snr_db: noise kind -> SNRs in dB, empty
    for a kind without an SNR. reference_noise: the kind of Tables 3 to 5. all_noisy_snr_db: the SNRs of Table 5; empty
    means all of the reference noise. unimodal: None if no uni-modal system was run. metrics: those shown. conditions:
    the incomplete conditions that were scored; empty means all.
    reference: the system that the others are compared with; empty means NMER, or the first.
    rates: noise kind -> the noises that are its rates, with the rates, ascending. titles: printed names that the
    configuration gives to systems.
    experiment, config, jobs, descriptions: name, effective configuration, number of training jobs, and a line on each
    user-defined system and variant; used by the report only.
    """

    datasets: dict[str, DatasetSettings]
    systems: list[str]
    snr_db: dict[str, list[float]]
    reference_noise: str
    all_noisy_snr_db: tuple[float, ...] = ()
    unimodal: UnimodalSettings | None = None
    metrics: tuple[str, ...] = SHOWN
    conditions: tuple[str, ...] = ()
    reference: str = ""
    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    experiment: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    jobs: int | None = None
    descriptions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> Self:
        """Read settings from a step's JSON. Raises ConfigError for an unknown or a missing key."""
        typed = fill(cls, mapping, "--settings")
        datasets = {
            name: fill(DatasetSettings, about, f"--settings: datasets.{name}")
            for name, about in mapping["datasets"].items()
        }
        datasets = {name: replace(about, modalities=tuple(about.modalities)) for name, about in datasets.items()}
        unimodal = typed.unimodal and fill(UnimodalSettings, mapping["unimodal"], "--settings: unimodal")
        lists = {name: tuple(getattr(typed, name)) for name in ("metrics", "conditions", "all_noisy_snr_db")}
        return cls(**mapping | {"datasets": datasets, "unimodal": unimodal} | lists)

    def to_mapping(self) -> dict[str, Any]:
        """Return the settings as a JSON object, without keys at their default."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {item.name: values[item.name] for item in fields(self) if getattr(self, item.name) != _default(item)}

    def to_json(self) -> str:
        """Return a JSON string with sorted keys, as Snakemake compares it."""
        return json.dumps(self.to_mapping(), sort_keys=True)

    @property
    def target(self) -> str:
        """The target of the metrics: what the systems predict."""
        return METRICS[self.metrics[0]].target

    @property
    def multimodal_systems(self) -> list[str]:
        """The multimodal systems in the paper's row order."""
        return [system for system in in_paper_order(self.systems) if system not in UNIMODAL_SYSTEMS]

    @property
    def reference_system(self) -> str:
        """The system that the others are compared with: as set, else NMER if it runs, else the first; may be empty."""
        multimodal = [system for system in self.systems if system not in UNIMODAL_SYSTEMS]
        return self.reference or default_reference(multimodal)

    @property
    def unimodal_systems(self) -> list[str]:
        """The uni-modal systems in the order of their modalities."""
        return [system for system in UNIMODAL_SYSTEMS if system in self.systems]

    @property
    def unimodal_places(self) -> list[tuple[str, float | None, str]]:
        """Levels of Table 4 as (noise, SNR in dB, condition): clean if it was run, then least noise first.

        The condition of the clean level is always ``avl``, for any modalities of a dataset.
        """
        if self.unimodal is None:
            return []
        clean: list[tuple[str, float | None, str]] = [("", None, ALL_CLEAN)] if self.unimodal.clean_reference else []
        snrs = sorted(self.unimodal.snr_db, reverse=True)
        levels = [(self.reference_noise, snr_db) for snr_db in snrs] or self.reference_levels
        return clean + [(noise, level, ALL_NOISY) for noise, level in levels]

    @property
    def reference_levels(self) -> list[tuple[str, float | None]]:
        """The levels of the reference noise, least noise first; if it is a rate, all rates of its kind."""
        own = (list(noises) for noises in self.rates.values() if self.reference_noise in noises)
        return [(noise, level) for noise in next(own, [self.reference_noise]) for level in self.levels(noise)]

    @property
    def all_noisy_levels(self) -> list[tuple[str, float | None]]:
        """The levels of Table 5, least noise first: those of the reference noise, or the listed ones of these."""
        wanted = self.all_noisy_snr_db
        return [(noise, level) for noise, level in self.reference_levels if not wanted or level in wanted]

    @property
    def reference_noises(self) -> list[str]:
        """The reference noise, or all rates of its kind if it is a rate."""
        return list(dict.fromkeys(noise for noise, _level in self.reference_levels))

    def levels(self, noise: str) -> list[float | None]:
        """Return the SNRs of a noise kind in dB, least noise first; ``[None]`` without an SNR, empty if not run."""
        if noise not in self.snr_db:
            return []
        levels: list[float | None] = [*self.snr_db[noise]] or [None]
        return sorted(levels, key=lambda snr_db: 0 if snr_db is None else -snr_db)

    def incomplete(self, modalities: Iterable[str]) -> tuple[str, ...]:
        """Return the scored incomplete conditions of a corpus with these modalities."""
        possible = incomplete_conditions(modalities)
        return tuple(name for name in possible if not self.conditions or name in self.conditions)

    @property
    def averaged_over(self) -> str:
        """The conditions that averages are over, in words."""
        return f"the conditions {', '.join(self.conditions)}" if self.conditions else "the incomplete conditions"

    def dataset(self, name: str) -> DatasetSettings:
        """Return the settings of a dataset, with defaults for one that was not run."""
        return self.datasets.get(name, DatasetSettings())


def _default(item: Any) -> Any:
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING else MISSING
