"""A feature store and noisy embeddings of a few generated utterances, and small trainings on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from nmer import command
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.store_writer import write_store
from nmer.digests import write_digest
from nmer.plan.settings import RunSettings, TrainingSettings
from nmer.systems.building import build_system
from nmer.systems.interface import System
from nmer.training.data import FoldData
from nmer.training.graphs import Graphs
from nmer.training.loop import Trained, fit
from nmer.training.one_by_one import OneByOne
from nmer.training.stacked import Stacked

torch.set_num_threads(1)

DIMS = {"a": 3, "v": 2, "l": 4}
CLASSES = ["low", "middle", "high"]
IDS = [f"u{number}" for number in range(21)]
LABELS = np.arange(21) % 3
SCORES = np.round(LABELS - 1.2 + 0.03 * np.arange(21), 2)
"""Labels for the target score: near the class numbers, all different."""
FOLDS = {
    1: {"train": np.arange(9), "val": np.arange(9, 15), "test": np.arange(15, 21)},
    2: {"train": np.arange(20, 9, -1), "val": np.arange(3), "test": np.arange(3, 9)},
}
SMALL_NMER = {"layers": 1, "heads": 2, "feed_forward": 16}
NO_DROPOUT = {"dropout": 0.0}
"""Systems with masks over frames: masks depend on padding, and stacked repeats have more padding."""

SMALL = {"nmer": SMALL_NMER, "experts": {"depth": 1}}
CPU = torch.device("cpu")
SYSTEMS = {
    "men": (None, "clean", {}),
    "two_tower": (None, "clean", {}),
    "shared": (None, "clean", {}),
    "shared scaled": (None, "clean", {"discrepancy_scaling": True}),
    "shared tanh scaled": (None, "clean", {"invariant_features": "tanh", "discrepancy_scaling": True}),
    "unimodal_l": (None, "all_noisy", {}),
    "mctn": (None, "incomplete", {"steps": 2}),
    "mctn hier": (None, "incomplete", {"steps": 2, "form": "hier"}),
    "mmin": ("men", "incomplete", {}),
    "if_mmin": ("shared", "incomplete", {}),
    "nmer": ("two_tower", "incomplete", {}),
    "nmer stacked": ("shared", "all_noisy", {"invariance": "stacked"}),
    "nmer_no_vae": ("two_tower", "incomplete", {}),
    "experts": (None, "clean", {"depth": 1} | NO_DROPOUT),
    "momke": ("experts", "incomplete", {"depth": 1} | NO_DROPOUT),
    "momke flags": ("experts", "incomplete", {"depth": 1, "noise_flags": True} | NO_DROPOUT),
    "lnln": (None, "incomplete", {"fusion_layers": 1}),
    "lnln flags": (None, "incomplete", {"fusion_layers": 1, "noise_flags": True, "reversal": "released"}),
    "emt_dlfr": (None, "incomplete", {"layers": 2, "attention_dropout": 0.0, "feed_forward_dropout": 0.0}),
    "contrastive": (None, "clean", {}),
    "cif_mmin": ("contrastive", "all_noisy", {}),
    "nmer_no_inv": ("two_tower", "incomplete", SMALL_NMER),
}
"""Label -> stage of pretraining, regime and options; the system is the first word of the label."""


def utterance(modality: str, number: int, noisy: bool = False) -> np.ndarray:
    """Return (frames, dim) float32; a varies in length and has a large mean."""
    generator = np.random.default_rng([number, "avl".index(modality), noisy])
    frames = 1 + number * 5 % 7 if modality == "a" else 6
    values = generator.standard_normal((frames, DIMS[modality]))
    if modality == "a":
        values = np.array([5.0, -40.0, 0.0]) + np.array([1.0, 8.0, 0.1]) * values
    return (values + 0.5 * LABELS[number]).astype(np.float32)


def make_files(folder: Path, target: str = "classes") -> tuple[Path, Path]:
    """Write the feature store and the noisy embeddings with their digests; return both paths."""
    is_score = target == "score"
    features, noisy = folder / "small.h5", folder / "noisy.h5"
    corpus = Corpus(
        ids=IDS,
        labels=SCORES if is_score else LABELS,
        speakers=["s"] * len(IDS),
        classes=[] if is_score else CLASSES,
        dims=DIMS,
        lengths={m: np.array([len(utterance(m, number)) for number in range(len(IDS))]) for m in DIMS},
        folds=FOLDS,
        features=utterance,
    )
    write_store(corpus, CorpusSettings("small", "iemocap_mmin", standardize=("a",), target=target), features)
    with h5py.File(noisy, "w") as file:
        for modality in DIMS:
            frames = [utterance(modality, number, noisy=True) for number in range(len(IDS))]
            file[f"{modality}/values"] = np.concatenate(frames)
    write_digest(features)
    write_digest(noisy)
    return features, noisy


def fold_data(files: tuple[Path, Path], fold: int = 1) -> FoldData:
    return FoldData(*files, fold, CPU)


def normalised(modality: str, number: int, noisy: bool, fold: int = 1) -> np.ndarray:
    """Return an utterance, clean or noisy, with a normalised by the statistics of the training split."""
    values = utterance(modality, number, noisy).astype(np.float64)
    if modality == "a":
        training = np.concatenate([utterance("a", n) for n in FOLDS[fold]["train"]]).astype(np.float64)
        values = (values - training.mean(axis=0)) / training.std(axis=0)
    return values


def run_settings(system: str = "men", regime: str = "clean", epochs: int = 2, **changes) -> RunSettings:
    training = {"constant_epochs": epochs, "decay_epochs": 0, "batch_size": 4}
    training |= {key: changes.pop(key) for key in list(changes) if key in TrainingSettings.__dataclass_fields__}
    arguments = {"dataset": "small", "system": system, "regime": regime, "fold": 1, "repeats": 1} | changes
    return RunSettings(**arguments, training=TrainingSettings(**training))


def builder(system: str = "men", dropout: float = 0.5, **options):
    """Return the function that a learner calls to create the system."""
    all_options = SMALL.get(system, {}) | options
    return lambda: build_system(system, DIMS, len(CLASSES), dropout, all_options)


def train_one(
    build: Callable[[], System],
    data: FoldData,
    settings: RunSettings,
    repeat: int = 1,
    teacher: System | None = None,
    checkpoint: Path | None = None,
    fresh=None,
) -> Trained:
    """Train one repeat; return its best weights and its history."""
    return fit(OneByOne(build, data, settings, repeat, teacher, fresh), settings, checkpoint)[repeat]


def train_stacked(
    build: Callable[[], System],
    data: FoldData,
    settings: RunSettings,
    repeats: list[int],
    teachers: dict[int, System],
    checkpoint: Path | None = None,
) -> dict[int, Trained]:
    """Train repeats stacked; return the best weights and the history of each."""
    return fit(Stacked(build, data, settings, repeats, teachers), settings, checkpoint)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Return whether two sets of weights are equal bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Bare(System):
    """A minimal system: mean frames, two linear sub-networks. It records its batches."""

    def __init__(self) -> None:
        super().__init__(DIMS, len(CLASSES), 0.0)
        self.first = nn.Linear(sum(DIMS.values()), 5)
        self.second = nn.Linear(5, self.classes)
        self.batches = []

    def encode(self, modality, sequences):
        return sequences.values.sum(dim=1) / sequences.lengths[:, None]

    def fuse(self, encodings):
        return {"logits": self.second(self.first(torch.cat(list(encodings.values()), dim=1)))}

    def loss(self, outputs, batch):
        self.batches.append(batch)
        return super().loss(outputs, batch)


def run_step(step, settings: dict, **arguments) -> None:
    """Run a step's command line in this process."""
    command_line = ["--settings", json.dumps(settings)]
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        command_line += [f"--{name}", *map(str, values)]
    with mock.patch.object(sys, "argv", [step.__name__, *command_line]):
        command.run(step.main)


class Plain(System):
    """A minimal system that learns."""

    def __init__(self) -> None:
        super().__init__(DIMS, len(CLASSES), 0.0)
        self.head = nn.Linear(sum(DIMS.values()), self.classes)

    def encode(self, modality, sequences):
        return sequences.values.sum(dim=1) / sequences.lengths[:, None]

    def fuse(self, encodings):
        return {"logits": self.head(torch.cat(list(encodings.values()), dim=1))}


def make_teachers(stage: str | None, repeats: list[int]) -> dict[int, System]:
    """Return a frozen teacher per repeat, or none."""
    return {repeat: builder(stage)().requires_grad_(False) for repeat in repeats} if stage else {}


class RestorableGenerator(torch.Generator):
    """A CPU generator with the method that only GPU generators have."""

    def graphsafe_set_state(self, other: torch.Generator) -> None:
        self.set_state(other.get_state())


class FakeCaptures:
    """Fake CUDA graphs on a CPU: a replay runs the captured function on its captured tensors.

    As on a GPU, replays share one output, and a capture itself computes nothing. fail_with: raised by a capture after
    it has drawn from every generator. default: replaces the default generator of the GPU.
    """

    def __init__(self, monkeypatch) -> None:
        self.captured = self.replays = 0
        self.fail_with: Exception | None = None
        self.default = RestorableGenerator()
        monkeypatch.setattr("nmer.training.graphs.default_generator", lambda device: self.default)
        monkeypatch.setattr(Graphs, "_capture", lambda *arguments: self._capture(*arguments))

    def _capture(self, graphs, function, inputs):
        self.captured += 1
        if self.fail_with is not None:
            for generator in [*graphs._generators, self.default, None]:
                torch.rand(3, generator=generator)
            raise self.fail_with
        return _FakeCaptured(self, function, tuple(tensor.clone() for tensor in inputs))


class _FakeCaptured:
    def __init__(self, counts: FakeCaptures, function, inputs: tuple[Tensor, ...]) -> None:
        self._counts, self._function = counts, function
        self.inputs, self.graph, self.output = inputs, self, None

    def replay(self) -> None:
        self._counts.replays += 1
        found = self._function(*self.inputs)
        self.output = found if self.output is None else self.output.copy_(found)
