"""Custom corpora: one HDF5 file of ragged arrays, in the format of the workflow's feature store.

``utterance/id`` and ``utterance/label`` (n) and, depending on the protocol, ``utterance/speaker``, ``utterance/split``
or ``utterance/fold``; per modality ``a``, ``v``, ``l``: ``values`` (total frames, dim) and ``offset`` (n + 1):
utterance i has the frames from ``offset[i]`` to ``offset[i + 1]``. Folds can also be stored as ``fold/{k}/train``,
``val`` and ``test``: indices of utterances, from 0. The optional attribute ``remarks`` is JSON with ``notes``,
``warnings`` (sentences) and ``dropped`` (reason and count), which are copied to the validation report.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from nmer.content import converting
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.folds import Folds
from nmer.corpora.hdf5 import dataset, member, open_hdf5, ragged_offset, read_array, read_column
from nmer.corpora.registry import layout, missing_modalities
from nmer.corpora.utterances import Utterances, parse_utterances
from nmer.errors import DataError
from nmer.names import SCORE, SPLITS, modality_set

COLUMNS = ("speaker", "split", "fold")


@layout(
    "ragged_hdf5",
    files=(),
    targets=("classes", "score"),
    standardize=(),
    folds=1,
)
def read(
    source: Path,
    settings: CorpusSettings,
    *,
    protocol: Literal["column", "given", "leave_one_group_out", "stratified"] = "column",
) -> Corpus:
    """Read the file ``source`` in the format of this module. It stays open until the corpus is closed.

    protocol: source of the folds: ``given`` is the group ``fold``; for the others see
    :func:`nmer.corpora.utterances.parse_utterances`. Raises DataError if the file does not have this format.
    """
    with ExitStack() as resources:
        file = resources.enter_context(open_hdf5(source))
        remarks = _remarks(file, source)
        utterances = _utterances(file, protocol, settings, source)
        values, offsets = {}, {}
        for m in settings.modalities:
            if m not in file:
                hint = missing_modalities(modality_set(file), f"datasets.{settings.dataset}.modalities")
                raise DataError(f"{source}: has no group '{m}'. {hint}")
            values[m] = dataset(file, f"{m}/values", source)
            offsets[m] = ragged_offset(file, m, len(utterances.ids), values[m], source)

        def features(modality: str, index: int) -> np.ndarray:
            start, stop = offsets[modality][index : index + 2]
            return read_array(values[modality], source, np.s_[start:stop])

        return Corpus(
            ids=utterances.ids,
            labels=utterances.labels,
            speakers=utterances.speakers,
            classes=utterances.classes,
            dims={m: values[m].shape[1] for m in settings.modalities},
            lengths={m: np.diff(offsets[m]) for m in settings.modalities},
            folds=utterances.folds,
            features=features,
            notes=[*utterances.notes, *remarks["notes"]],
            warnings=remarks["warnings"],
            dropped=remarks["dropped"],
            files={m: f"{source}: {m}/values" for m in settings.modalities},
            resources=resources.pop_all(),
        )


def _remarks(file: h5py.File, source: Path) -> dict[str, Any]:
    """Read notes, warnings and counts of dropped utterances from the attribute ``remarks``, JSON."""
    empty: dict[str, Any] = {"notes": [], "warnings": [], "dropped": {}}
    if "remarks" not in file.attrs:
        return empty
    with converting(f"{source}: attribute 'remarks'", "Correct or remove it."):
        remarks = empty | json.loads(file.attrs["remarks"])
        return {
            "notes": [str(note) for note in remarks["notes"]],
            "warnings": [str(warning) for warning in remarks["warnings"]],
            "dropped": {str(reason): int(count) for reason, count in remarks["dropped"].items()},
        }


def _utterances(file: h5py.File, protocol: str, settings: CorpusSettings, source: Path) -> Utterances:
    group = member(file, "utterance", source)
    if not isinstance(group, h5py.Group):
        raise DataError(f"{source}: 'utterance' is an array where a group of columns is expected.")
    # Columns that the protocol does not read are not validated.
    read = COLUMNS if protocol == "column" and settings.needs_folds else ("speaker",)
    names = ["id", "label", *(name for name in read if name in group)]
    columns = {
        name: read_column(dataset(file, f"utterance/{name}", source), source) for name in names if name != "label"
    }
    of_scores, hint = settings.target == SCORE, f"For scores, set datasets.{settings.dataset}.target: score."
    columns["label"] = read_column(dataset(file, "utterance/label", source), source, of_scores, hint)
    for name, column in columns.items():
        if len(column) != len(columns["id"]) or not column:
            raise DataError(f"{source}: utterance/{name} has {len(column)} entries, utterance/id {len(columns['id'])}.")
    has_folds = protocol == "given" and settings.needs_folds
    folds = _stored_folds(file, len(columns["id"]), source) if has_folds else None
    return parse_utterances(columns, protocol, settings, str(source), folds)


def _stored_folds(file: h5py.File, count: int, source: Path) -> Folds:
    stored = member(file, "fold", source)
    if not isinstance(stored, h5py.Group):
        raise DataError(f"{source}: 'fold' is an array where a group of folds is expected.")
    numbers = sorted(int(name) for name in stored if name.isdecimal())
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise DataError(f"{source}: the group 'fold' must contain folds 1, 2, 3, …; found {numbers}.")
    folds: Folds = {number: {} for number in numbers}
    for number in numbers:
        for split in SPLITS:
            name = f"fold/{number}/{split}"
            index = read_array(dataset(file, name, source), source)
            if index.ndim != 1 or index.dtype.kind not in "iu" or (index < 0).any() or (index >= count).any():
                raise DataError(f"{source}: {name} must contain indices of utterances, from 0 to {count - 1}.")
            folds[number][split] = index.astype(np.int64)
    return folds
