"""Join the features of all chunks into one corpus in the layout ``ragged_hdf5``, with a summary of failures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nmer.errors import DataError, listed
from nmer.extraction.features_file import Entry, read_entries, write_entries
from nmer.extraction.registry import STATES, USABLE
from nmer.hdf5_output import create_file

LISTED_IDS = 20
"""Number of utterances per state that the summary names."""

Folds = Mapping[int, Mapping[str, NDArray[np.int64]]]


@dataclass(frozen=True)
class ModalityFeatures:
    """The features of one modality. entries: by utterance id. dim: width. metadata: of the chunks."""

    entries: dict[str, Entry]
    dim: int
    metadata: dict[str, Any]


def read_modality(paths: Sequence[Path], ids: Sequence[str], modality: str) -> ModalityFeatures:
    """Read and join the chunks of a modality. ids: all utterances, each in one chunk.

    Raises DataError if chunks differ in versions, settings or width, or lack an utterance.
    """
    entries: dict[str, Entry] = {}
    metadata: dict[str, Any] = {}
    dim, first_id = 0, ""
    for path in paths:
        chunk_entries, chunk_metadata = read_entries(path)
        if chunk_entries and metadata and chunk_metadata != metadata:
            raise DataError(
                f"{path}: was extracted differently from other chunks ({_difference(metadata, chunk_metadata)}). "
                f"Delete {path.parent} and run again."
            )
        metadata = chunk_metadata if chunk_entries else metadata or chunk_metadata
        for entry in chunk_entries:
            if len(entry.values) and dim not in (0, entry.values.shape[1]):
                raise DataError(
                    f"Modality {modality}: utterance '{entry.id}' has {entry.values.shape[1]} features, '{first_id}' "
                    f"{dim}. Extract all with one model and one set of columns."
                )
            if len(entry.values):
                dim, first_id = entry.values.shape[1], first_id or entry.id
            entries[entry.id] = entry
    for identifier in ids:
        if identifier not in entries:
            raise DataError(f"{paths[0].parent}: no chunk contains utterance '{identifier}'. Delete it and run again.")
    return ModalityFeatures({identifier: entries[identifier] for identifier in ids}, dim, metadata)


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    pairs = [(key, one.get("versions", {}).get(key), other.get("versions", {}).get(key)) for key in one["versions"]]
    return ", ".join(f"{key} {a} and {b}" for key, a, b in pairs if a != b) or "other settings"


def usable_ids(joined: Mapping[str, ModalityFeatures], ids: Sequence[str]) -> list[str]:
    """Return the utterances that have features in every modality, in order."""
    return [name for name in ids if all(each.entries[name].state in USABLE for each in joined.values())]


def check_failures(joined: Mapping[str, ModalityFeatures], ids: Sequence[str], max_failed: float, key: str) -> None:
    """Raise DataError if more than a share ``max_failed`` of utterances lacks features, or a modality has none.

    Features of words that are all unknown count as none if this applies to every utterance of the modality.
    key: the key of the configuration that sets the share.
    """
    for modality, each in joined.items():
        if not each.dim:
            states = Counter(entry.state for entry in each.entries.values())
            raise DataError(f"Modality {modality}: no utterance has features ({_counts(states)}). {_remedy(key)}")
        if len(_without_known_words(each)) == sum(entry.state in USABLE for entry in each.entries.values()):
            raise DataError(
                f"Modality {modality}: the vectors of extractor '{each.metadata['extractor']}' contain no word of any "
                "utterance. Check its options vectors and lowercase, and the texts."
            )
    failed = len(ids) - len(usable_ids(joined, ids))
    if failed > max_failed * len(ids):
        states = Counter(e.state for each in joined.values() for e in each.entries.values() if e.state not in USABLE)
        raise DataError(
            f"{failed} of {len(ids)} utterances lack features of a modality ({_counts(states)}); at most "
            f"{max_failed:.0%} may. {_remedy(key)}"
        )


def _without_known_words(features: ModalityFeatures) -> list[str]:
    """Return the utterances whose words are all unknown to the extractor, so their features are zero."""
    return [
        entry.id
        for entry in features.entries.values()
        if 0 < entry.counts.get("words", 0) == entry.counts.get("unknown_words", 0)
    ]


def _counts(states: Counter[str]) -> str:
    return ", ".join(f"{state} {states[state]}" for state in STATES if states[state])


def _remedy(key: str) -> str:
    return f"The logs in results/logs/extracted name the files. Correct them, or raise {key}."


def summarise(joined: Mapping[str, ModalityFeatures]) -> dict[str, Any]:
    """Summarise per modality: extractor, licence, versions, utterances with features, states, first ids of each.

    without_known_words: number and first ids of the utterances whose words are all unknown; absent if there are none.
    """
    summary = {}
    for modality, each in joined.items():
        entries = list(each.entries.values())
        states = Counter(entry.state for entry in entries)
        counts: Counter[str] = Counter()
        for entry in entries:
            counts.update(entry.counts)
        unknown = _without_known_words(each)
        summary[modality] = {
            **each.metadata,
            "dim": each.dim,
            "utterances": len(entries),
            "with_features": sum(states[state] for state in USABLE),
            "states": {state: states[state] for state in STATES if states[state]},
            "ids": {
                state: [entry.id for entry in entries if entry.state == state][:LISTED_IDS]
                for state in STATES
                if state != "ok" and states[state]
            },
            "counts": dict(sorted(counts.items())),
            **({"without_known_words": {"count": len(unknown), "ids": unknown[:LISTED_IDS]}} if unknown else {}),
        }
    return summary


def notes_and_warnings(summary: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return notes and warnings for the validation report, one sentence each."""
    notes, warnings = [], []
    for modality, of_modality in summary.items():
        versions = ", ".join(f"{name} {version}" for name, version in of_modality["versions"].items())
        notes.append(
            f"Modality {modality} was extracted by {of_modality['extractor']} (licence: {of_modality['licence']}; "
            f"{versions}): {of_modality['with_features']} of {of_modality['utterances']} utterances have features."
        )
        counts = of_modality["counts"]
        if counts.get("frames") and "faces" in counts:
            notes.append(f"Modality {modality}: {counts['faces'] / counts['frames']:.1%} of the pictures show a face.")
        if counts.get("words"):
            unknown = counts.get("unknown_words", 0)
            notes.append(f"Modality {modality}: {unknown} of {counts['words']} words have no vector.")
        if counts.get("cut"):
            notes.append(f"Modality {modality}: {counts['cut']} utterances end after their files do.")
        for state, ids in of_modality["ids"].items():
            named = listed(ids, of_modality["states"][state])
            warnings.append(f"Modality {modality}: {of_modality['states'][state]} utterances are {state}: {named}.")
        if unknown_text := of_modality.get("without_known_words"):
            named = listed(unknown_text["ids"], unknown_text["count"])
            warnings.append(
                f"Modality {modality}: {unknown_text['count']} utterances contain no word with a vector, so their "
                f"features are zero: {named}."
            )
    return notes, warnings


def write_modality(path: Path, features: ModalityFeatures) -> None:
    """Write the features of all utterances of one modality, including those without features."""
    write_entries(path, list(features.entries.values()), features.metadata)


def write_corpus(
    path: Path,
    joined: Mapping[str, ModalityFeatures],
    columns: Mapping[str, Sequence[str]],
    folds: Callable[[list[int]], Folds],
    kept: Sequence[int],
    remarks: Mapping[str, Any],
) -> None:
    """Write a corpus of the utterances in the rows ``kept``; one without features gets a single zero frame.

    columns: all rows of ``id``, ``label`` and other columns. folds: function from the kept rows to folds, empty = none.
    remarks: notes, warnings and dropped utterances, for the validation report.
    """
    ids = [columns["id"][row] for row in kept]
    fold_splits = folds(list(kept))
    size = sum(entry.values.nbytes for each in joined.values() for entry in each.entries.values())
    with create_file(path, size) as file:
        for name, values in columns.items():
            file[f"utterance/{name}"] = np.array([values[row] for row in kept], dtype=h5py.string_dtype())
        for modality, each in joined.items():
            zero = np.zeros((1, each.dim), np.float32)
            frames = [entry.values if len(entry.values) else zero for entry in map(each.entries.__getitem__, ids)]
            offset = np.cumsum([0, *map(len, frames)], dtype=np.int64)
            values = file.create_dataset(f"{modality}/values", shape=(int(offset[-1]), each.dim), dtype=np.float32)
            for start, one in zip(offset, frames, strict=False):
                values[start : start + len(one)] = one
            file[f"{modality}/offset"] = offset
        for number, splits in fold_splits.items():
            for split, index in splits.items():
                file[f"fold/{number}/{split}"] = index
        file.attrs["remarks"] = json.dumps(remarks, sort_keys=True)
