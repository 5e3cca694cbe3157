"""The layout of MMIN's IEMOCAP features: HDF5 features per utterance, target lists per fold (SPEC 5.1).

Source: AIM3-RUC/MMIN, archive ``IEMOCAP_features_2021``. Features are read on demand. Without the folder of target
lists, labels come from one CSV file and folds from the speaker protocol.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from nmer.corpora.arrays import decode, load_array
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.hdf5 import dataset, open_hdf5, read_array
from nmer.corpora.label_parsing import number_labels
from nmer.corpora.registry import layout, numbered
from nmer.errors import ConfigError, DataError
from nmer.finite import all_finite, restore_infinities
from nmer.utterance_table import read_listing

FEATURE_FILES = {"a": "A/comparE.h5", "v": "V/denseface.h5", "l": "L/bert_large.h5"}
STATISTICS_FILE = "A/comparE_mean_std.h5"
Targets = dict[int, dict[str, dict[str, int]]]
"""Fold -> split -> utterance id -> label, from the target lists."""

TARGETS = "target"
LABELS = "labels.csv"
SPLIT_FILES = {"train": "trn", "val": "val", "test": "tst"}

CLASSES_BY_SIZE = ("neutral", "happy", "angry", "sad")
"""The four classes from largest to smallest. The release does not name them. As in the paper's Table 1, "happy"
includes utterances labelled happy and utterances labelled excited."""

PUBLISHED_SIZES = (1708, 1636, 1103, 1084)
"""Numbers of utterances of CLASSES_BY_SIZE in the release (SPEC 5.1)."""


@layout(
    "iemocap_mmin",
    files=(("target/*/*.npy", "labels.csv"),),
    modality_files={"a": "A/comparE.h5", "v": "V/denseface.h5", "l": "L/bert_large.h5"},
    optional_files=("A/comparE_mean_std.h5",),
    standardize=("a",),
    folds=10,
)
def read(source: Path, settings: CorpusSettings, *, norm: Literal["trn", "utt"] = "trn") -> Corpus:
    """Read the release in folder ``source``. The files stay open until the corpus is closed.

    norm: ``trn`` standardises audio with the statistics of each fold's training split, ``utt`` with those of each
    utterance. Without ``settings.classes``, classes are identified by their sizes. Without the folder ``target``,
    labels come from ``labels.csv`` (columns id, label) and folds follow the speaker protocol. Raises DataError if a
    file is damaged, or the files contradict each other.
    """
    with ExitStack() as resources:
        names = {m: FEATURE_FILES[m] for m in settings.modalities}
        features = {m: resources.enter_context(open_hdf5(source / name)) for m, name in names.items()}
        class_count = len(settings.classes or CLASSES_BY_SIZE)
        targets = _read_targets(source, class_count) if (source / TARGETS).is_dir() else {}
        ids, labels, classes, notes, warnings = _utterances(source, settings, targets)
        speakers = [speaker(identifier) for identifier in ids] if settings.needs_folds else list(ids)
        if targets:
            folds = _released_folds(targets, ids)
            notes.append(f"Folds: the {len(folds)} of the folder {TARGETS}.")
        elif not settings.needs_folds:
            folds = {}
        else:
            folds = speaker_folds(speakers)
            notes.append("Folds: by the speaker protocol; each leaves one session out for validation and test.")
        # Open datasets once: finding one among thousands takes longer than reading it.
        stored = {m: _datasets(features[m], ids, source / name) for m, name in names.items()}
        statistics = {}
        if "a" in stored:
            if norm != "utt":
                statistics = _statistics(source / STATISTICS_FILE, folds, stored["a"][0].shape[1])
            notes.append(_describe_normalisation(norm, bool(statistics)))

        def frames(modality: str, index: int) -> np.ndarray:
            values = read_array(stored[modality][index], source / FEATURE_FILES[modality])
            return standardise(values) if norm == "utt" and modality == "a" else values

        return Corpus(
            ids=ids,
            labels=labels,
            speakers=speakers,
            classes=classes,
            dims={m: listed[0].shape[1] for m, listed in stored.items()},
            lengths={m: np.array([one.shape[0] for one in listed], np.int64) for m, listed in stored.items()},
            folds=folds,
            features=frames,
            normalisation=statistics,
            normalised=("a",) if norm == "utt" else (),
            notes=notes,
            warnings=warnings,
            files={m: str(source / name) for m, name in names.items()},
            resources=resources.pop_all(),
        )


def speaker(identifier: str) -> str:
    """Return the speaker: session and letter of the last token of the id, ``Ses01F_impro01_M003`` -> ``1M``.

    The letter after the session is that of the wearer of the motion-capture markers, not of the speaker.
    """
    match = re.fullmatch(r"Ses(\d+)[FM]_(?:.*_)?([FM])[^_]*", identifier)
    if not match:
        raise DataError(f"Utterance id '{identifier}' is not of the form Ses01F_impro01_M003; its speaker is unknown.")
    return f"{int(match[1])}{match[2]}"


def name_classes(counts: np.ndarray) -> list[str]:
    """Name the label numbers 0..3 by the sizes of their classes (SPEC 5.1). counts: (4,)."""
    if len(set(counts.tolist())) < len(counts):
        raise DataError(
            f"The classes cannot be identified by their sizes {counts.tolist()}, two are equal. Name them in label "
            "order in the dataset's key 'classes'."
        )
    largest_first = np.argsort(-counts).tolist()
    return [CLASSES_BY_SIZE[largest_first.index(label)] for label in range(len(counts))]


def speaker_folds(speakers: list[str]) -> dict[int, dict[str, np.ndarray]]:
    """Make two folds per session (SPEC 5.1).

    Fold 2s - 1 leaves session s out, tests its male and validates on its female speaker; fold 2s vice versa. speakers:
    ``1M``, ``1F``, … Raises DataError if sessions are not numbered from 1 without gaps.
    """
    names = np.array(speakers)
    sessions = sorted({int(name[:-1]) for name in speakers})
    if sessions != list(range(1, len(sessions) + 1)) or len(sessions) < 2:
        raise DataError(f"Folds need two or more sessions, numbered 1, 2, 3, …; the ids have {sessions}. Correct them.")
    folds = {}
    for session in sessions:
        for number, test, val in ((2 * session - 1, "M", "F"), (2 * session, "F", "M")):
            held_out = {"val": names == f"{session}{val}", "test": names == f"{session}{test}"}
            chosen = {"train": ~(held_out["val"] | held_out["test"])} | held_out
            folds[number] = {split: np.flatnonzero(among) for split, among in chosen.items()}
    return folds


def standardise(frames: np.ndarray) -> NDArray[np.float64]:
    """Standardise frames (n, dim) per dimension with their mean and standard deviation (0 -> 1).

    The standard deviation divides by n - 1, as in the loader of the release; a single frame becomes 0.
    """
    values = np.array(frames, np.float64)
    restore_infinities(values)  # a mean would hide extremes of float types
    with np.errstate(invalid="ignore"):
        deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
        standardised: NDArray[np.float64] = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
        return standardised


def _utterances(
    source: Path, settings: CorpusSettings, targets: Targets
) -> tuple[list[str], np.ndarray, list[str], list[str], list[str]]:
    """Return sorted ids, labels, class names, notes on their origin, and warnings."""
    if targets:
        label_of = _labels(targets, source)
        ids = sorted(label_of)
        labels = np.array([label_of[identifier] for identifier in ids], np.int64)
        classes, note, warnings = _class_names(labels, settings)
        return ids, labels, classes, [note, *_note_on_happy(classes, settings)], warnings
    path = source / LABELS
    listed = read_listing(path, ("id", "label"))
    order = sorted(range(len(listed["id"])), key=listed["id"].__getitem__)
    ids = [listed["id"][index] for index in order]
    written = [listed["label"][index] for index in order]
    labels, classes = number_labels(written, settings.classes or sorted(CLASSES_BY_SIZE), path)
    notes = [f"Labels: from {LABELS}, because there is no folder {TARGETS}."]
    if not set(written) <= set(classes):  # numbers
        classes, note, warnings = _class_names(labels, settings)
        return ids, labels, classes, [*notes, note], warnings
    return ids, labels, classes, [*notes, f"Classes: {numbered(classes)}, from {LABELS}."], []


def _note_on_happy(classes: list[str], settings: CorpusSettings) -> list[str]:
    """Return a note on the class happy of the release."""
    is_release = sorted(classes) == sorted(CLASSES_BY_SIZE) and not settings.synthetic
    return ["The class happy includes the utterances that IEMOCAP labels excited."] * is_release


def _class_names(labels: np.ndarray, settings: CorpusSettings) -> tuple[list[str], str, list[str]]:
    """Return names of label numbers, a note on their origin, and warnings.

    Raises ConfigError if the key 'classes' contradicts the class sizes of the release.
    """
    counts = np.bincount(labels, minlength=len(CLASSES_BY_SIZE))
    if not settings.classes:
        classes = name_classes(counts)
        return classes, f"The release does not name classes; identified by their sizes: label {numbered(classes)}.", []
    classes, key = list(settings.classes), f"datasets.{settings.dataset}.classes"
    note = f"Classes: {numbered(classes)}, from the key {key}."
    if sorted(classes) != sorted(CLASSES_BY_SIZE) or len(set(counts.tolist())) < len(counts):
        return classes, note, []
    by_size = name_classes(counts)
    if classes == by_size:
        return classes, note, []
    sizes = ", ".join(f"{name} {count}" for name, count in zip(classes, counts.tolist(), strict=True))
    if sorted(counts.tolist(), reverse=True) == list(PUBLISHED_SIZES):
        raise ConfigError(
            f"{key}: with these names the sizes are {sizes}; those of the release are "
            f"{', '.join(f'{name} {count}' for name, count in zip(CLASSES_BY_SIZE, PUBLISHED_SIZES, strict=True))}. "
            f"Write {', '.join(by_size)}, or remove the key."
        )
    return classes, note, [f"By size, the classes would be {numbered(by_size)}; with {key} their sizes are {sizes}."]


def _describe_normalisation(norm: str, released: bool) -> str:
    if norm == "utt":
        return "Audio: standardised with the mean and standard deviation of each utterance."
    origin = "from the release" if released else "computed by the workflow"
    return f"Audio: standardised with the mean and standard deviation of each fold's training split, {origin}."


def _fold_folders(source: Path) -> dict[int, Path]:
    folders = {int(path.name): path for path in (source / TARGETS).iterdir() if path.name.isdecimal()}
    if not folders or sorted(folders) != list(range(1, len(folders) + 1)):
        raise DataError(f"{source / TARGETS}: folds must be folders 1, 2, 3, …; found {sorted(folders)}.")
    return dict(sorted(folders.items()))


def _read_names(folder: Path, split: str) -> list[str]:
    path = folder / f"{SPLIT_FILES[split]}_int2name.npy"
    stored = load_array(path)
    if stored.dtype.kind not in "SU" or stored.ndim not in (1, 2) or (stored.ndim == 2 and stored.shape[1] == 0):
        raise DataError(f"{path}: utterance names must be text or bytes, not {stored.dtype} {stored.shape}.")
    names = decode(stored if stored.ndim == 1 else stored[:, 0], path)
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: utterance '{repeated}' is listed twice. Remove one.")
    return names


def _label_numbers(path: Path, class_count: int) -> NDArray[np.int64]:
    """Read labels (N,) from one-hot rows (N, C) or label numbers (N,) or (N, 1)."""
    stored = load_array(path)
    if stored.dtype.kind not in "biuf" or stored.ndim not in (1, 2):
        raise DataError(f"{path}: labels must be one-hot rows or label numbers, not {stored.dtype} {stored.shape}.")
    if stored.ndim == 2 and stored.shape[1] > 1:
        if stored.shape[1] != class_count:
            raise DataError(f"{path}: {stored.shape[1]} classes where {class_count} are expected; see key 'classes'.")
        if not (np.isin(stored, (0, 1)).all() and (stored.sum(axis=1) == 1).all()):
            raise DataError(f"{path}: a row of labels is not one-hot (a single 1, the rest 0).")
        classes: NDArray[np.int64] = stored.argmax(axis=1).astype(np.int64)
        return classes
    flat = stored.reshape(-1)
    wrong = ~np.isin(flat, np.arange(class_count))
    if wrong.any():
        raise DataError(f"{path}: label {flat[wrong][0]} is outside the {class_count} classes 0..{class_count - 1}.")
    return flat.astype(np.int64)


def _read_targets(source: Path, class_count: int) -> Targets:
    """Read the lists of all folds and splits. Raises DataError if one is damaged or missing."""
    targets: Targets = {}
    for number, folder in _fold_folders(source).items():
        targets[number] = {}
        for split, stem in SPLIT_FILES.items():
            path = folder / f"{stem}_label.npy"
            numbers, names = _label_numbers(path, class_count), _read_names(folder, split)
            if len(numbers) != len(names):
                raise DataError(f"{path}: {len(numbers)} labels, but {len(names)} names in {stem}_int2name.npy.")
            targets[number][split] = dict(zip(names, numbers.tolist(), strict=True))
    return targets


def _labels(targets: Targets, source: Path) -> dict[str, int]:
    """Return utterance id -> label over all folds, which must agree."""
    labels: dict[str, int] = {}
    for number, splits in targets.items():
        for identifier, label in (pair for listed in splits.values() for pair in listed.items()):
            if labels.setdefault(identifier, label) != label:
                raise DataError(
                    f"{source / TARGETS / str(number)}: utterance '{identifier}' has label {label}, but "
                    f"{labels[identifier]} in another list. The folds must agree."
                )
    return labels


def _released_folds(targets: Targets, ids: list[str]) -> dict[int, dict[str, np.ndarray]]:
    position = {identifier: index for index, identifier in enumerate(ids)}
    return {
        number: {split: np.array([position[name] for name in listed], np.int64) for split, listed in splits.items()}
        for number, splits in targets.items()
    }


def _datasets(file: h5py.File, ids: list[str], path: Path) -> list[h5py.Dataset]:
    """Return the dataset of every utterance, (frames, dim) with the same dim."""
    datasets: list[h5py.Dataset] = []
    names = set(file)
    for identifier in ids:
        if identifier not in names:
            raise DataError(f"{path}: no features of utterance '{identifier}', which the lists of labels name.")
        one = dataset(file, identifier, path)
        if len(one.shape) != 2 or (datasets and one.shape[1] != datasets[0].shape[1]):
            raise DataError(
                f"{path}: utterance '{identifier}' has shape {one.shape}, unlike the others' (frames, dim)."
            )
        datasets.append(one)
    return datasets


def _statistics(
    path: Path, folds: Mapping[int, object], width: int
) -> dict[int, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Read mean and standard deviation of the audio per fold; empty if the release has none."""
    if not path.is_file():
        return {}
    pairs = {}
    with open_hdf5(path) as file:
        for number in folds:
            pair = [read_array(dataset(file, f"{number}/{name}", path), path).reshape(-1) for name in ("mean", "std")]
            if not all(len(values) == width and all_finite(values) for values in pair):
                raise DataError(
                    f"{path}: mean and std of fold {number} must be {width} finite numbers each. Delete the "
                    "file; without it they are computed."
                )
            pairs[number] = {"a": (pair[0], np.where(pair[1] > 0, pair[1], 1.0))}
    return pairs
