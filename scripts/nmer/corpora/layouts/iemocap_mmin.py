"""IEMOCAP as the MMIN feature release lays it out: HDF5 features per utterance, target lists per fold (SPEC 5.1).

Source: AIM3-RUC/MMIN, archive ``IEMOCAP_features_2021``. Reads features only when asked for them.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.registry import layout
from nmer.errors import DataError

FEATURE_FILES = {"a": "A/comparE.h5", "v": "V/denseface.h5", "l": "L/bert_large.h5"}
STATISTICS_FILE = "A/comparE_mean_std.h5"
SPLIT_FILES = {"train": "trn", "val": "val", "test": "tst"}

CLASSES_BY_SIZE = ("neutral", "happy", "angry", "sad")
"""The four classes from largest to smallest: 1708, 1636, 1103, 1084 utterances. The release does not name them."""


@layout(
    "iemocap_mmin",
    files=("A/comparE.h5", "V/denseface.h5", "L/bert_large.h5", "target/*/*.npy"),
    optional_files=("A/comparE_mean_std.h5",),
    standardize=("a",),
    folds=10,
)
def read(source: Path, settings: CorpusSettings) -> Corpus:
    """Read the release in folder ``source``; see the module. The files stay open until the corpus is closed.

    Without ``settings.classes`` the classes are told by their sizes.
    Raises DataError if a file is damaged, or the files contradict each other.
    """
    with ExitStack() as resources:
        features = {m: resources.enter_context(_open(source / name)) for m, name in FEATURE_FILES.items()}
        class_count = len(settings.classes or CLASSES_BY_SIZE)
        targets = {number: _read_fold(folder, class_count) for number, folder in _fold_folders(source).items()}
        label_of = _labels(targets, source)
        ids = sorted(label_of)
        labels = np.array([label_of[identifier] for identifier in ids], np.int64)
        position = {identifier: index for index, identifier in enumerate(ids)}
        shapes = {m: _shapes(features[m], ids, source / name) for m, name in FEATURE_FILES.items()}
        return Corpus(
            ids=ids,
            labels=labels,
            speakers=[speaker(identifier) for identifier in ids],
            classes=list(settings.classes or name_classes(np.bincount(labels, minlength=class_count))),
            dims={m: int(shape[0, 1]) for m, shape in shapes.items()},
            lengths={m: shape[:, 0] for m, shape in shapes.items()},
            folds={k: _indices(splits, position) for k, splits in targets.items()},
            features=lambda m, index: _frames(features[m], ids[index], source / FEATURE_FILES[m]),
            normalisation=_statistics(source / STATISTICS_FILE, targets),
            files={m: str(source / name) for m, name in FEATURE_FILES.items()},
            resources=resources.pop_all(),
        )


def speaker(identifier: str) -> str:
    """The speaker of an utterance: session and the letter of the id's last token, ``Ses01F_impro01_M003`` -> ``1M``.

    The letter after the session names the wearer of the motion-capture markers, not the speaker.
    """
    match = re.fullmatch(r"Ses(\d+)[FM]_(?:.*_)?([FM])[^_]*", identifier)
    if not match:
        raise DataError(f"Utterance id '{identifier}' is not of the form Ses01F_impro01_M003; its speaker is unknown.")
    return f"{int(match[1])}{match[2]}"


def name_classes(counts: np.ndarray) -> list[str]:
    """Names of label numbers 0..3, told by how many utterances each has (SPEC 5.1). counts: (4,)."""
    if len(set(counts.tolist())) < len(counts):
        raise DataError(
            f"The classes cannot be told by their sizes {counts.tolist()}, two are equal. Name them in label order "
            "in the dataset's key 'classes'."
        )
    largest_first = np.argsort(-counts).tolist()
    return [CLASSES_BY_SIZE[largest_first.index(label)] for label in range(len(counts))]


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: not a whole HDF5 file ({error}). Download it again.") from None


def _fold_folders(source: Path) -> dict[int, Path]:
    folders = {int(path.name): path for path in (source / "target").iterdir() if path.name.isdigit()}
    if sorted(folders) != list(range(1, len(folders) + 1)):
        raise DataError(f"{source / 'target'}: folds must be folders 1, 2, 3, …; found {sorted(folders)}.")
    return dict(sorted(folders.items()))


def _read_fold(folder: Path, class_count: int) -> dict[str, dict[str, int]]:
    """Split -> utterance id -> label."""
    fold = {}
    for split, stem in SPLIT_FILES.items():
        label_file, name_file = folder / f"{stem}_label.npy", folder / f"{stem}_int2name.npy"
        labels, names = _label_numbers(label_file, class_count), _names(name_file)
        if len(labels) != len(names):
            raise DataError(f"{label_file}: {len(labels)} labels, but {len(names)} names in {name_file.name}.")
        fold[split] = dict(zip(names, labels.tolist(), strict=True))
        if len(fold[split]) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{name_file}: utterance '{twice}' is listed twice. Remove one.")
    return fold


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Each fold needs trn, val and tst lists; complete the corpus.") from None
    except (OSError, ValueError, EOFError) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else error
        raise DataError(f"{path}: cannot be read as a plain NumPy array ({reason}).") from None


def _label_numbers(path: Path, class_count: int) -> np.ndarray:
    """(N,) int64 labels from one-hot rows (N, C) or label numbers (N,) or (N, 1)."""
    stored = _load(path)
    if stored.dtype.kind not in "biuf" or stored.ndim not in (1, 2):
        raise DataError(f"{path}: labels must be one-hot rows or label numbers, not {stored.dtype} {stored.shape}.")
    if stored.ndim == 2 and stored.shape[1] > 1:
        if stored.shape[1] != class_count:
            raise DataError(f"{path}: {stored.shape[1]} classes where {class_count} are expected; see key 'classes'.")
        if not (np.isin(stored, (0, 1)).all() and (stored.sum(axis=1) == 1).all()):
            raise DataError(f"{path}: a row of labels is not one-hot (a single 1, the rest 0).")
        return stored.argmax(axis=1).astype(np.int64)
    flat = stored.reshape(-1)
    wrong = ~np.isin(flat, np.arange(class_count))
    if wrong.any():
        raise DataError(f"{path}: label {flat[wrong][0]} is outside the {class_count} classes 0..{class_count - 1}.")
    return flat.astype(np.int64)


def _names(path: Path) -> list[str]:
    stored = _load(path)
    if stored.dtype.kind not in "SU" or stored.ndim not in (1, 2) or (stored.ndim == 2 and stored.shape[1] == 0):
        raise DataError(f"{path}: utterance names must be text or bytes, not {stored.dtype} {stored.shape}.")
    column = (stored if stored.ndim == 1 else stored[:, 0]).tolist()
    return [name.decode() if isinstance(name, bytes) else name for name in column]


def _labels(targets: dict[int, dict[str, dict[str, int]]], source: Path) -> dict[str, int]:
    """Utterance id -> label over all folds, which must agree."""
    labels: dict[str, int] = {}
    for number, splits in targets.items():
        for listed in splits.values():
            for identifier, label in listed.items():
                if labels.setdefault(identifier, label) != label:
                    raise DataError(
                        f"{source / 'target' / str(number)}: utterance '{identifier}' has label {label}, but "
                        f"{labels[identifier]} in another list. The folds must agree."
                    )
    return labels


def _indices(splits: dict[str, dict[str, int]], position: dict[str, int]) -> dict[str, np.ndarray]:
    return {split: np.array([position[name] for name in listed], np.int64) for split, listed in splits.items()}


def _shapes(file: h5py.File, ids: list[str], path: Path) -> np.ndarray:
    """(n, 2) frames and dimensions of every utterance."""
    shapes = np.empty((len(ids), 2), np.int64)
    for index, identifier in enumerate(ids):
        shape = getattr(file.get(identifier), "shape", None)
        if shape is None:
            raise DataError(f"{path}: no features of utterance '{identifier}', which the lists in target/ name.")
        if len(shape) != 2 or (index and shape[1] != shapes[0, 1]):
            raise DataError(f"{path}: utterance '{identifier}' has shape {shape}, unlike the others' (frames, dim).")
        shapes[index] = shape
    return shapes


def _frames(file: h5py.File, identifier: str, path: Path) -> np.ndarray:
    try:
        return file[identifier][()]
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: utterance '{identifier}' cannot be read ({error}). Download it again.") from None


def _statistics(path: Path, folds: dict[int, object]) -> dict[int, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The release's own mean and standard deviation of the audio per fold; empty where it has none."""
    if not path.is_file():
        return {}
    with _open(path) as file:
        try:
            pairs = {k: (file[f"{k}/mean"][()].reshape(-1), file[f"{k}/std"][()].reshape(-1)) for k in folds}
        except (KeyError, OSError, AttributeError):
            raise DataError(f"{path}: needs mean and std of folds 1..{len(folds)}. Complete or delete it.") from None
    return {k: {"a": (mean, np.where(std > 0, std, 1.0))} for k, (mean, std) in pairs.items()}
