"""Custom corpora: a CSV of utterances and one ``.npy`` file per utterance and modality.

``utterances.csv`` has the columns ``id``, ``label`` and, depending on the protocol, ``speaker``, ``split`` or ``fold``;
``a/{id}.npy``, ``v/{id}.npy`` and ``l/{id}.npy`` contain (frames, dim) each. Any number of classes, or scores as
labels; any dims, any lengths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from nmer.corpora.arrays import array_header, load_array
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.registry import layout
from nmer.corpora.utterances import parse_utterances
from nmer.errors import DataError
from nmer.utterance_table import check_file_names, read_listing

LISTING = "utterances.csv"


@layout(
    "npy_folder",
    files=("utterances.csv",),
    modality_files={"a": "a/*.npy", "v": "v/*.npy", "l": "l/*.npy"},
    targets=("classes", "score"),
    standardize=(),
    folds=1,
)
def read(
    source: Path,
    settings: CorpusSettings,
    *,
    protocol: Literal["column", "leave_one_group_out", "stratified"] = "column",
) -> Corpus:
    """Read the folder ``source`` in the format of this module. Arrays are read on demand.

    protocol: source of the folds, see :func:`nmer.corpora.utterances.parse_utterances`.
    Raises DataError if a file is missing, damaged or inconsistent, or the table is invalid.
    """
    path = source / LISTING
    columns = read_listing(path, ("id", "label"), ("speaker", "split", "fold"))
    utterances = parse_utterances(columns, protocol, settings, str(path))
    check_file_names(utterances.ids, path)
    shapes = {m: _shapes(source / m, utterances.ids) for m in settings.modalities}

    def features(modality: str, index: int) -> np.ndarray:
        return load_array(source / modality / f"{utterances.ids[index]}.npy")

    return Corpus(
        ids=utterances.ids,
        labels=utterances.labels,
        speakers=utterances.speakers,
        classes=utterances.classes,
        dims={m: int(shape[0, 1]) for m, shape in shapes.items()},
        lengths={m: shape[:, 0] for m, shape in shapes.items()},
        folds=utterances.folds,
        features=features,
        notes=utterances.notes,
        warnings=[warning for m in settings.modalities for warning in _unlisted(source / m, utterances.ids)],
        files={m: str(source / m) for m in settings.modalities},
    )


def _shapes(folder: Path, ids: list[str]) -> np.ndarray:
    """Return frames and dimensions of every utterance, (n, 2)."""
    shapes = np.empty((len(ids), 2), np.int64)
    for index, identifier in enumerate(ids):
        path = folder / f"{identifier}.npy"
        shape, dtype = array_header(path)
        if len(shape) != 2 or dtype.kind not in "biuf" or (index and shape[1] != shapes[0, 1]):
            raise DataError(f"{path}: holds {dtype} {shape}, unlike the others' numbers (frames, dim). Correct it.")
        shapes[index] = shape
    return shapes


def _unlisted(folder: Path, ids: list[str]) -> list[str]:
    count = len({path.stem for path in folder.glob("*.npy")} - set(ids))
    return [f"{folder}: {count} files belong to no utterance of {LISTING}."] if count else []
