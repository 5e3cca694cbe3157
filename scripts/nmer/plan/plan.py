"""The plan: the dependencies of each job of an experiment, which the rules pass to Snakemake.

Pure except for reading plug-in declarations and the digests of raw files. The rules contain no logic. They get inputs,
``params.settings`` (one JSON string with exactly the job's settings, without keys at their default) and ``params.code``
(a fingerprint of its code) from the plan. ``grid.py`` defines the jobs, ``paths.py`` their files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from nmer import planned_code
from nmer.corpora.demo import MOSEI_FILE
from nmer.corpora.registry import layouts
from nmer.digests import DIGEST_SUFFIX
from nmer.embedding_settings import EMBEDDING
from nmer.figures import sources, unread
from nmer.metrics import SELECTING, SHOWN_BY_DEFAULT
from nmer.names import (
    ALL_CLEAN,
    ALL_CLEAN_SCORES,
    CLASSES,
    CLEAN,
    EVERY_CONDITION,
    FRESH,
    MIXED,
    MODALITIES,
    REFERENCE_SYSTEM,
    TRAINED,
    UNIMODAL_SYSTEMS,
)
from nmer.noise.calibration import CalibrationSettings
from nmer.noise.registry import noise_kinds
from nmer.noise.schedule import Schedule
from nmer.plan.corruptions import Corruption
from nmer.plan.extraction import MEMORY_MB
from nmer.plan.paths import RESULTS, SIZES_TABLE, Paths
from nmer.plan.prediction_targets import target_of
from nmer.plan.settings import TrainingSettings, non_default_training, training_settings
from nmer.plan.sources import MEMORY, source_digests
from nmer.plan.variants import non_default
from nmer.references.registry import REFERENCES
from nmer.report_settings import DatasetSettings, ReportSettings, UnimodalSettings

GPU_FROM_MB = 200
"""Raw size of a corpus, in megabytes, from which its jobs use a GPU by default."""

FRESH_NOISE = Path(__file__).parents[1] / "noisy_embeddings" / "fresh_noise.py"
"""Loaded only by trainings that draw fresh noise."""


REFERENCE = planned_code.WORKFLOW / "reference"
"""The paper's numbers and claims."""

TEMPLATES = [Path(__file__).parents[1] / "results" / f"report.{part}.j2" for part in ("html", "css", "js")]
"""The template of the report, its style sheet and its script."""


class Wildcards(Protocol):
    """The wildcards of a rule, as Snakemake passes them to its functions."""

    def __getattr__(self, name: str, /) -> str:
        """Return the value of a wildcard."""


class Plan(Paths):
    """Inputs, settings, code and resources of all jobs of the experiment named by ``config["experiment"]``."""

    def __init__(self, config: dict[str, Any], command_line: dict[str, Any] | None = None) -> None:
        """See :class:`nmer.plan.grid.Grid`."""
        super().__init__(config, command_line)
        compute = self.config.get("compute", {})
        self.threads: int = compute.get("threads", 1)
        self.device: str = compute.get("device", "auto")
        self.gpu_from_mb: float = compute.get("gpu_from_mb", GPU_FROM_MB)
        self.codes: dict[str, str] = {}
        """Fingerprints by step and plug-ins. A job on another machine uses those of the call that submitted it."""
        self._raw_bytes: dict[str, int] = {}

    # Inputs of each job

    def corpus_inputs(self, w: Wildcards) -> dict[str, Any]:
        """Return the input files of a feature store: the corpus, compared by content and not by time."""
        section = self.config["datasets"][w.dataset]
        if "generate" in section:
            corpus = RESULTS / "corpora" / w.dataset
            return {"source": corpus, "digest": corpus.with_name(corpus.name + DIGEST_SUFFIX)}
        if "raw" in section:
            corpus = self.raw(w.dataset).corpus
            return {"source": corpus, "digest": f"{corpus}{DIGEST_SUFFIX}"}
        # Use the configured path, because Snakemake prints lists of files in full. The plan has checked that the
        # files exist, and their content is a param. Omit paths with braces, which Snakemake reads as wildcards.
        source = self.source(w)
        return {"source": [] if set("{}") & set(str(source)) else source, "digest": []}

    def source(self, w: Wildcards) -> Path:
        """Return the corpus of a dataset as passed to its reader: a folder or a file."""
        section = self.config["datasets"][w.dataset]
        if "path" in section:
            return Path(self.data, section["path"])
        if "raw" in section:
            return self.raw(w.dataset).corpus
        corpus = RESULTS / "corpora" / w.dataset
        needs_folder = layouts.declaration(section["layout"]).attributes["files"]
        return corpus if needs_folder else corpus / MOSEI_FILE

    @staticmethod
    def wildcards_of(dataset: str) -> Any:
        """Return the wildcards of a rule for one dataset."""
        return SimpleNamespace(dataset=dataset)

    def media_inputs(self, w: Wildcards) -> list[str]:
        """Return the input files of the list of utterances: the digests of generated media, never the user's media."""
        return self.raw(w.dataset).generated_digest()

    def chunks(self, w: Wildcards) -> list[str]:
        """Return the features of every chunk of a dataset, grouped by modality."""
        return list(map(str, self.raw(w.dataset).chunk_files()))

    def joined(self, w: Wildcards) -> list[str]:
        """Return the features of all utterances of a dataset, one file per modality."""
        raw = self.raw(w.dataset)
        return [str(raw.folder / f"{modality}.h5") for modality in raw.modalities]

    def teacher(self, w: Wildcards) -> list[Path]:
        """Return the pretrained model that a run starts from, none or one."""
        stage = self._teacher(w.system)
        return [self.model(w.dataset, stage, "clean", w.fold)] if stage else []

    def training_noise(self, w: Wildcards) -> list[Path]:
        """Return the noisy embeddings of a training that is tested at several levels: of its level, of all, or none."""
        if w.trained == MIXED:
            return [self.noisy(w.dataset, name) for name in self.listed]
        return [self.noisy(w.dataset, w.trained)] if self.trained_at[w.trained] else []

    def check(self, w: Wildcards) -> list[Path]:
        """Return the check of the system of a training or pretraining (wildcard ``stage``), if there is one."""
        return self.system_check(getattr(w, "stage", None) or w.system)

    def models(self, w: Wildcards) -> list[Path]:
        """Return the models of every fold that an evaluation tests."""
        level = None if w.regime == "clean" else w.corruption
        if trained_at := getattr(w, "trained", None):
            level = f"{TRAINED}{trained_at}"
        trained = self.trained_as(w.system)
        return [self.model(w.dataset, trained, w.regime, fold, level) for fold in self.folds(w.dataset)]

    @staticmethod
    def named(names: Iterable[str]) -> str:
        """Return a pattern for a wildcard that matches exactly these names."""
        return "|".join(map(re.escape, names)) or "(?!)"

    @staticmethod
    def digests(paths: list[Path]) -> list[str]:
        """Return the digest files of large files, which Snakemake tracks instead of these."""
        return [f"{path}{DIGEST_SUFFIX}" for path in paths]

    def figure_inputs(self, w: Wildcards) -> list[Path]:
        """Input files of a figure."""
        return [file for files in self.figure_sources(self.drawings[w.figure]).values() for file in files]

    # Settings of each job

    def corpus_settings(self, w: Wildcards) -> str:
        """Settings of a generated corpus."""
        section = self.config["datasets"][w.dataset]
        settings = {"dataset": w.dataset, "layout": section["layout"], "generate": section["generate"]}
        return _json(settings | {"modalities": self._fewer_modalities(w.dataset)})

    def media_settings(self, w: Wildcards) -> str:
        """Settings of generated media, with the voice of this machine."""
        generated = self.raw(w.dataset).generated
        assert generated, w.dataset
        return _json({"dataset": w.dataset, "generate": generated.to_mapping()})

    def fetch_settings(self, dataset: str) -> str:
        """Settings of fetching the files of a dataset."""
        return _json({"dataset": dataset, "download": self.config["datasets"][dataset]["download"]})

    def list_settings(self, w: Wildcards) -> str:
        """Settings of the list of a dataset's utterances."""
        raw = self.raw(w.dataset)
        return _json(raw.list_settings() | {"state": raw.list_state()})

    def extract_settings(self, w: Wildcards) -> str:
        """Settings of the extraction of a modality of a chunk."""
        raw = self.raw(w.dataset)
        state = raw.chunk_state(w.modality, w.chunk)
        return _json(raw.extract_settings(w.modality, w.chunk) | {"state": state})

    def join_settings(self, w: Wildcards) -> str:
        """Settings of a corpus of extracted features."""
        return _json(self.raw(w.dataset).join_settings())

    def features_settings(self, w: Wildcards) -> str:
        """Settings of a feature store."""
        section = self.config["datasets"][w.dataset]
        keys = ("layout", "file", "dims", "classes", "standardize", "folds", "paper_name", "options")
        read = {key: section.get(key) for key in keys}
        read["target"] = None if target_of(section) == CLASSES else target_of(section)
        evaluation = section.get("evaluation", EVERY_CONDITION)
        read["evaluation"] = None if evaluation == EVERY_CONDITION else evaluation
        read["modalities"] = self._fewer_modalities(w.dataset)
        settings = {"synthetic": self._is_synthetic(w.dataset) or None, "extracted": "raw" in section or None}
        return _json({"dataset": w.dataset} | settings | read)

    def source_digest(self, w: Wildcards) -> str:
        """Return a digest of the content of all raw files of a dataset; empty for a generated one."""
        if "path" not in self.config["datasets"][w.dataset]:
            return ""
        digests = source_digests(self.raw_files(w.dataset), MEMORY)
        return hashlib.sha256(_json(digests).encode()).hexdigest()[:16]

    def calibration_settings(self, w: Wildcards) -> str:
        """Settings of the calibration of one noise kind and level."""
        if self.corruptions[w.corruption].snr_db is None:  # only its variance is recorded
            return _json({"dataset": w.dataset, "noise": w.corruption, "scope": self._scope})
        calibration = self.config.get("noise", {}).get("calibration", {})
        defaults = {key: getattr(CalibrationSettings, key) for key in ("mode", "scope", "match")}
        changed_keys = {key: calibration[key] for key, d in defaults.items() if calibration.get(key, d) != d}
        return _json(self._noise(w) | changed_keys | {"schedule": self.schedule or None})

    @property
    def schedule(self) -> dict[str, Any]:
        """Return the keys of the noise schedule that are not at their default."""
        noise = self.config.get("noise", {})
        keys = {name: noise[key] for key, name in _SCHEDULE.items() if key in noise}
        return {name: value for name, value in keys.items() if value != getattr(Schedule, name)}

    def corruption_settings(self, w: Wildcards) -> str:
        """Settings of the noisy embeddings of one noise kind and level."""
        copies = None if self._train_draws == FRESH else self._train_draws
        settings = self._noise(w) | {"seed": self.config.get("noise", {}).get("seed") or None, "draws": copies}
        return _json({key: value for key, value in settings.items() if key != "snr_db"})

    def training_settings(self, w: Wildcards) -> str:
        """Settings of a run or of a stage-A pretraining (wildcard ``stage``)."""
        stage = getattr(w, "stage", None)
        system = stage or w.system
        training = self._training_of(system, pretraining=stage is not None)
        teacher = self._teacher(system)
        own = getattr(w, "trained", None)
        has_noise = self._trains_on_noise(w)
        return _json(
            self._run(w, system, getattr(w, "regime", "clean"))
            | {
                "trained_at": own if own in (MIXED, CLEAN) else None,
                "mixed": list(self.listed) if own == MIXED else None,
                "fold": int(w.fold),
                "teacher": (self._overrides(teacher) or None) if teacher else None,
                "training": non_default_training(training, TrainingSettings()) or None,
                "scope": self._scope if has_noise else None,
                "train_draws": self._train_draws if has_noise else None,
            }
        )

    @staticmethod
    def _trains_on_noise(w: Wildcards) -> bool:
        return getattr(w, "regime", "clean") != "clean" and getattr(w, "trained", None) != CLEAN

    def _training_of(self, system: str, pretraining: bool = False) -> TrainingSettings:
        """Return the training settings of a system. pretraining: whether it is a stage-A pretraining."""
        section = {"selection": SELECTING[self.target]} | self.training
        return replace(training_settings(section, pretraining), **self._named.training(system))

    def check_settings(self, w: Wildcards) -> str:
        """Settings of the check of a system: how it is built, its modalities if fewer than three, and its teacher if
        that is user-defined."""
        sets = sorted({"".join(self.modalities(dataset)) for dataset in self.datasets})
        teacher = self._overrides(stage) if (stage := self._teacher(w.system)) else {}
        about: dict[str, Any] = {"modalities": None if sets == [ALL_CLEAN] else sets, "target": self._score_target}
        about["teacher"] = teacher if "file" in teacher else None
        return _json({"system": self._named.kind(w.system)} | about | self._overrides(w.system))

    def evaluation_settings(self, w: Wildcards) -> str:
        """Settings of an evaluation."""
        in_noise = w.system not in UNIMODAL_SYSTEMS and getattr(w, "corruption", ALL_CLEAN_SCORES) != ALL_CLEAN_SCORES
        conditions = list(self.conditions) if in_noise else []
        name = w.system if self._named.kind(w.system) != w.system else None
        about = {"folds": self.folds(w.dataset), "conditions": conditions or None, "name": name}
        about |= {"trained_at": getattr(w, "trained", None)}
        return _json(self._run(w, w.system, w.regime) | about)

    def display_settings(self, table: int | None = None) -> ReportSettings:
        """Return the settings of a table, or of outputs of all scores; only Table 4 depends on uni-modal systems."""
        unimodal = {item.name: self.unimodal[item.name] for item in fields(UnimodalSettings)}
        return ReportSettings(
            datasets={dataset: self._printed(dataset) for dataset in self.datasets},
            systems=self.systems,
            snr_db=self.snr_db,
            reference_noise=self.reference_noise,
            all_noisy_snr_db=tuple(self.all_noisy_snr_db),
            rates=self.rates(),
            unimodal=UnimodalSettings(**unimodal) if self._unimodal_is_run and table == 4 else None,
            metrics=self.metrics,
            conditions=self.conditions,
            reference="" if self.reference == REFERENCE_SYSTEM else self.reference,
            titles=self.titles(),
        )

    def tables_settings(self, table: int | None = None) -> str:
        """The settings of :meth:`display_settings` as JSON. Only Table 5 depends on the levels listed for it."""
        settings = self.display_settings(table)
        return (settings if table == 5 else replace(settings, all_noisy_snr_db=())).to_json()

    def table_settings(self, number: int) -> str:
        """Settings of a table of the paper."""
        return self.sizes_settings(self.datasets) if number == SIZES_TABLE else self.tables_settings(number)

    def sizes_settings(self, datasets: Iterable[str]) -> str:
        """Settings of the table of sizes of some datasets."""
        return replace(self._scored(), datasets={name: self._printed(name) for name in datasets}).to_json()

    def scored_settings(self, table: int | None = None) -> str:
        """Settings of results that are computed for every metric, not only those shown."""
        return self._scored(table).to_json()

    def _scored(self, table: int | None = None) -> ReportSettings:
        titles = self.titles() if table else {}  # only the claims print them
        shown = SHOWN_BY_DEFAULT[self.target]
        return replace(self.display_settings(table), metrics=shown, titles=titles, all_noisy_snr_db=())

    def compared_settings(self, w: Wildcards) -> str:
        """Settings of the comparison with another experiment."""
        about = {"first": w.other, "second": self.name, "metrics": list(self.metrics)}
        return _json(about | {"titles": self.titles() or None, "rates": self.rates() or None})

    def sweep_settings(self) -> str:
        """Settings of the table of the sweep."""
        return _json(
            {
                "settings": replace(self.display_settings(), all_noisy_snr_db=()).to_mapping(),
                "system": self.experiment["sweep"]["system"],
                # Pairs, because the keys of mappings are sorted.
                "sweep": [[system, list(values.items())] for system, values in self.sweep.items()],
                "trained_as": {system: self.trained_as(system) for system in self.sweep},
                "selection": {system: self._training_of(system).selection for system in self.sweep},
            }
        )

    def figure_settings(self, w: Wildcards) -> str:
        """Settings of a figure: its options, its dataset, and the settings that it declares as sources."""
        drawing = self.drawings[w.figure]
        declaration, section = self._figure(drawing.figure), self.config.get("figures", {}).get(drawing.figure, {})
        read = sources(declaration)
        default: dict[str, Any] = {"conditions": (), "reference": "", "all_noisy_snr_db": ()}
        default["metrics"] = SHOWN_BY_DEFAULT[self.target]
        settings = replace(self.display_settings(), **{name: default[name] for name in unread(declaration)})
        return _json(
            {
                "figure": drawing.figure,
                "file": section.get("file"),
                "options": non_default(section, declaration.options) or None,
                "dataset": drawing.dataset or None,
                "about": asdict(self._printed(drawing.dataset)) if drawing.dataset else None,
                "settings": settings.to_mapping() if "settings" in read else None,
                "schedule": self.schedule if "schedule" in read else None,
                "titles": self.titles() or None,
                "rates": self.rates() or None,
            }
        )

    def figure_arguments(self, w: Wildcards) -> list[str]:
        """Return the sources of a figure as arguments of the step."""
        return source_arguments(self.figure_sources(self.drawings[w.figure]))

    def figure_caption(self, w: Wildcards) -> str:
        """Return the caption that a figure declares, or its title."""
        attributes = self._figure(self.drawings[w.figure].figure).attributes
        return str(attributes.get("caption") or attributes.get("title") or w.figure)

    def figure_labels(self, w: Wildcards) -> dict[str, str]:
        """Return the labels of a figure in Snakemake's own report."""
        drawing = self.drawings[w.figure]
        title = self._figure(drawing.figure).attributes.get("title", drawing.figure)
        return {"figure": title, "dataset": drawing.dataset or "all"}

    def embedding_settings(self, w: Wildcards) -> str:
        """Settings of one t-SNE panel."""
        corruption = self.corruptions[w.corruption]
        section = self.experiment.get("embedding", {})
        changed_keys = {key: section[key] for key, default in EMBEDDING.items() if section.get(key, default) != default}
        return _json({"dataset": w.dataset, "noise": corruption.noise, "snr_db": corruption.snr_db} | changed_keys)

    def report_settings(self) -> str:
        """Settings of the report, including the effective configuration to print."""
        printed = {
            "experiment": {self.name: self.experiment},
            "datasets": {dataset: self.config["datasets"][dataset] for dataset in self.datasets},
            **{key: self.config[key] for key in ("noise", "systems", "training") if self.config.get(key)},
            # Threads change numbers in the last digits. The other keys must not remake the report.
            **({"compute": {"threads": self.threads}} if "threads" in self.config.get("compute", {}) else {}),
        }
        return replace(
            self.display_settings(table=4),
            experiment=self.name,
            config=printed,
            jobs=len(self.trainings()),
            descriptions=self._descriptions(),
        ).to_json()

    def _descriptions(self) -> dict[str, str]:
        """Return a line on each user-defined system, and the changes of each variant from its kind."""
        lines = {}
        for system in self.systems:
            kind = self._named.kind(system)
            if kind != system:
                changes = ", ".join(f"{key}: {value}" for key, value in self._named.difference(system).items())
                lines[system] = f"{kind} with {changes}" if changes else f"the same as {kind}"
            elif self._overrides(system).get("file") and (line := self._system(system).summary):
                lines[system] = line
        return lines

    # Code of each job

    def code(self, script: str, w: Wildcards | None = None) -> str:
        """Return the fingerprint of a step's script, of the plug-ins that this job loads by name and of the project's
        data files that it reads, as passed to the step."""
        files = self._data(script, w) if w is None else [*self._plugins(script, w), *self._data(script, w)]
        key = json.dumps([script, *map(str, files)])
        return self.codes.setdefault(key, planned_code.hand_over(script, files))

    @staticmethod
    def _data(script: str, w: Wildcards | None) -> list[Path]:
        """Return files of the repository that a step reads, compared by content because a clone has new times."""
        if script == "make_table.py":
            return [REFERENCE / f"paper_table{getattr(w, 'table', 1)}.csv"]
        if script == "audit_claims.py":
            return [REFERENCE / "claims.toml", *(REFERENCE / f"paper_table{table}.csv" for table in range(2, 6))]
        return TEMPLATES if script == "render_report.py" else []

    def _plugins(self, script: str, w: Wildcards) -> list[Path]:
        plugins: list[Path] = []
        if script == "draw_figure.py":
            plugins = [self._figure(self.drawings[w.figure].figure).file]
        elif script == "build_features.py":
            section = self.config["datasets"][w.dataset]
            plugins = [layouts.path(section["layout"], section.get("file"))]
        elif script in ("extract_list.py", "extract.py"):
            plugins = self.raw(w.dataset).plugins(getattr(w, "modality", None))
        elif script in ("calibrate.py", "corrupt.py"):
            noise = self._kind(self.corruptions[w.corruption].noise)
            plugins = [noise_kinds.path(noise["kind"], noise.get("file"))]
        elif script == "fit_reference.py":
            plugins = [self._system(w.system).file]
        elif script in ("train.py", "evaluate.py", "check_system.py"):
            system = getattr(w, "stage", None) or w.system
            plugins = [self._system(system).file]
            if script != "evaluate.py" and (teacher := self._teacher(system)):
                plugins.append(self._system(teacher).file)
            if script == "train.py" and self._train_draws == FRESH and self._trains_on_noise(w):
                noise = self._kind(self.corruptions[getattr(w, "corruption", None) or w.trained].noise)
                plugins += [FRESH_NOISE, noise_kinds.path(noise["kind"], noise.get("file"))]
        return plugins

    # Resources

    def memory_mb(self, w: Wildcards, attempt: int) -> int:
        """Memory of a job that loads a dataset, clean and noisy: libraries plus four times its raw size."""
        return (1500 + 4 * self._raw_size(w.dataset) // 2**20) * attempt

    def extraction_memory_mb(self, w: Wildcards, attempt: int) -> int:
        """Memory of the extraction of a modality of a chunk."""
        return MEMORY_MB[w.modality] * attempt

    def extraction_minutes(self, w: Wildcards, attempt: int) -> int:
        """Time of the extraction of a modality of a chunk."""
        return self.raw(w.dataset).minutes(w.modality, w.chunk) * attempt

    def gpus(self, dataset: str) -> int:
        """GPUs of a training or evaluation on a dataset: none by configuration, or if the dataset is small.

        A small corpus trains faster on CPUs, where jobs start sooner and run on all cores at once.
        """
        if self.device != "auto":
            return int(self.device == "gpu")
        return int(self._raw_size(dataset) >= self.gpu_from_mb * 10**6)

    def device_notes(self) -> list[str]:
        """Return a line per dataset: the device of its jobs if GPUs are granted, with the reason."""
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
        """Return the size of a dataset's raw files in bytes; 0 for a generated corpus, which is small."""
        if dataset not in self._raw_bytes and self.is_raw(dataset):
            self._raw_bytes[dataset] = self.raw(dataset).raw_size()
        elif dataset not in self._raw_bytes:
            files = [] if "generate" in self.config["datasets"][dataset] else self.raw_files(dataset)
            self._raw_bytes[dataset] = sum(file.stat().st_size for file in files)
        return self._raw_bytes[dataset]

    @property
    def keeps_models(self) -> bool:
        """Whether the weights of runs are kept after their evaluation."""
        kept: bool = self.training.get("keep_models", True)
        return kept

    @property
    def keeps_noise(self) -> bool:
        """Whether noisy embeddings are kept after the last job that reads them."""
        kept: bool = self.config.get("noise", {}).get("keep", True)
        return kept

    # Helpers

    @property
    def _scope(self) -> str | None:
        """The scope of variances, if not the default."""
        scope, default = self.config.get("noise", {}).get("calibration", {}).get("scope"), CalibrationSettings.scope
        return None if scope == default else scope

    @property
    def _score_target(self) -> str | None:
        """The target of the experiment's datasets, if not the default."""
        return None if self.target == CLASSES else self.target

    @property
    def _train_draws(self) -> int | str | None:
        """``noise.train_draws``, if not the default."""
        draws = self.config.get("noise", {}).get("train_draws", 1)
        return None if draws == 1 else draws

    def _noise(self, w: Wildcards) -> dict[str, Any]:
        corruption = self.corruptions[w.corruption]
        section = self._kind(corruption.noise)
        declared = noise_kinds.declaration(section["kind"], section.get("file")).options
        return {
            "dataset": w.dataset,
            "noise": corruption.noise,
            "kind": section["kind"] if section["kind"] != corruption.noise else None,
            "snr_db": corruption.snr_db,
            "file": section.get("file"),
            "options": non_default(section, declared) or None,
        }

    def _run(self, w: Wildcards, system: str, regime: str) -> dict[str, Any]:
        section = self.config["datasets"][w.dataset]
        evaluation = section.get("evaluation", EVERY_CONDITION)
        # A training that is tested at several levels has the noise of its training level, if any.
        name = getattr(w, "corruption", None) or getattr(w, "trained", None)
        corruption = self.corruptions.get(name, Corruption("", None)) if name else Corruption("", None)
        return {
            "dataset": w.dataset,
            "system": self._named.kind(system),
            "regime": regime,
            "repeats": 1 if system in REFERENCES else self.repeats,
            "noise": corruption.noise or None,
            "snr_db": corruption.snr_db,
            "evaluation": None if evaluation == EVERY_CONDITION else evaluation,
        } | self._overrides(system)

    def _printed(self, dataset: str) -> DatasetSettings:
        section = self.config["datasets"][dataset]
        return DatasetSettings(
            paper_name=section.get("paper_name"),
            synthetic=self._is_synthetic(dataset),
            evaluation=section.get("evaluation", EVERY_CONDITION),
            modalities=self.modalities(dataset),
        )

    def _is_synthetic(self, dataset: str) -> bool:
        """Whether a dataset is synthetic."""
        section = self.config["datasets"][dataset]
        return "generate" in section or "generate" in section.get("raw", {})

    def _fewer_modalities(self, dataset: str) -> list[str] | None:
        """Return the modalities of a dataset, None if it has all three."""
        own = self.modalities(dataset)
        return None if own == MODALITIES else list(own)


_SCHEDULE = {"schedule": "shape", "beta_start": "beta_start", "beta_end": "beta_end", "fixed_chain": "chain"}
"""Configuration key of the schedule -> its name in ``Schedule``."""


def source_arguments(sources: dict[str, list[Path]]) -> list[str]:
    """Return the sources of a figure as arguments of ``draw_figure.py``."""
    return [word for name, files in sources.items() for word in ("--source", name, *map(str, files))]


def _json(settings: dict[str, Any]) -> str:
    # One string with sorted keys, because Snakemake compares params as a set of unnamed values.
    return json.dumps({key: value for key, value in settings.items() if value is not None}, sort_keys=True)
