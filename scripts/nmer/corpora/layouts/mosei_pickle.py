"""CMU-MOSEI and CMU-MOSI as one pickle of three splits, MultiBench's and MulT's layout (SPEC 5.2).

The pickle holds ``train``, ``valid`` and ``test``, each with ``audio``, ``vision``, ``text`` (N, steps, dim),
``labels`` (N, 1, 1 or more; the first is the sentiment) and ``id``. The features are word-aligned, padded on the left.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.registry import layout
from nmer.corpora.repair import add_counts, repair
from nmer.corpora.unpickle import load_pickle
from nmer.errors import DataError
from nmer.names import MODALITIES

KEYS = {"a": "audio", "v": "vision", "l": "text"}
STORED_SPLITS = {"train": "train", "val": "valid", "test": "test"}
CLASSES = ("negative", "positive")
LARGEST_SENTIMENT = 3.0
EMPTY_TEXT = "text sums to 0"


@layout("mosei_pickle", files=(), standardize=(), folds=1)
def read(source: Path, settings: CorpusSettings, *, limit_gib=16) -> Corpus:
    """Read the pickle ``source`` and clean it in SPEC 5.2's order.

    limit_gib: largest file that is read. Positive is a sentiment >= 0. The corpus has one fold.
    Raises DataError if the file is damaged, unsafe, lacks a key, or its arrays contradict each other.
    """
    splits = _splits(load_pickle(source, limit_gib * 2**30), source)
    repairs = {m: {} for m in MODALITIES}
    cleaned = {name: _clean(split, f"{source}: {STORED_SPLITS[name]}", repairs) for name, split in splits.items()}
    parts = list(cleaned.values())
    names = [name for part in parts for name in part["id"]]
    bounds = np.concatenate([[0], np.cumsum([len(part["id"]) for part in parts])])
    sentiment = np.concatenate([part["labels"] for part in parts])
    dropped = sum(part["dropped"] for part in parts)

    def features(modality: str, index: int) -> np.ndarray:
        part = int(np.searchsorted(bounds, index, side="right")) - 1
        return parts[part][modality][index - bounds[part]]

    return Corpus(
        ids=[identifier for identifier, _video in names],
        labels=(sentiment >= 0).astype(np.int64),
        speakers=[video for _identifier, video in names],
        classes=list(settings.classes or CLASSES),
        dims={m: parts[0][m].shape[2] for m in MODALITIES},
        lengths={m: np.repeat([part[m].shape[1] for part in parts], np.diff(bounds)) for m in MODALITIES},
        folds={1: {name: np.arange(bounds[i], bounds[i + 1]) for i, name in enumerate(cleaned)}},
        features=features,
        repairs=repairs,
        dropped={EMPTY_TEXT: dropped} if dropped else {},
        files=dict.fromkeys(MODALITIES, str(source)),
    )


def name_utterance(row: object) -> tuple[str, str]:
    """Utterance id and video of one entry of ``id``: text or bytes ``video[segment]`` or ``video_segment``, or a row
    of one of these, or a row (video, start, end)."""
    parts = [_text(part) for part in np.asarray(row).reshape(-1).tolist()]
    if len(parts) > 1:
        return f"{parts[0]}[{'-'.join(parts[1:])}]", parts[0]
    bracketed = re.fullmatch(r"(.+)\[[^\[\]]*\]", parts[0])
    return parts[0], bracketed[1] if bracketed else parts[0].rsplit("_", 1)[0]


def start_of_text(text: np.ndarray) -> np.ndarray:
    """(N,) index of the first non-zero row of each sample's text (N, steps, dim)."""
    return text.any(axis=2).argmax(axis=1)


def shift_left(values: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Each sample of (N, steps, dim) cut at its ``start`` (N,) and padded with zeros on the right."""
    steps = values.shape[1]
    wanted = start[:, None] + np.arange(steps)
    shifted = np.take_along_axis(values, np.minimum(wanted, steps - 1)[:, :, None], axis=1)
    shifted[wanted >= steps] = 0
    return shifted


def _text(part: object) -> str:
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part)


def _splits(content: object, source: Path) -> dict[str, dict]:
    splits = {}
    for name, stored in STORED_SPLITS.items():
        split = content.get(stored) if isinstance(content, dict) else None
        if not isinstance(split, dict):
            raise DataError(f"{source}: has no split '{stored}'. The pickle must hold train, valid and test.")
        for key in (*KEYS.values(), "labels", "id"):
            if key not in split:
                raise DataError(f"{source}: split '{stored}' has no key '{key}'.")
        splits[name] = split
    return splits


def _clean(split: dict, place: str, repairs: dict[str, dict[str, int]]) -> dict:
    """Repaired, text-less samples dropped, cut where the text starts. Adds to ``repairs``; empties ``split``."""
    count = len(split["id"])
    arrays = {}
    for m, key in KEYS.items():
        arrays[m], found = repair(_array(split.pop(key), 3, count, f"{place}.{key}"))
        repairs[m] = add_counts(repairs[m], found)
    steps = {array.shape[1] for array in arrays.values()}
    if len(steps) > 1:
        raise DataError(f"{place}: audio, vision and text must share their time axis, but have {sorted(steps)} steps.")
    labels = _sentiment(split["labels"], count, f"{place}.labels")
    kept = arrays["l"].sum(axis=(1, 2)) != 0
    start = start_of_text(arrays["l"][kept])
    cleaned = {m: shift_left(array[kept], start) for m, array in arrays.items()}
    names = [name_utterance(row) for row, keep in zip(split["id"], kept, strict=True) if keep]
    return {**cleaned, "labels": labels[kept], "id": names, "dropped": int((~kept).sum())}


def _array(value: object, axes: int, count: int, place: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim < axes or len(array) != count:
        raise DataError(f"{place}: expected numbers for {count} samples, found {array.dtype} {array.shape}.")
    return array


def _sentiment(value: object, count: int, place: str) -> np.ndarray:
    """(N,) the first label of each sample."""
    sentiment = _array(value, 1, count, place).reshape(count, -1)[:, 0]
    wrong = ~(np.abs(sentiment) <= LARGEST_SENTIMENT)
    if wrong.any():
        raise DataError(f"{place}: label {sentiment[wrong][0]} is outside -3..3, the range of sentiment.")
    return sentiment
