"""The plan: from the configuration to the jobs of an experiment, their files, and exactly the settings of each.

Pure but for reading plug-in declarations and the digests of raw files. The rules hold no logic of their own: they ask
the plan for inputs, for ``params.settings`` (one JSON string with just what the job depends on, keys at their default
left out) and for ``params.code`` (a fingerprint of what it runs).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from nmer import planned_code
from nmer.corpora.demo import MOSEI_FILE
from nmer.corpora.registry import layouts, source_files
from nmer.digests import DIGEST_SUFFIX
from nmer.names import ALL_CLEAN_SCORES, FRESH, UNIMODAL_SYSTEMS, corruption_name, predictions_path
from nmer.noise.registry import has_snr, noise_kinds
from nmer.plan.conditions import EVERY_CONDITION
from nmer.plan.config import check_config, schema
from nmer.plan.settings import PRETRAINING, TrainingSettings, changed
from nmer.plan.sources import MEMORY, source_digests
from nmer.plan.values import normalised
from nmer.plugins import Declaration
from nmer.systems.registry import check_teacher, pretraining, regimes, systems

RESULTS = Path("results")
ALL_TABLES = (1, 2, 3, 4, 5)
FIGURES_PER_DATASET = {
    "robustness": False,
    "ranks": False,
    "conditions": True,
    "recall": True,
    "confusion": True,
    "training": True,
    "figure3": True,
    "calibration": True,
}
"""Every figure in the report's order, and whether each dataset has one of its own."""

REFERENCE_NOISE = "gaussian"
GPU_FROM_MB = 200
"""Raw size of a corpus, in megabytes, from which its jobs take a GPU by default."""

FRESH_NOISE = Path(__file__).parents[1] / "noisy_embeddings" / "fresh_noise.py"
"""Loaded by a training that draws fresh noise, and by no other."""


@dataclass(frozen=True)
class Corruption:
    """A noise kind at a level; its ``name`` is the stem of its files."""

    noise: str
    snr_db: int | None

    @property
    def name(self) -> str:
        """E.g. ``gaussian_-10dB``."""
        return corruption_name(self.noise, self.snr_db)


@dataclass(frozen=True)
class Training:
    """One training job: all repeats of a system (or of a stage-A pretraining) on one fold."""

    dataset: str
    system: str
    regime: str
    fold: int
    corruption: Corruption | None = None


class Wildcards(Protocol):
    """What Snakemake hands to the functions of a rule: each of its wildcards by name."""

    def __getattr__(self, name: str, /) -> str:
        """The value of a wildcard."""


class Plan:
    """Everything the rules ask about the experiment named by ``config["experiment"]``."""

    def __init__(self, config: dict[str, Any], command_line: dict[str, Any] | None = None) -> None:
        """config: the whole configuration. command_line: the part of it that ``--config`` gave.

        Raises ConfigError or DataError with one message if anything is wrong.
        """
        config = normalised(config, schema(), command_line or {})
        check_config(config)
        self.config = config
        self.name: str = config["experiment"]
        self.experiment: dict[str, Any] = config["experiments"][self.name]
        self.datasets: list[str] = self.experiment["datasets"]
        self.systems: list[str] = self.experiment["systems"]
        self.repeats: int = self.experiment.get("repeats", 3)
        self.tables: list[int] = self.experiment.get("tables", list(ALL_TABLES))
        self.figures: list[str] = self.experiment.get("figures", list(FIGURES_PER_DATASET))
        compute = config.get("compute", {})
        self.threads: int = compute.get("threads", 1)
        self.device: str = compute.get("device", "auto")
        self.gpu_from_mb: float = compute.get("gpu_from_mb", GPU_FROM_MB)
        self.folder: Path = RESULTS / self.name
        self.codes: dict[str, str] = {}
        """Fingerprints by step and plug-ins. A job on another machine takes those of the call that submitted it."""
        self._declarations: dict[str, Declaration] = {}
        self._raw_bytes: dict[str, int] = {}
        for system in self.systems:
            self._check_teacher(system)

    # What is run

    @cached_property
    def snr_db(self) -> dict[str, list[int]]:
        """Target SNRs per noise kind; none for a kind without an SNR."""
        levels = self.experiment["snr_db"]
        given = {
            kind: (levels[kind] if isinstance(levels, dict) else levels) if self._has_snr(kind) else []
            for kind in self.experiment["noise"]
        }
        # YAML's -10.0 is a whole number too, and shall name the same files.
        return {kind: [int(level) for level in levels] for kind, levels in given.items()}

    @cached_property
    def corruptions(self) -> dict[str, Corruption]:
        """Every noise kind and level, by file stem."""
        pairs = [Corruption(kind, level) for kind in self.snr_db for level in self.levels(kind)]
        if self._unimodal_is_run:
            pairs += [Corruption(self.reference_noise, level) for level in self.unimodal["snr_db"]]
        return {corruption.name: corruption for corruption in pairs}

    def levels(self, kind: str) -> list[int | None]:
        """The levels at which a noise kind is run: its SNRs, or None alone where it has no SNR."""
        return [*self.snr_db[kind]] or [None]

    def corruptions_of(self, dataset: str) -> list[str]:
        """The corruptions of one dataset: 0 dB of the uni-modality benchmark stands where that is run."""
        levels = {c.name: None for name, *_, c in self.evaluations() if name == dataset and c}
        return [name for name in self.corruptions if name in levels]

    @property
    def reference_noise(self) -> str:
        """The noise kind of Tables 3 to 5 and Figure 3: Gaussian, or where it is not run the first with an SNR."""
        if self.snr_db.get(REFERENCE_NOISE):
            return REFERENCE_NOISE
        return next((kind for kind, levels in self.snr_db.items() if levels), next(iter(self.snr_db)))

    @cached_property
    def unimodal(self) -> dict[str, Any]:
        """The uni-modality benchmark: datasets, levels (0 dB and the experiment's), training (SPEC 4.7)."""
        reference = self.snr_db[self.reference_noise]
        levels = sorted({0, *reference}, reverse=True) if reference else []
        defaults = {"datasets": self.datasets, "snr_db": levels, "train_clean": False, "clean_reference": False}
        given: dict[str, Any] = defaults | self.experiment.get("unimodal", {})
        return given | {"snr_db": [int(level) for level in given["snr_db"]]}

    @property
    def _unimodal_is_run(self) -> bool:
        return 4 in self.tables and any(system in UNIMODAL_SYSTEMS for system in self.systems)

    def folds(self, dataset: str) -> list[int]:
        """The folds that are run, 1-based: the experiment's number of them, at most what the corpus has."""
        section = self.config["datasets"][dataset]
        declared = layouts.declaration(section["layout"], section.get("file")).attributes.get("folds", 1)
        available, wanted = section.get("folds", declared), self.experiment.get("folds", "all")
        return list(range(1, (available if wanted == "all" else min(wanted, available)) + 1))

    def regimes(self, dataset: str, system: str) -> list[str]:
        """The regimes a system is trained in: those it declares; ``all`` only where Table 5 asks for it.

        A uni-modal system is trained where Table 4 asks for it: on noisy features, on clean ones, or on both.
        """
        if system not in UNIMODAL_SYSTEMS:
            return [regime for regime in regimes(self._system(system)) if regime != "all" or 5 in self.tables]
        if not self._unimodal_is_run or dataset not in self.unimodal["datasets"]:
            return []
        clean, reference = self.unimodal["train_clean"], self.unimodal["clean_reference"]
        return (["clean"] if clean or reference else []) + ([] if clean else ["all"])

    def _training_levels(self, system: str, regime: str) -> Sequence[Corruption | None]:
        return [None] if regime == "clean" else self._noise_levels(system, regime)

    def _evaluation_levels(self, system: str, regime: str) -> Sequence[Corruption | None]:
        if system not in UNIMODAL_SYSTEMS or regime != "clean":
            return self._noise_levels(system, regime)
        noisy = self._noise_levels(system, regime) if self.unimodal["train_clean"] else []
        return ([None] if self.unimodal["clean_reference"] else []) + noisy

    def _noise_levels(self, system: str, regime: str) -> list[Corruption]:
        if system in UNIMODAL_SYSTEMS:
            return [Corruption(self.reference_noise, level) for level in self.unimodal["snr_db"]]
        kinds = [self.reference_noise] if regime == "all" else self.snr_db
        return [Corruption(kind, level) for kind in kinds for level in self.levels(kind)]

    def trainings(self) -> list[Training]:
        """Every training job of the experiment, pretraining included, each once."""
        jobs: dict[Training, None] = {}
        for dataset, system in itertools.product(self.datasets, self.systems):
            for regime, fold in itertools.product(self.regimes(dataset, system), self.folds(dataset)):
                if teacher := self._teacher(system):
                    jobs[Training(dataset, teacher, "clean", fold)] = None
                for corruption in self._training_levels(system, regime):
                    jobs[Training(dataset, system, regime, fold, corruption)] = None
        return list(jobs)

    def evaluations(self) -> list[tuple[str, str, str, Corruption | None]]:
        """Every evaluation job: (dataset, system, regime, corruption); no corruption: on clean features alone."""
        return [
            (dataset, system, regime, corruption)
            for dataset, system in itertools.product(self.datasets, self.systems)
            for regime in self.regimes(dataset, system)
            for corruption in self._evaluation_levels(system, regime)
        ]

    @property
    def downloads(self) -> list[str]:
        """The datasets, of any experiment, that say where their files are fetched from."""
        return [name for name, section in self.config["datasets"].items() if "download" in section]

    # Where files stand

    @property
    def data(self) -> str:
        """The folder of the user's corpora."""
        folder: str = self.config.get("data", "data")
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
        """The weights of a training job; those of a stage-A pretraining stand under ``teachers``."""
        if not regimes(self._system(system)):
            return self.folder / "teachers" / dataset / system / f"fold{fold}" / "model.safetensors"
        run = self.folder / "runs" / dataset / system / regime
        return run / (corruption or "") / f"fold{fold}" / "model.safetensors"

    def scores(self) -> list[Path]:
        """The scores of every evaluation job."""
        root = self.folder / "scores"
        return [
            root / dataset / system / regime / f"{corruption.name if corruption else ALL_CLEAN_SCORES}.csv"
            for dataset, system, regime, corruption in self.evaluations()
        ]

    def predictions(self) -> list[Path]:
        """The predictions of every evaluation job, beside its scores."""
        return [predictions_path(path) for path in self.scores()]

    def chance(self) -> Path:
        """The verdicts on which trainings are at chance."""
        return self.folder / "statistics" / "chance.csv"

    def table_stems(self) -> list[Path]:
        """The tables, without suffix."""
        return [self.folder / "tables" / f"table{number}" for number in self.tables]

    def figure_stems(self) -> list[Path]:
        """The figures, without suffix, in the report's order."""
        stems = [
            f"{figure}_{dataset}" if per_dataset else figure
            for figure, per_dataset in FIGURES_PER_DATASET.items()
            if figure in self.figures
            for dataset in (self.datasets if per_dataset else [""])
        ]
        return [self.folder / "figures" / stem for stem in stems]

    def distances(self) -> list[Path]:
        """The distances of Figure 3 of every dataset, if the experiment draws it."""
        return [stem.with_suffix(".csv") for stem in self.figure_stems() if stem.name.startswith("figure3_")]

    def panels(self, dataset: str) -> list[Path]:
        """The t-SNE panels of Figure 3, without suffix: one per SNR of the reference noise, or of the noises named."""
        noises = self.experiment.get("embedding", {}).get("noise", [self.reference_noise])
        names = [corruption_name(noise, level) for noise in noises for level in self.levels(noise)]
        return [self.folder / "embeddings" / dataset / name for name in names]

    def histories(self, dataset: str) -> list[Path]:
        """The histories behind the training curves: the reference noise at its mildest and its hardest level.

        Trainings for the six conditions, or on clean data where a system has no other.
        """
        noise = self.reference_noise
        run = sorted(self.levels(noise), key=lambda level: 0 if level is None else -level)
        noisy = [corruption_name(noise, level) for level in dict.fromkeys((run[0], run[-1]))]
        histories = []
        for system in (name for name in self.systems if name not in UNIMODAL_SYSTEMS):
            regime, places = ("six", noisy) if "six" in self.regimes(dataset, system) else ("clean", [None])
            for place, fold in itertools.product(places, self.folds(dataset)):
                histories.append(self.model(dataset, system, regime, fold, place).with_name("history.csv"))
        return histories

    # What each job depends on: inputs

    def corpus_inputs(self, w: Wildcards) -> dict[str, Any]:
        """Input files of a feature store: the corpus, compared by content and not by time."""
        section = self.config["datasets"][w.dataset]
        if "generate" in section:
            corpus = RESULTS / "corpora" / w.dataset
            return {"source": corpus, "digest": corpus.with_name(corpus.name + DIGEST_SUFFIX)}
        # As it is configured: a list of files would be printed whole. The plan has checked that they are there.
        return {"source": self.source(w), "digest": []}

    def source(self, w: Wildcards) -> Path:
        """The corpus of a dataset as its reader is given it: a folder or a file."""
        section = self.config["datasets"][w.dataset]
        if "path" in section:
            return Path(self.data, section["path"])
        corpus = RESULTS / "corpora" / w.dataset
        needs_folder = layouts.declaration(section["layout"]).attributes["files"]
        return corpus if needs_folder else corpus / MOSEI_FILE

    def teacher(self, w: Wildcards) -> list[Path]:
        """The pretrained model a run starts from: none or one."""
        stage = self._teacher(w.system)
        return [self.model(w.dataset, stage, "clean", w.fold)] if stage else []

    def models(self, w: Wildcards) -> list[Path]:
        """The models of every fold that an evaluation tests."""
        level = None if w.regime == "clean" else w.corruption
        return [self.model(w.dataset, w.system, w.regime, fold, level) for fold in self.folds(w.dataset)]

    @staticmethod
    def digests(paths: list[Path]) -> list[str]:
        """The digest files of large files: what Snakemake tracks in their place."""
        return [f"{path}{DIGEST_SUFFIX}" for path in paths]

    # What each job depends on: settings

    def corpus_settings(self, w: Wildcards) -> str:
        """Settings of a generated corpus."""
        section = self.config["datasets"][w.dataset]
        return _json({"dataset": w.dataset, "layout": section["layout"], "generate": section["generate"]})

    def fetch_settings(self, dataset: str) -> str:
        """Settings of fetching the files of a dataset."""
        return _json({"dataset": dataset, "download": self.config["datasets"][dataset]["download"]})

    def features_settings(self, w: Wildcards) -> str:
        """Settings of a feature store."""
        section = self.config["datasets"][w.dataset]
        keys = ("layout", "file", "dims", "classes", "standardize", "folds", "paper_name", "options")
        read = {key: section.get(key) for key in keys}
        evaluation = section.get("evaluation", EVERY_CONDITION)
        read["evaluation"] = None if evaluation == EVERY_CONDITION else evaluation
        return _json({"dataset": w.dataset, "synthetic": "generate" in section or None} | read)

    def source_digest(self, w: Wildcards) -> str:
        """One digest of the content of all raw files of a dataset; empty for a generated one."""
        if "generate" in self.config["datasets"][w.dataset]:
            return ""
        digests = source_digests(self._sources(w.dataset), MEMORY)
        return hashlib.sha256(_json(digests).encode()).hexdigest()[:16]

    def calibration_settings(self, w: Wildcards) -> str:
        """Settings of the calibration of one noise kind and level."""
        if self.corruptions[w.corruption].snr_db is None:  # its variance is all that is noted
            return _json({"dataset": w.dataset, "noise": w.corruption, "scope": self._scope})
        calibration = self.config.get("noise", {}).get("calibration", {})
        changed_keys = {key: calibration[key] for key, d in _CALIBRATION.items() if calibration.get(key, d) != d}
        return _json(self._noise(w) | changed_keys | {"schedule": self.schedule or None})

    @property
    def schedule(self) -> dict[str, Any]:
        """The keys of the noise schedule that are not at their default."""
        noise = self.config.get("noise", {})
        return {name: noise[key] for key, (name, d) in _SCHEDULE.items() if noise.get(key, d) != d}

    def schedule_settings(self) -> str:
        """Settings of the noise schedule."""
        return _json(self.schedule)

    def corruption_settings(self, w: Wildcards) -> str:
        """Settings of the noisy embeddings of one noise kind and level."""
        copies = None if self._train_draws == FRESH else self._train_draws
        settings = self._noise(w) | {"seed": self.config.get("noise", {}).get("seed") or None, "draws": copies}
        return _json({key: value for key, value in settings.items() if key != "snr_db"})

    def training_settings(self, w: Wildcards) -> str:
        """Settings of a run or of a stage-A pretraining (wildcard ``stage``)."""
        stage = getattr(w, "stage", None)
        system = stage or w.system
        section = self.config.get("training", {}) | self.experiment.get("training", {})
        overrides = {
            **self.config.get("training", {}).get("pretraining", {}),
            **self.experiment.get("training", {}).get("pretraining", {}),
        }
        own = {key: value for key, value in section.items() if key not in ("pretraining", "keep_models")}
        training = replace(TrainingSettings(), **own)
        if stage:
            shorter = {key: value for key, value in _PRETRAINING_KEYS.items() if key not in own}
            training = replace(training, **(shorter | overrides))
        teacher = self._teacher(system)
        return _json(
            self._run(w, system, getattr(w, "regime", "clean"))
            | {
                "fold": int(w.fold),
                "teacher": (self._given(teacher) or None) if teacher else None,
                "training": changed(training, TrainingSettings()) or None,
                "scope": self._scope if getattr(w, "regime", "clean") != "clean" else None,
                "train_draws": self._train_draws if getattr(w, "regime", "clean") != "clean" else None,
            }
        )

    def evaluation_settings(self, w: Wildcards) -> str:
        """Settings of an evaluation."""
        return _json(self._run(w, w.system, w.regime) | {"folds": self.folds(w.dataset)})

    def tables_settings(self, table: int | None = None) -> str:
        """Settings of a table, or of what is made from all scores: only Table 4 depends on the uni-modal ones."""
        shown = {key: self.unimodal[key] for key in ("datasets", "snr_db", "clean_reference")}
        return _json(
            {
                "datasets": {dataset: self._printed(dataset) for dataset in self.datasets},
                "systems": self.systems,
                "snr_db": self.snr_db,
                "reference_noise": self.reference_noise,
                "unimodal": shown if self._unimodal_is_run and table == 4 else None,
            }
        )

    def embedding_settings(self, w: Wildcards) -> str:
        """Settings of one t-SNE panel."""
        corruption = self.corruptions[w.corruption]
        given = self.experiment.get("embedding", {})
        changed_keys = {key: given[key] for key, default in _EMBEDDING.items() if given.get(key, default) != default}
        return _json({"dataset": w.dataset, "noise": corruption.noise, "snr_db": corruption.snr_db} | changed_keys)

    def report_settings(self) -> str:
        """Settings of the report: what was run, and the effective configuration to show."""
        shown = {
            "experiment": {self.name: self.experiment},
            "datasets": {dataset: self.config["datasets"][dataset] for dataset in self.datasets},
            **{key: self.config[key] for key in ("noise", "systems", "training") if self.config.get(key)},
            # Threads alone change numbers, in their last digits; where jobs compute must remake no report.
            **({"compute": {"threads": self.threads}} if "threads" in self.config.get("compute", {}) else {}),
        }
        return _json(
            json.loads(self.tables_settings(table=4))
            | {
                "experiment": self.name,
                "config": shown,
                "jobs": len(self.trainings()),
            }
        )

    # What each job depends on: code

    def code(self, script: str, w: Wildcards | None = None) -> str:
        """Fingerprint of a step's script and of the plug-ins that this job loads by name, as the step is handed it."""
        plugins = [] if w is None else self._plugins(script, w)  # a step that works for no one dataset loads none
        key = json.dumps([script, *map(str, plugins)])
        return self.codes.setdefault(key, planned_code.hand_over(script, plugins))

    def _plugins(self, script: str, w: Wildcards) -> list[Path]:
        plugins: list[Path] = []
        if script == "build_features.py":
            section = self.config["datasets"][w.dataset]
            plugins = [layouts.path(section["layout"], section.get("file"))]
        elif script in ("calibrate.py", "corrupt.py"):
            given = self._kind(self.corruptions[w.corruption].noise)
            plugins = [noise_kinds.path(given["kind"], given.get("file"))]
        elif script in ("train.py", "evaluate.py"):
            system = getattr(w, "stage", None) or w.system
            plugins = [self._system(system).file]
            if script == "train.py" and (teacher := self._teacher(system)):
                plugins.append(self._system(teacher).file)
            if script == "train.py" and self._train_draws == FRESH and getattr(w, "regime", "clean") != "clean":
                given = self._kind(self.corruptions[w.corruption].noise)
                plugins += [FRESH_NOISE, noise_kinds.path(given["kind"], given.get("file"))]
        return plugins

    # Resources

    def memory_mb(self, w: Wildcards, attempt: int) -> int:
        """Memory of a job that holds a dataset clean and noisy: libraries plus four times its raw size."""
        return (1500 + 4 * self._raw_size(w.dataset) // 2**20) * attempt

    def gpus(self, dataset: str) -> int:
        """GPUs of a training or evaluation on a dataset: none where the configuration or its size says so.

        A small corpus is trained sooner on a CPU, whose jobs start in less time and run on all cores at once.
        """
        if self.device != "auto":
            return int(self.device == "gpu")
        return int(self._raw_size(dataset) >= self.gpu_from_mb * 10**6)

    def device_notes(self) -> list[str]:
        """A line per dataset of the experiment: where its jobs compute if GPUs are granted, and why."""
        notes = []
        for dataset in self.datasets:
            place = "a GPU" if self.gpus(dataset) else "the CPU"
            reason = "compute.device"
            if self.device == "auto":
                size = self._raw_size(dataset) / 10**6
                raw = "generated" if "generate" in self.config["datasets"][dataset] else f"{size:.0f} MB"
                reason = f"{raw}; compute.gpu_from_mb: {self.gpu_from_mb}"
            notes.append(f"{dataset}: trained on {place} ({reason})")
        return notes

    def _raw_size(self, dataset: str) -> int:
        """Bytes of a dataset's raw files; 0 for a generated corpus, which is small."""
        if dataset not in self._raw_bytes:
            files = [] if "generate" in self.config["datasets"][dataset] else self._sources(dataset)
            self._raw_bytes[dataset] = sum(file.stat().st_size for file in files)
        return self._raw_bytes[dataset]

    @property
    def keeps_models(self) -> bool:
        """Whether the weights of runs stay on disk once they are evaluated."""
        training = self.config.get("training", {}) | self.experiment.get("training", {})
        kept: bool = training.get("keep_models", True)
        return kept

    @property
    def keeps_noise(self) -> bool:
        """Whether noisy embeddings stay on disk once nothing is left that reads them."""
        kept: bool = self.config.get("noise", {}).get("keep", True)
        return kept

    # Helpers

    def _sources(self, dataset: str) -> list[Path]:
        section = self.config["datasets"][dataset]
        root = Path(self.data) / section["path"]
        return source_files(section["layout"], root, section.get("file"))

    def _system(self, name: str) -> Declaration:
        if name not in self._declarations:
            file = self.config.get("systems", {}).get(name, {}).get("file")
            self._declarations[name] = systems.declaration(name, file)
        return self._declarations[name]

    def _teacher(self, system: str) -> str | None:
        """The pretrained system that a system starts from, as its options have it."""
        return pretraining(self._system(system), self._given(system).get("options"))

    def _check_teacher(self, system: str) -> None:
        if teacher := self._teacher(system):
            given = [self._given(name).get("options", {}) for name in (system, teacher)]
            check_teacher(self._system(system), given[0], self._system(teacher), given[1])

    @property
    def _scope(self) -> str | None:
        """Over what variances are taken, where that is not the default."""
        scope, default = self.config.get("noise", {}).get("calibration", {}).get("scope"), _CALIBRATION["scope"]
        return None if scope == default else scope

    @property
    def _train_draws(self) -> int | str | None:
        """``noise.train_draws``, where that is not the default."""
        draws = self.config.get("noise", {}).get("train_draws", 1)
        return None if draws == 1 else draws

    def _kind(self, name: str) -> dict[str, Any]:
        """What the configuration says of a noise, with the ``kind`` behind its name."""
        said: dict[str, Any] = self.config.get("noise", {}).get("kinds", {}).get(name, {})
        return {"kind": name} | said

    def _has_snr(self, name: str) -> bool:
        given = self._kind(name)
        return has_snr(noise_kinds.declaration(given["kind"], given.get("file")))

    def _noise(self, w: Wildcards) -> dict[str, Any]:
        corruption = self.corruptions[w.corruption]
        given = self._kind(corruption.noise)
        declared = noise_kinds.declaration(given["kind"], given.get("file")).options
        return {
            "dataset": w.dataset,
            "noise": corruption.noise,
            "kind": given["kind"] if given["kind"] != corruption.noise else None,
            "snr_db": corruption.snr_db,
            "file": given.get("file"),
            "options": _unlike(given, declared) or None,
        }

    def _run(self, w: Wildcards, system: str, regime: str) -> dict[str, Any]:
        section = self.config["datasets"][w.dataset]
        evaluation = section.get("evaluation", EVERY_CONDITION)
        corruption = self.corruptions[w.corruption] if getattr(w, "corruption", None) else Corruption("", None)
        return {
            "dataset": w.dataset,
            "system": system,
            "regime": regime,
            "repeats": self.repeats,
            "noise": corruption.noise or None,
            "snr_db": corruption.snr_db,
            "evaluation": None if evaluation == EVERY_CONDITION else evaluation,
        } | self._given(system)

    def _given(self, system: str) -> dict[str, Any]:
        """What the configuration says of a system: ``file`` and ``options`` where they are not the default."""
        declaration = self._system(system)
        given = self._configured(system)
        if base := declaration.attributes.get("ablation_of"):
            # An ablation differs from its system in what it leaves out and in nothing else.
            shared = self._configured(base).items()
            given = {option: value for option, value in shared if option in declaration.options} | given
        options = _unlike(given, declaration.options)
        return ({"file": given["file"]} if "file" in given else {}) | ({"options": options} if options else {})

    def _configured(self, system: str) -> dict[str, Any]:
        general: dict[str, Any] = self.config.get("systems", {}).get(system, {})
        special: dict[str, Any] = self.experiment.get("system_options", {}).get(system, {})
        return general | special

    def _printed(self, dataset: str) -> dict[str, Any]:
        section = self.config["datasets"][dataset]
        return {
            "paper_name": section.get("paper_name"),
            "synthetic": "generate" in section,
            "evaluation": section.get("evaluation", EVERY_CONDITION),
        }


_SCHEDULE = {
    "schedule": ("shape", "linear"),
    "beta_start": ("beta_start", 0.001),
    "beta_end": ("beta_end", 0.1),
    "fixed_chain": ("chain", None),
}
"""Configuration key of the schedule -> its name in ``Schedule`` and its default."""

_CALIBRATION = {"mode": "integer_T", "scope": "stored", "match": "nominal"}
_EMBEDDING = {"samples": 128, "perplexity": 30, "seed": 0}
_PRETRAINING_KEYS = changed(PRETRAINING, TrainingSettings())


def _unlike(given: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in ("file", "kind") and value != default[key]}


def _json(settings: dict[str, Any]) -> str:
    # One string with sorted keys: Snakemake compares params as a set of nameless values.
    return json.dumps({key: value for key, value in settings.items() if value is not None}, sort_keys=True)
