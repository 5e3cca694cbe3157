"""A feature store of a few generated utterances, and the noise steps, run in this process."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from unittest import mock

import calibrate
import corrupt
import h5py
import numpy as np

from nmer import command
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.store_writer import write_store

IDS = ("u0", "Ü1", "u2", "u3", "u4", "u5", "u6")
DIMS = {"a": 3, "v": 4, "l": 5}


def utterance(modality: str, name: str) -> np.ndarray:
    """Return (frames, dim) float32: a of varying length with a large mean, l small with half of its rows zero."""
    number = IDS.index(name)
    generator = np.random.default_rng([number, "avl".index(modality)])
    if modality == "a":
        scale, centre = np.array([1.0, 20.0, 0.05]), np.array([-3.0, 100.0, 0.0])
        return (centre + scale * generator.standard_normal((2 + number, 3))).astype(np.float32)
    if modality == "v":
        return (1.5 * generator.standard_normal((4, 4))).astype(np.float32)
    words = (0.4 * generator.standard_normal((6, 5))).astype(np.float32)
    words[3:] = 0
    return words


def make_store(path: Path, ids: tuple[str, ...] = IDS, standardize: tuple[str, ...] = ("a",), scale=1.0) -> Path:
    """Write a store of these utterances, in this order; ``scale`` multiplies the lexical features."""

    def features(modality: str, index: int) -> np.ndarray:
        return utterance(modality, ids[index]) * np.float32(scale if modality == "l" else 1)

    everyone = np.arange(len(ids))
    corpus = Corpus(
        ids=list(ids),
        labels=everyone % 2,
        speakers=["s"] * len(ids),
        classes=["no", "yes"],
        dims=DIMS,
        lengths={m: np.array([len(utterance(m, name)) for name in ids]) for m in DIMS},
        folds={1: {"train": everyone, "val": everyone[:2], "test": everyone[:2]}},
        features=features,
    )
    write_store(corpus, CorpusSettings("small", "iemocap_mmin", standardize=standardize), path)
    return path


def run(step, settings: dict, **arguments: object) -> None:
    """Run a step's command line in this process."""
    command_line = ["--settings", json.dumps(settings)]
    for name, value in arguments.items():
        command_line += [f"--{name}", str(value)]
    with mock.patch.object(sys, "argv", [step.__name__, *command_line]):
        command.run(step.main)


def make_noisy(
    features: Path,
    folder: Path,
    noise: str = "gaussian",
    snr_db: int = -10,
    seed: int = 0,
    mode="integer_T",
    draws: int = 1,
    match: str = "nominal",
    **settings,
) -> Path:
    """Calibrate and corrupt; return the file of noisy embeddings."""
    output = folder / f"{noise}_{snr_db}dB.h5"
    common = {"dataset": "small", "noise": noise, **settings}
    run(
        calibrate,
        common | {"snr_db": snr_db, "mode": mode, "match": match},
        features=features,
        output=output.with_suffix(".csv"),
    )
    corrupt_store(features, output.with_suffix(".csv"), output, common | {"seed": seed, "draws": draws})
    return output


def corrupt_store(features: Path, calibration: Path, output: Path, settings: dict, threads: int = 1) -> Path:
    """Corrupt with these settings; return the CSV of the measured SNRs."""
    measured = output.with_name(f"{output.stem}_measured.csv")
    files = {"features": features, "calibration": calibration, "output": output, "measured": measured}
    run(corrupt, settings, **files, threads=threads)
    return measured


def read_levels(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a calibration CSV by modality."""
    with path.open(newline="") as stream:
        return {row["modality"]: row for row in csv.DictReader(stream)}


def read_noisy(path: Path, ids: tuple[str, ...] = IDS) -> dict[str, dict[str, np.ndarray]]:
    """Return noisy values by modality and utterance, split at the lengths of the clean utterances."""
    with h5py.File(path) as file:
        return {
            m: dict(
                zip(
                    ids,
                    np.split(file[m]["values"][()], np.cumsum([len(utterance(m, u)) for u in ids])[:-1]),
                    strict=True,
                )
            )
            for m in DIMS
        }
