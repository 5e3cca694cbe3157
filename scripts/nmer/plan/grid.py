"""The grid of an experiment: its datasets, noises, levels, folds, systems and training jobs.

Pure except for reading plug-in declarations.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from nmer.corpora.registry import layouts
from nmer.errors import ConfigError
from nmer.figures import figures, fits_target, per_dataset, position, sources
from nmer.metrics import SHOWN_BY_DEFAULT
from nmer.names import MIXED, OWN_LEVEL, UNIMODAL_SYSTEMS, default_reference, incomplete_conditions, plain_number
from nmer.plan.config import check_config, check_shape, declared_modalities, schema
from nmer.plan.corruptions import Corruption, Levels
from nmer.plan.extraction import with_raw_defaults
from nmer.plan.prediction_targets import target_of
from nmer.plan.settings import merged_training
from nmer.plan.sweeps import swept_values
from nmer.plan.values import normalised
from nmer.plan.variants import Systems
from nmer.plugins import Declaration
from nmer.references.registry import REFERENCES
from nmer.systems.registry import check_teacher, regimes, unfit

ALL_TABLES = (1, 2, 3, 4, 5)
REFERENCE_NOISE = "gaussian"


@dataclass(frozen=True)
class Drawing:
    """One figure to draw: its plug-in and dataset (empty if it shows all). ``name`` is the stem of its files."""

    figure: str
    dataset: str = ""

    @property
    def name(self) -> str:
        """E.g. ``robustness``, or ``recall_mosi``."""
        return f"{self.figure}_{self.dataset}" if self.dataset else self.figure


@dataclass(frozen=True)
class Training:
    """One training job: all repeats of a system (or of a stage-A pretraining) on one fold.

    trained_at: its training level if it is tested at other levels too (SPEC 15); otherwise empty.
    """

    dataset: str
    system: str
    regime: str
    fold: int
    corruption: Corruption | None = None
    trained_at: str = ""


class Elsewhere(NamedTuple):
    """An evaluation of a training at a level that may differ from its own. trained_at: as for :class:`Training`."""

    dataset: str
    system: str
    regime: str
    corruption: Corruption
    trained_at: str


class Grid:
    """The grid of the experiment named by ``config["experiment"]``."""

    def __init__(self, config: dict[str, Any], command_line: dict[str, Any] | None = None) -> None:
        """config: the whole configuration. command_line: the part of it that ``--config`` gave.

        Raises ConfigError or DataError with one message if anything is wrong.
        """
        config = normalised(config, schema(), command_line or {})
        check_shape(config)
        config = check_config(with_raw_defaults(config))
        self.config = config
        self.name: str = config["experiment"]
        self.experiment: dict[str, Any] = config["experiments"][self.name]
        self.datasets: list[str] = self.experiment["datasets"]
        self.systems: list[str] = self.experiment["systems"]
        self.repeats: int = self.experiment.get("repeats", 3)
        self.tables: list[int] = self.experiment.get("tables", list(ALL_TABLES))
        self.target = target_of(config["datasets"][self.datasets[0]])
        self.figures: list[str] = sorted(self._wanted_figures(), key=self._position)
        self.metrics: tuple[str, ...] = tuple(self.experiment.get("metrics", SHOWN_BY_DEFAULT[self.target]))
        self.conditions: tuple[str, ...] = tuple(self.experiment.get("conditions", ()))
        """The incomplete conditions that are scored; empty means all."""
        multimodal = [system for system in self.trained_systems if system not in UNIMODAL_SYSTEMS]
        self.reference: str = self.experiment.get("reference") or default_reference(multimodal)
        self.training: dict[str, Any] = merged_training(config.get("training", {}), self.experiment.get("training", {}))
        self._levels = Levels(config.get("noise", {}).get("kinds", {}), self.experiment)
        overrides = self.experiment.get("system_options", {})
        self._named = Systems(config.get("systems", {}), overrides, self.systems, self.training)
        for dataset in self.datasets:
            self.folds(dataset)
        for system in self.systems:
            self._check_teacher(system)
            if system not in REFERENCES:
                self._check_modalities(system)
        self.sweep: dict[str, dict[str, Any]] = swept_values(self.experiment.get("sweep", {}))
        """Variant of the sweep -> option or training key -> its value; empty without one."""
        if not self._shown_levels:
            raise ConfigError(
                f"experiments.{self.name}.test_at: tables show each level of train_at at its own test level, but none "
                "of these is tested. Add one of them to test_at."
            )
        self._check_all_noisy()
        self.drawings = self._drawings()

    @property
    def trained_systems(self) -> list[str]:
        """The systems that are trained, with repeats."""
        return [system for system in self.systems if system not in REFERENCES]

    @property
    def reference_systems(self) -> list[str]:
        """The reference rows, which are trained and scored in one job."""
        return [system for system in self.systems if system in REFERENCES]

    @cached_property
    def snr_db(self) -> dict[str, list[float]]:
        """Target SNRs per noise; empty for a noise without an SNR, such as each rate of a kind that has rates."""
        levels: dict[str, list[float]] = {}
        for corruption in self._shown_levels:
            own = levels.setdefault(corruption.noise, [])
            own += [] if corruption.snr_db is None else [corruption.snr_db]
        return levels

    @cached_property
    def listed(self) -> dict[str, Corruption]:
        """The noise kinds at the levels of the experiment, by file stem."""
        return {one.name: one for kind in self.experiment["noise"] for one in self._levels.corruptions(kind)}

    @cached_property
    def trained_at(self) -> dict[str, Corruption | None]:
        """Training level -> its noise; empty if each training is tested only at its own level."""
        train_at = self.experiment.get("train_at", OWN_LEVEL)
        if train_at == OWN_LEVEL:
            return dict(self.listed) if "test_at" in self.experiment else {}
        return self._levels.trained_at(train_at)

    @cached_property
    def tested(self) -> dict[str, Corruption]:
        """The levels at which trained systems are tested, by file stem."""
        test_at = self.experiment.get("test_at")
        return dict(self.listed) if test_at is None else {one.name: one for one in self._levels.expanded(test_at)}

    @cached_property
    def _shown_levels(self) -> list[Corruption]:
        """The levels that tables show: all tested levels, or with several trainings, the level of each."""
        if len(self.trained_at) < 2:
            return list(self.tested.values())
        return [one for name, one in self.tested.items() if name in self.trained_at]

    @cached_property
    def corruptions(self) -> dict[str, Corruption]:
        """Every noise kind and level, by file stem."""
        pairs = [*self.tested.values(), *(one for one in self.trained_at.values() if one)]
        pairs += list(self.listed.values()) if MIXED in self.trained_at or not self.trained_at else []
        if self._unimodal_is_run:
            pairs += self._unimodal_levels()
        return {corruption.name: corruption for corruption in pairs}

    def levels(self, noise: str) -> list[float | None]:
        """Return the levels at which a noise is run: its SNRs, or ``[None]`` without an SNR."""
        return [*self.snr_db[noise]] or [None]

    def rates(self) -> dict[str, dict[str, float]]:
        """Return noise kind -> the noises that are its rates, with the rates, ascending; only for kinds with rates."""
        return self._levels.rates() if self.snr_db else {}

    def corruptions_of(self, dataset: str) -> list[str]:
        """Return the corruptions of one dataset; 0 dB of the uni-modality benchmark only if it runs there."""
        levels = {c.name for name, *_, c in self.evaluations() if name == dataset and c}
        levels |= {one.corruption.name for one in self.elsewhere() if one.dataset == dataset}
        if self.trained_at and any(one.dataset == dataset for one in self.elsewhere()):
            levels |= self.listed.keys() if MIXED in self.trained_at else set()
            levels |= {name for name, one in self.trained_at.items() if one}
        return [name for name in self.corruptions if name in levels]

    @property
    def reference_noise(self) -> str:
        """The noise kind of Tables 3 to 5 and Figure 3: Gaussian, or if it is not run, the first with an SNR."""
        if self.snr_db.get(REFERENCE_NOISE):
            return REFERENCE_NOISE
        return next((kind for kind, levels in self.snr_db.items() if levels), next(iter(self.snr_db)))

    @property
    def reference_noises(self) -> list[str]:
        """The reference noise, or if it is a rate of a kind, all rates of that kind, ascending."""
        of_kind = (noises for noises in self.rates().values() if self.reference_noise in noises)
        return [noise for noise in next(of_kind, [self.reference_noise]) if noise in self.snr_db]

    @property
    def all_noisy_snr_db(self) -> list[float]:
        """The SNRs in dB of the regime ``all_noisy`` and of Table 5, if the experiment lists them; empty means all."""
        listed = self.experiment.get("all_noisy", {}).get("snr_db", [])
        return [level for level in self.snr_db[self.reference_noise] if level in listed]

    @cached_property
    def unimodal(self) -> dict[str, Any]:
        """The uni-modality benchmark: datasets, levels (0 dB and the experiment's), training (SPEC 4.7)."""
        reference = self.snr_db[self.reference_noise]
        levels = sorted({0, *reference}, reverse=True) if reference else []
        defaults = {"datasets": self.datasets, "snr_db": levels, "train_clean": False, "clean_reference": False}
        section: dict[str, Any] = defaults | self.experiment.get("unimodal", {})
        return section | {"snr_db": list(map(plain_number, section["snr_db"]))}

    @property
    def _unimodal_is_run(self) -> bool:
        return 4 in self.tables and any(system in UNIMODAL_SYSTEMS for system in self.systems)

    def _wanted_figures(self) -> list[str]:
        """Return the figures of the experiment: those listed, or all whose data it has.

        A figure may declare keys of the experiment that it ``needs``. Raises ConfigError for a listed one without them.
        """
        every = dict.fromkeys([*figures.shipped(), *self.config.get("figures", {})])
        configured = [name for name in every if fits_target(self._figure(name), self.target)]
        needs = {name: self._figure(name).attributes.get("needs", ()) for name in configured}
        lacking = {name for name, keys in needs.items() if keys and not self.experiment.keys() & set(keys)}
        if "figures" not in self.experiment:
            return [name for name in configured if name not in lacking]
        listed: list[str] = self.experiment["figures"]
        for name in listed:
            if name in lacking:
                keys, where = " or ".join(needs[name]), f"experiments.{self.name}"
                raise ConfigError(f"{where}.figures: '{name}' needs {keys}. Add it, or remove the figure.")
        return listed

    def _drawings(self) -> dict[str, Drawing]:
        """Return every figure by name, in the order of the report. Raises ConfigError if two have the same name."""
        drawings: dict[str, Drawing] = {}
        for figure in self.figures:
            for dataset in self.datasets if per_dataset(self._figure(figure)) else [""]:
                drawing = Drawing(figure, dataset)
                if drawing.name in drawings:
                    other = drawings[drawing.name].figure
                    raise ConfigError(
                        f"experiments.{self.name}.figures: '{figure}' and '{other}' both draw {drawing.name}. "
                        "Rename one of them."
                    )
                drawings[drawing.name] = drawing
        return drawings

    def reads(self, source: str) -> bool:
        """Whether a figure of the experiment reads a source."""
        return any(source in sources(self._figure(figure)) for figure in self.figures)

    @property
    def draws_panels(self) -> bool:
        """Whether a figure of the experiment reads the t-SNE panels."""
        return self.reads("points") or self.reads("distances")

    def modalities(self, dataset: str) -> tuple[str, ...]:
        """The modalities of a dataset, in the order a, v, l."""
        return declared_modalities(self.config["datasets"][dataset])

    def folds(self, dataset: str) -> list[int]:
        """Return the folds that are run, 1-based: the first N of the corpus, or those that the experiment lists.

        Raises ConfigError for a listed fold that the corpus does not have.
        """
        section = self.config["datasets"][dataset]
        declared = layouts.declaration(section["layout"], section.get("file")).attributes.get("folds", 1)
        available, listed = section.get("folds", declared), self.experiment.get("folds", "all")
        if isinstance(listed, list):
            beyond = [fold for fold in sorted(listed) if fold > available]
            if beyond:
                has = f"{available} folds" if available > 1 else "one fold"
                raise ConfigError(
                    f"experiments.{self.name}.folds: fold {beyond[0]} is listed, but dataset '{dataset}' has {has}. "
                    "Correct the list, or remove the dataset."
                )
            return sorted(listed)
        return list(range(1, (available if listed == "all" else min(listed, available)) + 1))

    def regimes(self, dataset: str, system: str) -> list[str]:
        """Return the regimes that a system is trained in: those it declares, with ``all_noisy`` only for Table 5.

        A uni-modal system is trained as Table 4 requires: on noisy features, on clean ones, or on both.
        """
        if system not in UNIMODAL_SYSTEMS:
            declared = regimes(self._system(system), self._overrides(system).get("options"))
            listed = self.experiment.get("regimes", ["incomplete", *(["all_noisy"] if 5 in self.tables else [])])
            run = [regime for regime in declared if regime == "clean" or regime in listed]
            # A reference row does not need incomplete conditions, which a single modality does not have.
            return (
                run
                if incomplete_conditions(self.modalities(dataset))
                else [name for name in run if name != "incomplete"]
            )
        if not self._unimodal_is_run or dataset not in self.unimodal["datasets"]:
            return []
        clean, reference = self.unimodal["train_clean"], self.unimodal["clean_reference"]
        return (["clean"] if clean or reference else []) + ([] if clean else ["all_noisy"])

    def _training_levels(self, system: str, regime: str) -> Sequence[Corruption | None]:
        return [None] if regime == "clean" else self._noise_levels(system, regime)

    def _evaluation_levels(self, system: str, regime: str) -> Sequence[Corruption | None]:
        if system not in UNIMODAL_SYSTEMS or regime != "clean":
            return self._noise_levels(system, regime)
        noisy = self._noise_levels(system, regime) if self.unimodal["train_clean"] else []
        return ([None] if self.unimodal["clean_reference"] else []) + noisy

    def _noise_levels(self, system: str, regime: str) -> list[Corruption]:
        if system in UNIMODAL_SYSTEMS:
            return self._unimodal_levels()
        if self.trained_at:  # for systems trained on clean data
            return list(self.tested.values())
        if regime == "all_noisy" and self.all_noisy_snr_db:
            return [Corruption(self.reference_noise, level) for level in self.all_noisy_snr_db]
        noises = self.reference_noises if regime == "all_noisy" else self.snr_db
        return [Corruption(noise, level) for noise in noises for level in self.levels(noise)]

    def _unimodal_levels(self) -> list[Corruption]:
        """Return the levels of the uni-modality benchmark: its SNRs; without any, those of the reference noise."""
        if snr_db := self.unimodal["snr_db"]:
            return [Corruption(self.reference_noise, level) for level in snr_db]
        return [Corruption(noise, None) for noise in self.reference_noises]

    def trainings(self) -> list[Training]:
        """Return every training job of the experiment once, including pretraining; reference rows have none."""
        jobs: dict[Training, None] = {}
        for dataset, system in itertools.product(self.datasets, self.trained_systems):
            for regime, fold in itertools.product(self.regimes(dataset, system), self.folds(dataset)):
                if teacher := self._teacher(system):
                    jobs[Training(dataset, teacher, "clean", fold)] = None
                trained = self.trained_as(system)
                if self._is_elsewhere(system, regime):
                    for name, corruption in self.trained_at.items():
                        jobs[Training(dataset, trained, regime, fold, corruption, name)] = None
                    continue
                for level in self._training_levels(system, regime):
                    jobs[Training(dataset, trained, regime, fold, level)] = None
        return list(jobs)

    def evaluations(self) -> list[tuple[str, str, str, Corruption | None]]:
        """Return every evaluation at the training's own level or of a training on clean data: (dataset, system, regime,
        corruption); corruption is None for clean features."""
        return [
            (dataset, system, regime, corruption)
            for dataset, system in itertools.product(self.datasets, self.systems)
            for regime in self.regimes(dataset, system)
            if not self._is_elsewhere(system, regime)
            for corruption in self._evaluation_levels(system, regime)
        ]

    def elsewhere(self) -> list[Elsewhere]:
        """Return every evaluation of a training at levels that may differ from its own (SPEC 15)."""
        return [
            Elsewhere(dataset, system, regime, corruption, name)
            for dataset, system in itertools.product(self.datasets, self.systems)
            for regime in self.regimes(dataset, system)
            if self._is_elsewhere(system, regime)
            for name, corruption in itertools.product(self.trained_at, self.tested.values())
        ]

    def _is_elsewhere(self, system: str, regime: str) -> bool:
        return bool(self.trained_at) and regime != "clean" and system not in UNIMODAL_SYSTEMS

    @property
    def has_curves(self) -> bool:
        """Whether the experiment includes scores over levels, in addition to the paper's tables."""
        return bool(self.experiment.keys() & {"levels", "train_at", "test_at"})

    @property
    def downloads(self) -> list[str]:
        """The datasets of any experiment with files to download."""
        return [name for name, section in self.config["datasets"].items() if "download" in section]

    def trained_as(self, system: str) -> str:
        """Return the name under which a system is trained; a variant may share the training of its kind."""
        return self._named.trained_as(system)

    def titles(self) -> dict[str, str]:
        """Return the printed names that the configuration gives to systems of the experiment."""
        return {system: title for system in self.systems if (title := self._named.title(system))}

    @property
    def trained_names(self) -> list[str]:
        """The names under which the systems of the experiment, and those that others start from, are trained."""
        starts = [system for system in self._teachers if regimes(self._system(system))]
        return list(dict.fromkeys([*map(self.trained_as, self.trained_systems), *starts]))

    @property
    def pretrained_names(self) -> list[str]:
        """The names of the stage-A pretrainings of the experiment."""
        return [system for system in self._teachers if not regimes(self._system(system))]

    @property
    def _teachers(self) -> list[str]:
        return list(dict.fromkeys(filter(None, map(self._teacher, self.trained_systems))))

    @property
    def every_fold(self) -> list[str]:
        """The folds that are run on any dataset, as in file names."""
        return list(map(str, sorted({fold for dataset in self.datasets for fold in self.folds(dataset)})))

    def _system(self, name: str) -> Declaration:
        return self._named.declaration(name)

    def _figure(self, name: str) -> Declaration:
        return figures.declaration(name, self.config.get("figures", {}).get(name, {}).get("file"))

    def _position(self, figure: str) -> int:
        return position(self._figure(figure))

    def _teacher(self, system: str) -> str | None:
        """Return the name of the pretrained system that a system starts from."""
        return self._named.teacher(system)

    def _check_teacher(self, system: str) -> None:
        if teacher := self._teacher(system):
            options = [self._overrides(name).get("options", {}) for name in (system, teacher)]
            check_teacher(self._system(system), options[0], self._system(teacher), options[1])

    def _check_all_noisy(self) -> None:
        """Raise ConfigError for levels of the regime ``all_noisy`` that are not run, or that have no effect."""
        listed = self.experiment.get("all_noisy", {}).get("snr_db", [])
        where, noise = f"experiments.{self.name}.all_noisy.snr_db", self.reference_noise
        if listed and self.trained_at:
            raise ConfigError(f"{where}: has no effect with train_at or test_at. Remove it.")
        for level in listed:
            if level not in self.snr_db[noise]:
                levels = ", ".join(f"{own:g}" for own in self.snr_db[noise]) or "no SNR"
                raise ConfigError(
                    f"{where}: {level:g} dB is not run. The reference noise '{noise}' has {levels}. Correct the list."
                )

    def _check_modalities(self, system: str) -> None:
        """Raise ConfigError if a system or its pretraining cannot be trained on the modalities of a dataset."""
        where = f"experiments.{self.name}"
        unimodal = system in UNIMODAL_SYSTEMS
        for dataset in self.unimodal["datasets"] if unimodal else self.datasets:
            own = self.modalities(dataset)
            for name in filter(None, (system, self._teacher(system))):
                if reason := unfit(self._system(name), self._overrides(name).get("options"), own):
                    place = f"{where}.systems: '{system}' cannot be trained on dataset '{dataset}'"
                    begins = "" if name == system else f"it starts from '{name}', and "
                    remedy = (
                        f"Remove it, or list other datasets in {where}.unimodal.datasets"
                        if unimodal
                        else ("Remove the system or the dataset")
                    )
                    raise ConfigError(f"{place} (modalities {', '.join(own)}): {begins}{reason}. {remedy}.")

    def _kind(self, noise: str) -> dict[str, Any]:
        """Return the configuration of a noise, including its ``kind``."""
        return self._levels.described(noise)

    def _overrides(self, system: str) -> dict[str, Any]:
        """Return ``file`` and ``options`` of a system where they differ from the default."""
        return self._named.given(system)
