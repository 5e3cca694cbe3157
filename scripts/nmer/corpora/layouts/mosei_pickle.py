"""CMU-MOSEI and CMU-MOSI as one pickle of three splits, in the layout of MultiBench and MulT or of MMSA (SPEC 5.2).

The pickle contains ``train``, ``valid`` and ``test``, each with ``audio``, ``vision``, ``text`` (N, steps, dim), labels
and ``id``. The variants differ in the name of the labels and in how they store lengths; see :data:`VARIANTS`.
Everything else in the file (``text_bert``, ``raw_text``, annotations) is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nmer.content import converting
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.registry import layout, missing_modalities, option_file
from nmer.corpora.repair import repair
from nmer.corpora.sentiment import LARGEST_SENTIMENT, read_sentiments, sentiment_labels
from nmer.corpora.unpickle import Unreadable, load_pickle
from nmer.errors import DataError

KEYS = {"a": "audio", "v": "vision", "l": "text"}
STORED_SPLITS = {"train": "train", "val": "valid", "test": "test"}
EMPTY_TEXT = "text sums to 0"
BLOCK_BYTES = 2**24
"""Features examined at once. Limits memory to about the size of the file."""


@dataclass(frozen=True)
class Variant:
    """A variant of the layout. labels: key of the labels. lengths: modality -> optional key of lengths in frames."""

    labels: str
    lengths: dict[str, str] = field(default_factory=dict)


VARIANTS = {
    "multibench": Variant("labels"),
    "mmsa": Variant("regression_labels", {"a": "audio_lengths", "v": "vision_lengths"}),
}


@dataclass(frozen=True)
class Split:
    """One split: ids and videos (n), sentiment (n,), stored arrays, and the position of each utterance in them.

    rows: (n,) index into the arrays. start, stop, steps: per modality (n,): start and end of the kept frames, and the
    number of frames to pad to with zeros.
    """

    ids: list[str]
    videos: list[str]
    sentiment: np.ndarray
    arrays: dict[str, np.ndarray]
    rows: np.ndarray
    start: dict[str, np.ndarray]
    stop: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]
    dropped: int

    def frames(self, modality: str, index: int) -> np.ndarray:
        """Return (steps, dim) of one utterance, not yet repaired."""
        start, stop = self.start[modality][index], self.stop[modality][index]
        kept = self.arrays[modality][self.rows[index], start:stop]
        steps = int(self.steps[modality][index])
        if len(kept) == steps:
            return kept
        padded = np.zeros((steps, kept.shape[1]), kept.dtype)  # np.pad takes six times as long
        padded[: len(kept)] = kept
        return padded


@layout(
    "mosei_pickle",
    files=(),
    option_files=("scores",),
    classes=("negative", "positive"),
    targets=("classes", "score"),
    standardize=(),
    folds=1,
)
def read(
    source: Path,
    settings: CorpusSettings,
    *,
    variant: Literal["auto", "multibench", "mmsa"] = "auto",
    limit_gib: int = 16,
    scores: str = "",
) -> Corpus:
    """Read the pickle ``source`` and clean it in the order of SPEC 5.2; values are repaired when stored.

    variant: variant of the layout; ``auto`` chooses it by the key of the labels. limit_gib: largest file to read.
    scores: a CSV in the folder of the pickle with the columns ``id`` and ``sentiment``, which replaces the labels.
    Positive is a sentiment >= 0; for the target ``score``, the label is the sentiment itself. The corpus has one fold.
    Features are cut and cast one utterance at a time.
    Raises DataError if the file is damaged, unsafe, lacks a key, or its arrays contradict each other.
    """
    stored = _stored_splits(load_pickle(source, limit_gib * 2**30), source, settings.needs_folds)
    name = _find_variant(stored, variant)
    warnings: list[str] = []
    splits = {
        split: _read_split(content, VARIANTS[name], f"{source}: {STORED_SPLITS[split]}", settings, warnings)
        for split, content in stored.items()
    }
    if scores:
        sentiments = read_sentiments(option_file(source, scores))
        splits = {name: replace(part, sentiment=sentiments.lookup(part.ids)) for name, part in splits.items()}
    parts = list(splits.values())
    _check_widths(splits, source)
    labels, classes, note = sentiment_labels(np.concatenate([part.sentiment for part in parts]), settings.target)
    bounds = np.concatenate([[0], np.cumsum([len(part.ids) for part in parts])])
    dropped = sum(part.dropped for part in parts)

    def features(modality: str, index: int) -> np.ndarray:
        part = int(np.searchsorted(bounds, index, side="right")) - 1
        return parts[part].frames(modality, index - int(bounds[part]))

    return Corpus(
        ids=[identifier for part in parts for identifier in part.ids],
        labels=labels,
        speakers=[video for part in parts for video in part.videos],
        classes=classes,
        dims={m: parts[0].arrays[m].shape[2] for m in settings.modalities},
        lengths={m: np.concatenate([part.steps[m] for part in parts]) for m in settings.modalities},
        folds={1: {split: np.arange(bounds[i], bounds[i + 1]) for i, split in enumerate(splits)}}
        if len(splits) == len(STORED_SPLITS)
        else {},
        features=features,
        dropped={EMPTY_TEXT: dropped} if dropped else {},
        notes=[
            f"Variant {name}: labels from '{scores or VARIANTS[name].labels}'; {_describe_steps(parts[0])}.",
            note,
        ],
        warnings=warnings,
        files=dict.fromkeys(settings.modalities, str(source)),
    )


def name_utterance(row: object) -> tuple[str, str]:
    """Return utterance id and video of one entry of ``id``.

    row: text or bytes ``video[segment]``, ``video$_$segment`` (MMSA) or ``video_segment``, or a row of one of these, or
    a row (video, start, end). Raises UnicodeDecodeError for bytes that are not UTF-8, TypeError for other types.
    """
    parts = np.asarray(row).reshape(-1).tolist()
    if not parts or not isinstance(parts[0], str | bytes | int) or isinstance(parts[0], bool):
        raise TypeError(f"an id is {row!r}")
    parts = [_text(part) for part in parts]
    if len(parts) > 1:
        return f"{parts[0]}[{'-'.join(parts[1:])}]", parts[0]
    bracketed = re.fullmatch(r"(.+)\[[^\[\]]*\]", parts[0])
    if bracketed:
        return parts[0], bracketed[1]
    return parts[0], parts[0].rsplit("$_$" if "$_$" in parts[0] else "_", 1)[0]


def _text(part: object) -> str:
    return part.decode("utf-8") if isinstance(part, bytes) else str(part)


def _stored_splits(content: object, source: Path, all_needed: bool) -> dict[str, dict[str, Any]]:
    splits = {}
    keys = content if isinstance(content, dict) else {}
    present = {name: stored for name, stored in STORED_SPLITS.items() if stored in keys}
    for name, stored in (STORED_SPLITS if all_needed or not present else present).items():
        split = content.get(stored) if isinstance(content, dict) else None
        if not isinstance(split, dict):
            problem = f"holds {_kind(content)}" if not isinstance(content, dict) else f"has no split '{stored}'"
            if isinstance(split, Unreadable):
                problem = f"'{stored}' {split.reason}"
            elif split is not None:
                problem = f"'{stored}' is {_kind(split)}"
            raise DataError(
                f"{source}: {problem}. The pickle must be a dictionary of train, valid and test, each a dictionary."
            )
        splits[name] = split
    return splits


def _find_variant(splits: dict[str, dict[str, Any]], option: str) -> str:
    if option != "auto":
        return option
    matching = [name for name, known in VARIANTS.items() if all(known.labels in split for split in splits.values())]
    return matching[0] if matching else "multibench"


def _read_split(
    content: dict[str, Any], variant: Variant, place: str, settings: CorpusSettings, warnings: list[str]
) -> Split:
    keys = {m: KEYS[m] for m in settings.modalities}
    modalities = [m for m in keys if keys[m] in content]
    if modalities and len(modalities) < len(keys):
        absent = next(key for key in keys.values() if key not in content)
        hint = missing_modalities(modalities, f"datasets.{settings.dataset}.modalities")
        raise DataError(f"{place} has no key '{absent}'. {hint}")
    for key in (*keys.values(), variant.labels, "id"):
        if key not in content:
            raise DataError(f"{place} has no key '{key}'. Use the original file, or the option 'variant'.")
    for key in (*keys.values(), variant.labels, "id", *variant.lengths.values()):
        if isinstance(content.get(key), Unreadable):
            raise DataError(f"{place}.{key}: {content[key].reason}; refused. Use the corpus' original file.")
    names = _names(content["id"], f"{place}.id")
    count = len(names)
    arrays = {m: _array(content[key], 3, count, f"{place}.{key}") for m, key in keys.items()}
    sentiment = _sentiment(content[variant.labels], count, f"{place}.{variant.labels}")
    aligned = len({array.shape[1] for array in arrays.values()}) == 1
    rows = np.arange(count)
    if "l" in arrays:
        sums, text_start = _examine(arrays["l"])
        rows = np.flatnonzero(sums)
    elif aligned:  # cut jointly, where the first modality starts
        text_start = np.minimum.reduce([_examine(array)[1] for array in arrays.values()])
    start, stop, steps = {}, {}, {}
    for m, array in arrays.items():
        stated = variant.lengths.get(m)
        if stated is not None and stated in content:
            length = _lengths(content[stated], array, f"{place}.{stated}")
            warnings += _length_warnings(array, length, f"{place}.{KEYS[m]}")
            start[m], stop[m] = np.zeros(len(rows), np.int64), length[rows]
            steps[m] = np.maximum(length[rows], 1)
        else:
            begin = text_start if aligned or m == "l" else _examine(array)[1]
            start[m], stop[m] = begin[rows], np.full(len(rows), array.shape[1])
            steps[m] = stop[m]
    return Split(
        ids=[names[row][0] for row in rows],
        videos=[names[row][1] for row in rows],
        sentiment=sentiment[rows],
        arrays=arrays,
        rows=rows,
        start=start,
        stop=stop,
        steps=steps,
        dropped=count - len(rows),
    )


def _names(stored: object, place: str) -> list[tuple[str, str]]:
    needed = "Ids must be a list or an array of text, or of rows of video, start and end."
    if not isinstance(stored, list | tuple | np.ndarray):
        raise DataError(f"{place}: holds {_kind(stored)}. {needed}")
    with converting(place, needed):
        try:
            return [name_utterance(row) for row in stored]
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: the id {error.object!r} is not UTF-8. Write ids as UTF-8 text.") from None


def _kind(stored: object) -> str:
    """Describe a value for messages."""
    return "nothing (None)" if stored is None else f"a {type(stored).__name__}"


def _numbers(stored: object, place: str, needed: str) -> np.ndarray:
    """Convert an array or lists to an array of numbers. needed: sentence on what is expected."""
    if not isinstance(stored, np.ndarray | list | tuple):
        raise DataError(f"{place}: holds {_kind(stored)} where numbers are expected. {needed}")
    with converting(place, needed):
        array = np.asarray(stored)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{place}: holds {array.dtype} where numbers are expected. {needed}")
    return array


def _array(stored: object, dimensions: int, count: int, place: str) -> np.ndarray:
    array = _numbers(stored, place, "It must be one array (utterances, steps, dim).")
    if array.ndim != dimensions or 0 in array.shape[1:]:
        raise DataError(f"{place}: has shape {array.shape}; (utterances, steps, dim) is expected.")
    if len(array) != count:
        raise DataError(f"{place}: {len(array)} utterances, but {count} ids. Use the original file.")
    return array


def _sentiment(stored: object, count: int, place: str) -> np.ndarray:
    """Return the first value of each row of labels, (N,) (SPEC 5.2)."""
    needed = f"It must hold {count} numbers, one for each id."
    array = _numbers(stored, place, needed)
    if array.ndim < 1 or len(array) != count or (count and not array[0].size):
        raise DataError(f"{place}: has shape {array.shape}. {needed}")
    first = array.reshape(count, -1)[:, 0].astype(np.float64) if count else np.zeros(0)
    wrong = ~(np.abs(first) <= LARGEST_SENTIMENT)
    if wrong.any():
        raise DataError(f"{place}: label {first[wrong][0]} is outside -3..3, the range of sentiment.")
    return first


def _lengths(stored: object, array: np.ndarray, place: str) -> np.ndarray:
    count, steps = array.shape[:2]
    needed = f"It must hold {count} whole numbers from 0 to {steps}, one for each id."
    lengths = _numbers(stored, place, needed).reshape(-1)
    if len(lengths) != count:
        raise DataError(f"{place}: holds {len(lengths)} numbers. {needed}")
    wrong = ~((lengths >= 0) & (lengths <= steps) & (lengths == np.floor(lengths)))
    if wrong.any():
        raise DataError(f"{place}: holds {lengths[wrong][0]}. {needed}")
    return lengths.astype(np.int64)


def _length_warnings(array: np.ndarray, lengths: np.ndarray, place: str) -> list[str]:
    beyond = np.arange(array.shape[1]) >= lengths[:, None]
    filled = sum(
        int((_repaired(array[block]).any(axis=2) & beyond[block]).any(axis=1).sum()) for block in _blocks(array)
    )
    absent = int((lengths == 0).sum())
    warnings = [f"{place}: {absent} utterances have length 0; each gets one frame of zeros."] if absent else []
    return warnings + (
        [f"{place}: {filled} utterances have values beyond their length; these were cut off."] if filled else []
    )


def _examine(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return per utterance (N,) the sum of its repaired values, and its first non-zero row (0 if none)."""
    sums, first = np.empty(len(array)), np.empty(len(array), np.int64)
    for block in _blocks(array):
        values = _repaired(array[block])
        sums[block] = values.sum(axis=(1, 2))
        first[block] = values.any(axis=2).argmax(axis=1)
    return sums, first


def _blocks(array: np.ndarray) -> Iterator[slice]:
    size = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    return (slice(first, first + size) for first in range(0, len(array), size))


def _repaired(values: np.ndarray) -> np.ndarray:
    return repair(values)[0]


def _check_widths(splits: dict[str, Split], source: Path) -> None:
    for m in next(iter(splits.values())).arrays:
        key = KEYS[m]
        widths = {STORED_SPLITS[name]: split.arrays[m].shape[2] for name, split in splits.items()}
        if len(set(widths.values())) > 1:
            listed = ", ".join(f"{name} {width}" for name, width in widths.items())
            raise DataError(f"{source}: '{key}' differs in width between the splits ({listed}). Use the original file.")


def _describe_steps(split: Split) -> str:
    steps = {array.shape[1] for array in split.arrays.values()}
    if len(steps) == 1:
        first = "the text" if "l" in split.arrays else "the first modality"
        return f"aligned, {steps.pop()} steps, cut where {first} starts and padded with zeros on the right"
    listed = ", ".join(f"{KEYS[m]} {array.shape[1]}" for m, array in split.arrays.items())
    return f"not aligned, at most {listed} steps"
