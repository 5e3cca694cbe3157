"""From the features of all chunks to one corpus in the layout ``ragged_hdf5``, and an account of what was lost."""

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

from nmer.errors import DataError
from nmer.extraction.features_file import Entry, read_entries, write_entries
from nmer.extraction.registry import STATES, USABLE
from nmer.hdf5_output import create_file

LISTED_IDS = 20
"""Utterances of every state that the account names."""

Folds = Mapping[int, Mapping[str, NDArray[np.int64]]]


@dataclass(frozen=True)
class Joined:
    """The features of one modality: entries by utterance id, the width, and what the chunks say about themselves."""

    entries: dict[str, Entry]
    dim: int
    about: dict[str, Any]


def read_modality(paths: Sequence[Path], ids: Sequence[str], modality: str) -> Joined:
    """Put the chunks of a modality together. ids: all utterances, each in one chunk.

    Raises DataError if chunks were made with different versions, or differ in width, or lack an utterance.
    """
    entries: dict[str, Entry] = {}
    about: dict[str, Any] = {}
    dim, of_dim = 0, ""
    for path in paths:
        found, said = read_entries(path)
        if found and about and said != about:
            raise DataError(
                f"{path}: was made otherwise than the chunks before it ({_difference(about, said)}). Delete "
                f"{path.parent} and run again."
            )
        about = said if found else about or said
        for entry in found:
            if len(entry.values) and dim not in (0, entry.values.shape[1]):
                raise DataError(
                    f"Modality {modality}: utterance '{entry.id}' has {entry.values.shape[1]} features, '{of_dim}' "
                    f"{dim}. Extract all with one model and one set of columns."
                )
            if len(entry.values):
                dim, of_dim = entry.values.shape[1], of_dim or entry.id
            entries[entry.id] = entry
    for identifier in ids:
        if identifier not in entries:
            raise DataError(f"{paths[0].parent}: no chunk holds utterance '{identifier}'. Delete it and run again.")
    return Joined({identifier: entries[identifier] for identifier in ids}, dim, about)


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    pairs = [(key, one.get("versions", {}).get(key), other.get("versions", {}).get(key)) for key in one["versions"]]
    return ", ".join(f"{key} {a} and {b}" for key, a, b in pairs if a != b) or "other settings"


def usable_ids(joined: Mapping[str, Joined], ids: Sequence[str]) -> list[str]:
    """The utterances that have features in every modality, in the order given."""
    return [name for name in ids if all(each.entries[name].state in USABLE for each in joined.values())]


def check_failures(joined: Mapping[str, Joined], ids: Sequence[str], most: float, key: str) -> None:
    """Raise DataError if more than a share ``most`` of the utterances lacks features, or a modality has none at all.

    key: the one of the configuration that gives the share.
    """
    for modality, each in joined.items():
        if not each.dim:
            states = Counter(entry.state for entry in each.entries.values())
            raise DataError(f"Modality {modality}: no utterance has features ({_counts(states)}). {_remedy(key)}")
    failed = len(ids) - len(usable_ids(joined, ids))
    if failed > most * len(ids):
        states = Counter(e.state for each in joined.values() for e in each.entries.values() if e.state not in USABLE)
        raise DataError(
            f"{failed} of {len(ids)} utterances lack features of a modality ({_counts(states)}); at most "
            f"{most:.0%} may. {_remedy(key)}"
        )


def _counts(states: Counter[str]) -> str:
    return ", ".join(f"{state} {states[state]}" for state in STATES if states[state])


def _remedy(key: str) -> str:
    return f"The logs below results/logs/extracted name the files; correct them, or raise {key}."


def account(joined: Mapping[str, Joined]) -> dict[str, Any]:
    """Per modality: extractor, licence, versions, how many utterances have features, states, and first ids of each."""
    described = {}
    for modality, each in joined.items():
        entries = list(each.entries.values())
        states = Counter(entry.state for entry in entries)
        counts: Counter[str] = Counter()
        for entry in entries:
            counts.update(entry.counts)
        described[modality] = {
            **each.about,
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
        }
    return described


def notes_on(described: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Sentences of notes, and of warnings, for the validation report."""
    notes, warnings = [], []
    for modality, about in described.items():
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        notes.append(
            f"Modality {modality} was extracted by {about['extractor']} (licence: {about['licence']}; {versions}): "
            f"{about['with_features']} of {about['utterances']} utterances have features."
        )
        counts = about["counts"]
        if counts.get("frames") and "faces" in counts:
            notes.append(f"Modality {modality}: {counts['faces'] / counts['frames']:.1%} of the pictures show a face.")
        if counts.get("words"):
            unknown = counts.get("unknown_words", 0)
            notes.append(f"Modality {modality}: {unknown} of {counts['words']} words have no vector.")
        if counts.get("cut"):
            notes.append(f"Modality {modality}: the end of {counts['cut']} utterances is beyond their files.")
        for state, ids in about["ids"].items():
            more = ", …" if about["states"][state] > len(ids) else ""
            warnings.append(
                f"Modality {modality}: {about['states'][state]} utterances are {state}: {', '.join(ids)}{more}."
            )
    return notes, warnings


def write_modality(path: Path, each: Joined) -> None:
    """Write the features of all utterances of one modality, those without any included."""
    write_entries(path, list(each.entries.values()), each.about)


def write_corpus(
    path: Path,
    joined: Mapping[str, Joined],
    columns: Mapping[str, Sequence[str]],
    folds: Callable[[list[int]], Folds],
    kept: Sequence[int],
    remarks: Mapping[str, Any],
) -> None:
    """Write the corpus: the utterances ``kept`` (numbers of rows), a single zero frame where one lacks features.

    columns: all rows of ``id``, ``label`` and others. folds: from the rows kept to folds, empty = none. remarks: notes,
    warnings and dropped utterances, for the validation report.
    """
    ids = [columns["id"][row] for row in kept]
    made = folds(list(kept))
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
        for number, splits in made.items():
            for split, index in splits.items():
                file[f"fold/{number}/{split}"] = index
        file.attrs["remarks"] = json.dumps(remarks, sort_keys=True)
