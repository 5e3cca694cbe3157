"""Noise for a user's features outside the workflow: the work of ``nmer noise``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nmer import command
from nmer.corpora.arrays import load_array
from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.moments import Moments, typical_frame
from nmer.corpora.outliers import Outliers
from nmer.corpora.store import FeatureStore
from nmer.corpora.store_writer import write_store
from nmer.errors import ConfigError, DataError
from nmer.files import atomic_path
from nmer.hdf5_output import create_file
from nmer.noise.calibration import CalibrationSettings
from nmer.noise.calibration_table import COLUMNS, calibration_rows
from nmer.noise.corruption import NoiseSource
from nmer.noise.features import corrupt_features
from nmer.noise.misses import miss_sentences
from nmer.noise.registry import has_snr, noise_kinds
from nmer.noise.schedule import Schedule
from nmer.noisy_embeddings.noisy import corrupt_modality


def corrupt(arguments: argparse.Namespace) -> None:
    """Corrupt a NumPy file or a corpus and print the calibration.

    arguments: those of ``nmer noise``. Raises ConfigError or DataError that name the argument or file.
    """
    _check_combination(arguments)
    options = command.settings(arguments.options, "--options")
    declaration = noise_kinds.declaration(arguments.noise, arguments.file)
    declaration.check_options(options, "--options")
    if has_snr(declaration) and arguments.snr_db is None:
        raise ConfigError(f"--snr-db: noise kind '{arguments.noise}' has an SNR. Give its target in dB.")
    if not has_snr(declaration) and arguments.snr_db is not None:
        raise ConfigError(f"--snr-db: noise kind '{arguments.noise}' has no SNR. Leave it out.")
    schedule = command.fill(Schedule, command.settings(arguments.schedule, "--schedule"), "--schedule")
    (corrupt_corpus if arguments.layout else corrupt_array)(arguments, options, schedule)


def _check_combination(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for an argument that would have no effect."""
    if arguments.layout:
        without = {"--modality": arguments.modality, "--ids": arguments.ids, "--standardise": arguments.standardise}
        reason = "applies only to a .npy file, and --layout names a corpus"
    else:
        without = {"--layout-settings": arguments.layout_settings != "{}"}
        reason = "applies only to a corpus, whose --layout is missing"
    for option, value in without.items():
        if value:
            raise ConfigError(f"{option}: {reason}. Leave one of them out.")


def corrupt_array(arguments: argparse.Namespace, options: dict[str, Any], schedule: Schedule) -> None:
    """Corrupt a NumPy file of one modality, (utterances, steps, dim) or (frames, dim), and print the calibration.

    arguments: those of ``nmer noise``. Raises ConfigError or DataError that name the argument or file.
    """
    if not arguments.modality:
        raise ConfigError("--modality: a .npy file contains one modality. Give a, v or l.")
    values = load_array(arguments.input)
    if values.dtype.kind not in "biuf" or values.ndim not in (2, 3):
        raise DataError(
            f"{arguments.input}: contains {values.dtype} {values.shape}, not numbers (utterances, steps, dim)."
        )
    if not values.size:
        raise DataError(f"{arguments.input}: contains no values: {values.shape}. Give at least one frame.")
    utterances = values if values.ndim == 3 else values[None]
    ids = _ids(arguments.ids, len(utterances))
    try:
        corrupted = corrupt_features(
            dict(zip(ids, utterances, strict=True)),
            arguments.noise,
            arguments.snr_db,
            dataset=arguments.dataset,
            modality=arguments.modality,
            seed=arguments.seed,
            options=options,
            file=arguments.file,
            schedule=schedule,
            mode=arguments.mode,
            match=arguments.match,
            standardise=arguments.standardise,
        )
    except DataError as error:
        raise DataError(f"{arguments.input}: {error}") from None
    _warn(_outliers(utterances, arguments.modality, arguments.standardise))
    noisy = np.stack([corrupted.utterances[identifier] for identifier in ids]).reshape(values.shape)
    with atomic_path(arguments.output) as temporary, temporary.open("wb") as stream:
        np.save(stream, noisy, allow_pickle=False)
    level = {name: getattr(corrupted, name) for name in ("attained_db", "effective_db", "target_db", "measured_db")}
    _warn(
        miss_sentences([{"dataset": arguments.dataset, "noise": arguments.noise, "snr_db": arguments.snr_db} | level])
    )
    for name in ("variance", "steps", "alpha_bar", "attained_db", "effective_db", "measured_db"):
        if getattr(corrupted, name) is not None:
            print(f"{name}: {getattr(corrupted, name):.6g}")


def _outliers(utterances: np.ndarray, modality: str, standardised: bool) -> list[str]:
    """Return warnings about values that dominate the variance. utterances: (n, steps, dim) of any real type."""
    frames = utterances.reshape(-1, utterances.shape[-1]).astype(np.float32)
    outliers = Outliers()
    outliers.add(frames)
    return outliers.warnings(modality, Moments.of(frames, typical_frame(frames)), standardised)


def _ids(path: Path | None, count: int) -> list[str]:
    if path is None:
        return [str(number) for number in range(count)]
    try:
        ids = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error}). Save it as UTF-8.") from None
    if len(ids) != count or len(set(ids)) < count:
        raise DataError(f"{path}: must contain {count} different utterance ids, one per line; it has {len(set(ids))}.")
    return ids


def corrupt_corpus(arguments: argparse.Namespace, options: dict[str, Any], schedule: Schedule) -> None:
    """Corrupt a corpus in one of the workflow's layouts, by way of a temporary feature store.

    arguments: those of ``nmer noise``. Raises ConfigError or DataError that name the argument or file.
    """
    named = {"dataset": arguments.dataset, "layout": arguments.layout}
    settings = CorpusSettings.from_mapping(command.settings(arguments.layout_settings, "--layout-settings") | named)
    dataset = replace(settings, needs_folds=False)
    source = NoiseSource.load(arguments.noise, arguments.dataset, arguments.seed, options, arguments.file)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        with read_corpus(arguments.input, dataset) as corpus:
            store_warnings = write_store(corpus, dataset, path)  # without the checks for training
        with FeatureStore(path, needs_folds=False) as store, create_file(arguments.output) as output:
            calibration = CalibrationSettings(
                arguments.dataset,
                arguments.noise,
                arguments.snr_db,
                file=arguments.file,
                options=options,
                mode=arguments.mode,
                match=arguments.match,
            )
            rows, warnings = calibration_rows(calibration, {m: store.variance(m) for m in store.modalities}, schedule)
            output.create_dataset("utterance/id", data=store.ids, dtype=h5py.string_dtype())
            print("\t".join((*COLUMNS, "measured_db")))
            measured_rows: list[dict[str, Any]] = []
            for row in rows:
                modality = row["modality"]
                measured = corrupt_modality(store, output, modality, source, row)
                measured_rows.append({**row, **measured})
                output[f"{modality}/offset"] = store.offset(modality)
                print("\t".join(str(value) for value in (*row.values(), measured.get("measured_db", ""))))
    _warn([*store_warnings, *warnings, *miss_sentences(measured_rows)])


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
