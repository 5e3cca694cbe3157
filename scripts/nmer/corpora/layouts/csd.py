"""Raw computational sequences of the CMU Multimodal SDK, aligned as in the SDK's recipe (SPEC 5.3, docs/csd.md).

A computational sequence (``.csd``) is an HDF5 file with one root group of any name, which contains for each video
``data/<video>/features`` (n, dim) and ``data/<video>/intervals`` (n, 2) in seconds. Metadata are not read. Features are
read on demand, one video at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

from nmer.corpora.alignment import SHORTEST_OVERLAP, average, overlapping
from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.hdf5 import dataset, member, open_hdf5, read_array
from nmer.corpora.registry import layout
from nmer.corpora.repair import repair
from nmer.corpora.sentiment import LARGEST_SENTIMENT, sentiment_labels
from nmer.errors import DataError
from nmer.finite import restore_infinities
from nmer.options import Count

STREAMS = {"a": "*COVAREP*.csd", "v": "*Facet*.csd", "l": "*Vectors*.csd"}
LABELS = "*Labels*.csd"
LISTS = {"train": "folds/train.txt", "val": "folds/valid.txt", "test": "folds/test.txt"}

UNLISTED = "video in no fold list"
INCOMPLETE = "video missing in words, audio or vision"
INSTANT = "label shorter than 10 microseconds"
WORDLESS = "no word within the label's interval"
EMPTY_TEXT = "text sums to 0"


@layout(
    "csd",
    files=(
        "*Vectors*.csd",
        "*Labels*.csd",
        "folds/train.txt",
        "folds/valid.txt",
        "folds/test.txt",
    ),
    modality_files={"a": "*COVAREP*.csd", "v": "*Facet*.csd"},
    classes=("negative", "positive"),
    targets=("classes", "score"),
    standardize=(),
    folds=1,
)
def read(source: Path, settings: CorpusSettings, *, steps: Count = 50) -> Corpus:
    """Read the folder ``source`` in the format of this module. Files stay open until the corpus is closed.

    steps: length of every utterance in words; longer utterances keep their last words. Positive is a sentiment >= 0;
    for the target ``score``, the label is the sentiment itself. Utterances are sorted by split, video and row of the
    labels. The corpus has one fold. Raises DataError if a file is missing, ambiguous, damaged or unsafe, or the files
    contradict each other. Audio and vision of a video are validated when they are read.
    """
    unlisted = not settings.needs_folds and not any((source / name).exists() for name in LISTS.values())
    lists = {} if unlisted else read_lists(source)
    with ExitStack() as resources:
        # Words are always needed: their times align the other streams and segment the videos.
        needed = {m: pattern for m, pattern in STREAMS.items() if m in settings.modalities or m == "l"}
        streams = {m: Sequence(_only_file(source, pattern), resources) for m, pattern in needed.items()}
        labels = Sequence(_only_file(source, LABELS), resources)
        if unlisted:
            lists = {"every video": sorted(labels.videos)}
        dropped = _count_unlisted(labels, lists)
        parts = {split: _segment(videos, streams, labels, steps, dropped) for split, videos in lists.items()}
        utterances = [utterance for part in parts.values() for utterance in part]
        if not utterances:
            reasons = "; ".join(f"{reason}: {count}" for reason, count in dropped.items()) or "the file has none"
            raise DataError(f"{labels.path}: no utterances are left ({reasons}). Use files and lists of one corpus.")
        videos = list(dict.fromkeys(utterance.video for utterance in utterances))
        dims = {m: streams[m].width(videos) for m in settings.modalities}
        bounds = np.cumsum([0, *map(len, parts.values())])
        sentiment = np.array([utterance.sentiment for utterance in utterances], np.float64)
        target_labels, classes, note = sentiment_labels(sentiment, settings.target)

        @lru_cache(maxsize=2 * len(STREAMS))
        def aligned(modality: str, video: str) -> np.ndarray:
            return _align(streams, modality, video)

        def features(modality: str, index: int) -> np.ndarray:
            utterance = utterances[index]
            padded = np.zeros((steps, dims[modality]))
            padded[: len(utterance.words)] = aligned(modality, utterance.video)[utterance.words]
            return padded

        return Corpus(
            ids=[utterance.identifier for utterance in utterances],
            labels=target_labels,
            speakers=[utterance.video for utterance in utterances],
            classes=classes,
            dims=dims,
            lengths={m: np.full(len(utterances), steps) for m in settings.modalities},
            folds={} if unlisted else {1: {split: np.arange(*bounds[i : i + 2]) for i, split in enumerate(parts)}},
            features=features,
            dropped=dict(dropped),
            notes=[*_notes(streams, labels, utterances, steps), note],
            warnings=_warnings(labels, lists),
            files={m: str(stream.path) for m, stream in streams.items()},
            resources=resources.pop_all(),
        )


@dataclass(frozen=True)
class Utterance:
    """One row of a video's labels.

    words: (k,) rows of the video's word vectors, in order of time, from the first non-zero one. spoken: number of words
    in the interval of the label.
    """

    video: str
    row: int
    sentiment: float
    words: np.ndarray
    spoken: int

    @property
    def identifier(self) -> str:
        """Return the SDK's name of an aligned entry."""
        return f"{self.video}[{self.row}]"


class Sequence:
    """A computational sequence, open until ``resources`` are closed.

    root: name of the root group. videos: names of the videos. All methods raise DataError that names file and video if
    the arrays of the video do not have the format of this module.
    """

    def __init__(self, path: Path, resources: ExitStack) -> None:
        self.path = path
        file = resources.enter_context(open_hdf5(path))
        roots = _names(file, path)
        if not roots:
            raise DataError(f"{path}: contains no computational sequence. Get the file again.")
        self.root = roots[0]
        self._data = member(file, f"{self.root}/data", path)
        if not isinstance(self._data, h5py.Group):
            raise DataError(f"{path}: '{self.root}/data' is an array where a group of videos is expected.")
        self.videos = frozenset(_names(self._data, path))

    def shape(self, video: str) -> tuple[int, int]:
        """Return rows and width of a video's features. Reads no values."""
        features, intervals = self._dataset(video, "features"), self._dataset(video, "intervals")
        if len(features.shape or ()) != 2 or not features.shape[1]:
            raise self._error(video, f"'features' has shape {features.shape}, not (rows, dimensions)")
        if intervals.shape != (features.shape[0], 2):
            both = f"'intervals' has shape {intervals.shape}, 'features' {features.shape}"
            raise self._error(video, f"{both}; each row of features needs a start and an end")
        shape: tuple[int, int] = features.shape
        return shape

    def rows(self, video: str) -> int:
        """Return the rows of a dropped video, or 1 if its data are invalid: unused data are not validated."""
        try:
            return self.shape(video)[0]
        except DataError:
            return 1

    def width(self, videos: Iterable[str]) -> int:
        """Return the width of the features, which must be equal for all videos."""
        widths = {video: self.shape(video)[1] for video in videos}
        first = next(iter(widths))
        for video, width in widths.items():
            if width != widths[first]:
                raise self._error(video, f"{width} dimensions, but {widths[first]} in video '{first}'")
        return widths[first]

    def features(self, video: str) -> np.ndarray:
        """Return (n, dim) of any real type, including NaN and infinities.

        Extremes of float types become infinite, because a mean would hide them.
        """
        self.shape(video)
        features = read_array(self._dataset(video, "features"), self.path)
        if features.dtype.kind == "f":
            restore_infinities(features)
        return features

    def intervals(self, video: str) -> np.ndarray:
        """Return (n, 2) float64: start and end in seconds."""
        self.shape(video)
        intervals = read_array(self._dataset(video, "intervals"), self.path).astype(np.float64)
        wrong = ~(np.isfinite(intervals).all(axis=1) & (intervals[:, 0] <= intervals[:, 1]))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            start, end = intervals[row].tolist()
            raise self._error(video, f"row {row} of 'intervals' runs from {start} to {end} seconds")
        return intervals

    def _dataset(self, video: str, name: str) -> h5py.Dataset:
        stored = dataset(self._data, f"{video}/{name}", self.path)
        if stored.dtype.kind not in "biuf":
            raise self._error(video, f"'{name}' holds {stored.dtype} where numbers are expected")
        return stored

    def _error(self, video: str, fault: str) -> DataError:
        return DataError(f"{self.path}: video '{video}': {fault}. Correct the file.")


def read_lists(source: Path) -> dict[str, list[str]]:
    """Read the fold lists: split -> videos, sorted. One video id per line; blank lines and comments (#) are ignored.

    Raises DataError that names the list if it is missing, not UTF-8 or empty, or a video is in two lists.
    """
    lists: dict[str, list[str]] = {}
    list_of: dict[str, str] = {}
    for split, name in LISTS.items():
        path = source / name
        lines = [line.strip() for line in _text(path).splitlines()]
        lists[split] = sorted({line for line in lines if line and not line.startswith("#")})
        if not lists[split]:
            raise DataError(f"{path}: lists no videos. Write one video id per line.")
        for video in lists[split]:
            if list_of.setdefault(video, name) != name:
                raise DataError(f"{path}: video '{video}' is also in {list_of[video]}. Keep it in one list.")
    return lists


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text. Save it as UTF-8, one video id per line.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Complete the corpus.") from None


def _only_file(source: Path, pattern: str) -> Path:
    matches = sorted(path for path in source.glob(pattern) if path.is_file())
    if not matches:
        raise DataError(f"{source / pattern}: no such file. Complete the corpus.")
    if len(matches) > 1:
        names = ", ".join(path.name for path in matches)
        raise DataError(f"{source / pattern}: {len(matches)} files match, {names}. Keep one of them in the folder.")
    return matches[0]


def _names(group: h5py.Group, path: Path) -> list[str]:
    try:
        return list(group)
    except (OSError, KeyError, RuntimeError, ValueError):
        raise DataError(f"{path}: its groups cannot be listed. Get the file again.") from None


def _count_unlisted(labels: Sequence, lists: Mapping[str, list[str]]) -> Counter[str]:
    unlisted = labels.videos.difference(*lists.values())
    count = sum(labels.rows(video) for video in unlisted)
    return Counter({UNLISTED: count} if count else {})


def _segment(
    videos: Iterable[str], streams: Mapping[str, Sequence], labels: Sequence, steps: int, dropped: Counter[str]
) -> list[Utterance]:
    """Return utterances of videos that are in every stream, cleaned in the order of SPEC 5.2. Adds to ``dropped``."""
    utterances, words = [], streams["l"]
    for video in videos:
        if video not in labels.videos:
            continue
        sentiments = _sentiments(labels, video)
        if any(video not in stream.videos for stream in streams.values()):
            dropped[INCOMPLETE] += len(sentiments)
            continue
        # Repaired for this check only: values are repaired and counted when they are stored.
        text, _found = repair(words.features(video))
        segments = labels.intervals(video)
        for row, spoken in enumerate(overlapping(segments, words.intervals(video))):
            if segments[row, 1] - segments[row, 0] < SHORTEST_OVERLAP:  # the SDK aligns nothing to such labels
                dropped[INSTANT] += 1
                continue
            kept = spoken[-steps:]
            if not len(kept) or text[kept].sum(dtype=np.float64) == 0:
                dropped[EMPTY_TEXT if len(kept) else WORDLESS] += 1
                continue
            start = int(text[kept].any(axis=1).argmax())
            utterances.append(Utterance(video, row, float(sentiments[row]), kept[start:], len(spoken)))
    return utterances


def _sentiments(labels: Sequence, video: str) -> np.ndarray:
    """Return the first column of a video's labels, (n,) float64."""
    sentiments = labels.features(video)[:, 0].astype(np.float64)
    wrong = ~(np.abs(sentiments) <= LARGEST_SENTIMENT)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{labels.path}: utterance '{video}[{row}]' has label {sentiments[row]}, outside -3..3, the range of "
            "sentiment. Correct the file."
        )
    return sentiments


def _align(streams: Mapping[str, Sequence], modality: str, video: str) -> np.ndarray:
    """Return the features of a video, one row per word: (words, dim)."""
    if modality == "l":
        return streams["l"].features(video)
    stream, words = streams[modality], streams["l"].intervals(video)
    return average(stream.features(video), stream.intervals(video), words)


def _notes(streams: Mapping[str, Sequence], labels: Sequence, utterances: list[Utterance], steps: int) -> list[str]:
    names = {"words": "l", "audio": "a", "vision": "v"}
    sequences = {name: streams[m] for name, m in names.items() if m in streams} | {"labels": labels}
    files = ", ".join(f"{name} {sequence.path.name} ({sequence.root})" for name, sequence in sequences.items())
    longer = sum(utterance.spoken > steps for utterance in utterances)
    return [
        f"Computational sequences: {files}.",
        "Audio and vision are means of the frames that overlap each word; utterances are the words that overlap each "
        f"label, at most the last {steps} ({longer} utterances have more).",
    ]


def _warnings(labels: Sequence, lists: Mapping[str, list[str]]) -> list[str]:
    listed = set().union(*lists.values())
    unlabelled = len(listed - labels.videos)
    if not unlabelled:
        return []
    return [f"{unlabelled} of {len(listed)} listed videos have no labels in {labels.path.name}."]
