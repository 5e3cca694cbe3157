"""A feature store and noisy embeddings of a few hand-made utterances, and small trainings on them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import torch

from nmer import command
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.store_writer import write_store
from nmer.digests import write_digest
from nmer.plan.settings import RunSettings, TrainingSettings
from nmer.systems.building import build_system
from nmer.training.data import FoldData

torch.set_num_threads(1)

DIMS = {"a": 3, "v": 2, "l": 4}
CLASSES = ["low", "middle", "high"]
IDS = [f"u{number}" for number in range(21)]
LABELS = np.arange(21) % 3
FOLDS = {
    1: {"train": np.arange(9), "val": np.arange(9, 15), "test": np.arange(15, 21)},
    2: {"train": np.arange(20, 9, -1), "val": np.arange(3), "test": np.arange(3, 9)},
}
SMALL_NMER = {"layers": 1, "heads": 2, "feed_forward": 16}
CPU = torch.device("cpu")


def utterance(modality: str, number: int, noisy: bool = False) -> np.ndarray:
    """(frames, dim) float32; a varies in length and is far from zero mean."""
    generator = np.random.default_rng([number, "avl".index(modality), noisy])
    frames = 1 + number * 5 % 7 if modality == "a" else 6
    values = generator.standard_normal((frames, DIMS[modality]))
    if modality == "a":
        values = np.array([5.0, -40.0, 0.0]) + np.array([1.0, 8.0, 0.1]) * values
    return (values + 0.5 * LABELS[number]).astype(np.float32)


def make_files(folder: Path) -> tuple[Path, Path]:
    """Write the feature store and the noisy embeddings with their digests; returns both paths."""
    features, noisy = folder / "small.h5", folder / "noisy.h5"
    corpus = Corpus(
        ids=IDS,
        labels=LABELS,
        speakers=["s"] * len(IDS),
        classes=CLASSES,
        dims=DIMS,
        lengths={m: np.array([len(utterance(m, number)) for number in range(len(IDS))]) for m in DIMS},
        folds=FOLDS,
        features=utterance,
    )
    write_store(corpus, CorpusSettings("small", "iemocap_mmin", standardize=("a",)), features)
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
    """An utterance as a system sees it: a in units of the fold's training split, clean or noisy alike."""
    values = utterance(modality, number, noisy).astype(np.float64)
    if modality == "a":
        training = np.concatenate([utterance("a", n) for n in FOLDS[fold]["train"]]).astype(np.float64)
        values = (values - training.mean(axis=0)) / training.std(axis=0)
    return values


def run_settings(system: str = "men", regime: str = "clean", epochs: int = 2, **changes) -> RunSettings:
    training = {"constant_epochs": epochs, "decay_epochs": 0, "batch_size": 4}
    training |= {key: changes.pop(key) for key in list(changes) if key in TrainingSettings.__dataclass_fields__}
    given = {"dataset": "small", "system": system, "regime": regime, "fold": 1, "repeats": 1} | changes
    return RunSettings(**given, training=TrainingSettings(**training))


def builder(system: str = "men", dropout: float = 0.5, **options):
    """What ``train_repeat`` calls to make the system."""
    given = (SMALL_NMER if system == "nmer" else {}) | options
    return lambda: build_system(system, DIMS, len(CLASSES), dropout, given)


def run_step(step, settings: dict, **arguments) -> None:
    """Run a step's command line in this process."""
    given = ["--settings", json.dumps(settings)]
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        given += [f"--{name}", *map(str, values)]
    with mock.patch.object(sys, "argv", [step.__name__, *given]):
        command.run(step.main)
