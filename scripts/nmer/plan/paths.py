"""Paths of the files of an experiment, one method per kind of file, shared by rules, status and report."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from nmer.corpora.registry import source_files
from nmer.errors import DataError
from nmer.figures import VALUES, sources
from nmer.names import ALL_CLEAN_SCORES, DATA_FOLDER, TRAINED, UNIMODAL_SYSTEMS, corruption_name, predictions_path
from nmer.plan.extraction import RawDataset
from nmer.plan.grid import Drawing, Elsewhere, Grid, Training
from nmer.systems.registry import regimes

RESULTS = Path("results")
HISTORY = "history.csv"
"""File that replaces the weights of a training if they are not kept."""

FIGURE_3 = "figure3"
"""The figure with the distances for the claims."""

SWEEP = "sweep"
"""Name of the table of the sweep."""

LEVELS = "levels"
"""Name of the table of curves over levels."""

SIZES_TABLE = 1
"""Number of the table of classes and sizes, which is made from validation reports. The others are made from scores."""

STATISTICS = ("chance", "intervals", "comparisons", "ranks", "confusion")


class Paths(Grid):
    """The files of an experiment."""

    def __init__(self, config: dict[str, Any], command_line: dict[str, Any] | None = None) -> None:
        """See :class:`Grid`."""
        super().__init__(config, command_line)
        self.folder: Path = RESULTS / self.name
        self._raw: dict[str, RawDataset] = {}
        for dataset in self.raw_datasets:
            self.raw(dataset).check()

    @property
    def data(self) -> str:
        """The folder of the user's corpora."""
        folder: str = self.config.get("data", DATA_FOLDER)
        return folder

    @staticmethod
    def features(dataset: str) -> Path:
        """The feature store of a dataset."""
        return RESULTS / "features" / f"{dataset}.h5"

    @staticmethod
    def noisy(dataset: str, corruption: str) -> Path:
        """The noisy embeddings of a dataset."""
        return RESULTS / "noisy" / dataset / f"{corruption}.h5"

    def model(self, dataset: str, system: str, regime: str, fold: int | str, corruption: str | None = None) -> Path:
        """Return the weights of a training job; those of a stage-A pretraining are in ``teachers``."""
        if not regimes(self._system(system)):
            return self.folder / "teachers" / dataset / system / f"fold{fold}" / "model.safetensors"
        run = self.folder / "runs" / dataset / system / regime
        return run / (corruption or "") / f"fold{fold}" / "model.safetensors"

    def trained(self, training: Training) -> Path:
        """Return the weights that a training job makes."""
        level = training.corruption.name if training.corruption else None
        place = f"{TRAINED}{training.trained_at}" if training.trained_at else level
        return self.model(training.dataset, training.system, training.regime, training.fold, place)

    def system_check(self, system: str) -> list[Path]:
        """Return the check file that a user-defined system needs before its trainings; empty for shipped systems."""
        return [self.folder / "checks" / f"{system}.txt"] if "file" in self._overrides(system) else []

    def scores(self) -> list[Path]:
        """Return the scores of every evaluation job: those of trainings at their own level, then those at any level."""
        root = self.folder / "scores"
        own = [
            root / dataset / system / regime / f"{corruption.name if corruption else ALL_CLEAN_SCORES}.csv"
            for dataset, system, regime, corruption in self.evaluations()
        ]
        return own + [self._elsewhere_scores(evaluation) for evaluation in self.elsewhere()]

    def shown_scores(self) -> list[Path]:
        """Return the scores that tables and statistics show; of several trainings, each at its own level (SPEC 15)."""
        hidden = {
            self._elsewhere_scores(one)
            for one in self.elsewhere()
            if len(self.trained_at) > 1 and one.trained_at != one.corruption.name
        }
        return [path for path in self.scores() if path not in hidden]

    def predictions(self) -> list[Path]:
        """Return the predictions of the scores that tables show."""
        return [predictions_path(path) for path in self.shown_scores()]

    def _elsewhere_scores(self, one: Elsewhere) -> Path:
        place = self.folder / "scores" / one.dataset / one.system / one.regime / f"{TRAINED}{one.trained_at}"
        return place / f"{one.corruption.name}.csv"

    def all_predictions(self) -> list[Path]:
        """Return the predictions of every evaluation job."""
        return [predictions_path(path) for path in self.scores()]

    def chance(self) -> Path:
        """The verdicts on which trainings are at chance."""
        return self.folder / "statistics" / "chance.csv"

    def table_stems(self) -> list[Path]:
        """The tables, without suffix."""
        return [self.folder / "tables" / f"table{number}" for number in self.tables]

    def compared(self) -> dict[str, Path]:
        """Return the experiments that the report compares with this one -> the path of the table without suffix."""
        return {name: self.folder / "tables" / f"beside_{name}" for name in self.experiment.get("compare_with", [])}

    def check_compared(self) -> None:
        """Raises DataError unless the experiments that the report compares with this one have scores."""
        for other in self.compared():
            scores = RESULTS / other / "scores.csv"
            if not scores.exists():
                # Where the report exists, Snakemake makes this file only if it is named.
                named = f" -- {scores}" if scores.with_name("report.html").exists() else ""
                raise DataError(
                    f"experiments.{self.name}.compare_with: {scores} does not exist. "
                    f"Make it first (nmer run {other}{named}), or remove '{other}' from the list."
                )

    def all_table_stems(self) -> list[Path]:
        """Return the tables of the paper, then those of sweeps and levels, without suffix."""
        return [*self.table_stems(), *self.study_stems()]

    def study_stems(self) -> list[Path]:
        """The tables of the experiment's sweep and of its scores over levels, without suffix."""
        return [self.folder / "tables" / name for name, run in ((SWEEP, self.sweep), (LEVELS, self.has_curves)) if run]

    def sweep_histories(self) -> list[Path]:
        """The histories of the trainings that the sweep makes."""
        own = {self.trained_as(system) for system in self.sweep}
        return [self.trained(run).with_name(HISTORY) for run in self.trainings() if run.system in own]

    def figure_stems(self) -> list[Path]:
        """The figures, without suffix, in the report's order."""
        return [self.folder / "figures" / name for name in self.drawings]

    def figure_sources(self, drawing: Drawing, folder: Path | None = None) -> dict[str, list[Path]]:
        """Return the files that a figure reads, by declared source.

        folder: the folder with the collected scores and the statistics, by default the experiment's.
        """
        folder = folder or self.folder
        datasets = [drawing.dataset] if drawing.dataset else self.datasets
        panels = [panel for dataset in datasets for panel in self.panels(dataset)]
        statistics = {name: [folder / "statistics" / f"{name}.csv"] for name in STATISTICS}
        files: dict[str, list[Path]] = {
            **statistics,
            "scores": [folder / "scores.csv"],
            "contributions": [folder / "statistics" / "contributions.h5"],
            "sweep": [folder / "tables" / f"{SWEEP}.csv"],
            "predictions": [path for path in self.predictions() if self._dataset_of(path) in datasets],
            "histories": [path for dataset in datasets for path in self.histories(dataset)],
            "calibration": [RESULTS / "calibration" / f"{dataset}.csv" for dataset in datasets],
            "points": [panel.with_name(f"{panel.name}_points.csv") for panel in panels],
            "distances": [panel.with_name(f"{panel.name}_distances.csv") for panel in panels],
        }
        return {name: files[name] for name in sources(self._figure(drawing.figure)) if name not in VALUES}

    def _dataset_of(self, scores: Path) -> str:
        return scores.relative_to(self.folder / "scores").parts[0]

    def distances(self) -> list[Path]:
        """The distances of Figure 3 of every dataset, if the experiment draws it."""
        return [
            self.folder / "figures" / f"{name}.csv"
            for name, drawing in self.drawings.items()
            if drawing.figure == FIGURE_3
        ]

    def panels(self, dataset: str) -> list[Path]:
        """Return the t-SNE panels of Figure 3, without suffix: one per SNR of the reference or configured noises."""
        noises = self.experiment.get("embedding", {}).get("noise")
        names = (
            [corruption_name(noise, level) for noise in self.reference_noises for level in self.levels(noise)]
            if noises is None
            else [corruption.name for kind in noises for corruption in self._levels.corruptions(kind)]
        )
        return [self.folder / "embeddings" / dataset / name for name in names]

    def histories(self, dataset: str) -> list[Path]:
        """Return the histories of the training curves: the reference noise at its mildest and hardest level.

        These are trainings for the incomplete conditions, or on clean data if a system has no others.
        """
        run = [
            corruption_name(noise, level)
            for noise in self.reference_noises
            for level in sorted(self.levels(noise), key=lambda level: 0 if level is None else -level)
        ]
        noisy = list(dict.fromkeys((run[0], run[-1])))
        histories = []
        for system in (name for name in self.trained_systems if name not in UNIMODAL_SYSTEMS):
            regime, places = (
                ("incomplete", noisy) if "incomplete" in self.regimes(dataset, system) else ("clean", [None])
            )
            if not {regime} & set(self.regimes(dataset, system)):
                continue
            if self.trained_at and regime != "clean":
                own = [place for place in noisy if place in self.trained_at] or list(self.trained_at)[:1]
                places = [f"{TRAINED}{place}" for place in own]
            for place, fold in itertools.product(places, self.folds(dataset)):
                trained = self.model(dataset, self.trained_as(system), regime, fold, place)
                histories.append(trained.with_name(HISTORY))
        return list(dict.fromkeys(histories))

    def all_histories(self) -> list[Path]:
        """Return the histories of every training, including pretrainings."""
        return [self.trained(training).with_name(HISTORY) for training in self.trainings()]

    def raw(self, dataset: str) -> RawDataset:
        """A dataset of raw media."""
        if dataset not in self._raw:
            self._raw[dataset] = RawDataset(dataset, self.config["datasets"][dataset], self.data)
        return self._raw[dataset]

    def is_raw(self, dataset: str) -> bool:
        """Whether the features of a dataset are extracted from raw media."""
        return "raw" in self.config["datasets"][dataset]

    @property
    def raw_datasets(self) -> list[str]:
        """The experiment's datasets of raw media."""
        return [dataset for dataset in self.datasets if self.is_raw(dataset)]

    @property
    def generated_media(self) -> list[str]:
        """The experiment's datasets of generated media."""
        return [dataset for dataset in self.raw_datasets if self.raw(dataset).generated]

    @property
    def generated_datasets(self) -> list[str]:
        """The generated datasets of any experiment."""
        return [name for name, section in self.config["datasets"].items() if "generate" in section]

    @property
    def readable_datasets(self) -> list[str]:
        """The datasets with a feature store: those of any experiment, but of raw media only the experiment's."""
        return [name for name in self.config["datasets"] if name in self.datasets or not self.is_raw(name)]

    def raw_files(self, dataset: str) -> list[Path]:
        """The raw files of a dataset that is not generated, sorted."""
        section = self.config["datasets"][dataset]
        root = Path(self.data) / section["path"]
        own = self.modalities(dataset)
        return source_files(section["layout"], root, section.get("file"), own, options=section.get("options"))
