"""The job of one modality of one chunk: every utterance is decoded and extracted, or its state says why not.

What is done is kept in a cache beside the outputs, so that a job that was killed continues, and only a changed
utterance is extracted again. One unusable clip stops nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmer.digests import file_digest, file_state
from nmer.errors import ConfigError, DataError
from nmer.extraction.features_file import Entry, read_entries, write_entries
from nmer.extraction.media import Deadline, PictureStream, check_span, cut_audio, decode_audio, judge_span
from nmer.extraction.registry import USABLE, Extracted, Segment, UnusableError, Utterance

SECONDS_BETWEEN_SAVES = 30.0
UTTERANCE_SECONDS = 600.0
"""Time that the extraction of one utterance may take."""

UNCACHED = ("missing_file", "timeout")
"""States that another try may change."""


@dataclass(frozen=True)
class Work:
    """What a job extracts with.

    extract: the extractor, called with a segment and ``options``. needs: what of an utterance it reads. about: what its
    features depend on besides the utterance: name, options, versions, weights, code. root: the folder of the media.
    """

    extract: Callable[..., Extracted]
    options: Mapping[str, Any]
    needs: tuple[str, ...]
    about: Mapping[str, Any]
    root: Path

    def media(self, item: Utterance) -> str:
        """The name of the file that is decoded for an utterance; empty if there is none."""
        if "video" in self.needs:
            return item.video
        return item.audio if "audio" in self.needs else ""


class Media:
    """The files of a chunk: their digests, and whether they are still the ones that were digested."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        """Digest files; a name of no regular file has none."""
        self._root = root
        self._states: dict[str, str] = {}
        self.digests: dict[str, str] = {"": ""}
        for name in names:
            path = root / name
            if path.is_file():
                self._states[name] = file_state(path)
                self.digests[name] = file_digest(path)
            else:
                self.digests[name] = ""

    def path(self, name: str) -> Path:
        """Where a file is. Raises UnusableError if it was not there, DataError if it changed since."""
        path = self._root / name
        if not name:
            raise UnusableError("missing_file", "no file is named")
        if name not in self._states:
            raise UnusableError("missing_file", "is no regular file" if path.exists() else "no such file")
        self.check(name)
        return path

    def check(self, name: str) -> None:
        """Raises DataError if a file is no longer the one that was digested."""
        path = self._root / name
        try:
            same = file_state(path) == self._states[name]
        except FileNotFoundError:
            same = False
        if not same:
            raise DataError(f"{path}: was changed while it was read. Leave it alone and run again.")


def key_of(item: Utterance, work: Work, digest: str) -> str:
    """Digest of all that the features of an utterance depend on. digest: of the file that is decoded for it."""
    read: dict[str, Any] = {}
    if "audio" in work.needs:
        read["audio"] = [digest, *((None, None) if item.audio_is_cut else (item.start, item.end))]
    if "video" in work.needs:
        read["video"] = [digest, item.start, item.end, item.side]
    if "text" in work.needs:
        read["text"] = item.text
    if not work.needs:
        read["name"] = [item.id, item.video or item.audio, item.start, item.end]
    whole = json.dumps([read, dict(work.about)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def extract_items(
    items: list[Utterance], work: Work, cache: Path, advance: Callable[[int], object] = lambda _done: None
) -> list[Entry]:
    """Entries of all utterances, in their order. cache: file of entries, which is used and left up to date.

    Raises DataError if a media file changes meanwhile, and ConfigError or DataError for a fault of the
    extractor; what was extracted before is kept.
    """
    media = Media(work.root, sorted({work.media(item) for item in items} - {""}))
    keys = {item.id: key_of(item, work, media.digests[work.media(item)]) for item in items}
    known = _cached(cache)
    entries = {item.id: known[key] for item in items if (key := keys[item.id]) in known}
    entries = {identifier: _renamed(entry, identifier) for identifier, entry in entries.items()}
    for item in items:
        if item.id in entries and entries[item.id].state not in USABLE:
            _tell(item.id, entries[item.id].state, work.media(item), "as before")
    advance(len(entries))
    saved, unsaved = time.monotonic(), False
    waiting = [item for item in items if item.id not in entries]
    try:
        for item, made in _extract(waiting, work, media):
            state, values, counts = made
            entries[item.id] = Entry(item.id, keys[item.id], state, values, counts)
            unsaved = True
            advance(1)
            if time.monotonic() - saved >= SECONDS_BETWEEN_SAVES:
                _save(cache, entries.values())
                saved, unsaved = time.monotonic(), False
    except BaseException:
        if unsaved:
            _save(cache, entries.values())
        raise
    ordered = [entries[item.id] for item in items]
    check_widths(ordered)
    _save(cache, ordered)
    return ordered


def check_widths(entries: Iterable[Entry]) -> int:
    """The width of all entries that have features, 0 if none has. Raises DataError if they differ."""
    first: Entry | None = None
    for entry in entries:
        if not len(entry.values):
            continue
        first = first or entry
        if entry.values.shape[1] != first.values.shape[1]:
            raise DataError(
                f"Utterance '{entry.id}' has {entry.values.shape[1]} features, '{first.id}' has "
                f"{first.values.shape[1]}. Extract all with one model and one set of columns."
            )
    return first.values.shape[1] if first else 0


def _renamed(entry: Entry, identifier: str) -> Entry:
    return entry if entry.id == identifier else Entry(identifier, entry.key, entry.state, entry.values, entry.counts)


def _cached(cache: Path) -> dict[str, Entry]:
    if not cache.exists():
        return {}
    try:
        return {entry.key: entry for entry in read_entries(cache)[0]}
    except DataError:
        print(f"warning: {cache}: is damaged and is not used.", file=sys.stderr)
        return {}


def _save(cache: Path, entries: Iterable[Entry]) -> None:
    write_entries(cache, [entry for entry in entries if entry.state not in UNCACHED], {})


Made = tuple[str, NDArray[np.float32], dict[str, int]]


def _extract(items: list[Utterance], work: Work, media: Media) -> Iterator[tuple[Utterance, Made]]:
    """The result of every utterance, recording by recording."""
    if not {"audio", "video"} & set(work.needs):
        for item in items:
            yield item, _attempt(item, "", partial(_of_words, item, work))
        return
    by_recording = sorted(items, key=lambda item: (work.media(item), _begin(item)))
    decode = _of_film if "video" in work.needs else _of_sound
    for name, group in groupby(by_recording, key=work.media):
        yield from decode(name, list(group), work, media)
        if media.digests[name]:
            media.check(name)


def _of_words(item: Utterance, work: Work) -> Made:
    return _made(item, work, Segment(**_words(item, work)))


def _begin(item: Utterance) -> float:
    return item.start if item.start is not None else 0.0


def _of_sound(name: str, items: list[Utterance], work: Work, media: Media) -> Iterator[tuple[Utterance, Made]]:
    decoded: list[tuple[NDArray[np.float32], float | None]] = []

    def decode() -> tuple[NDArray[np.float32], float | None]:
        if not decoded:
            decoded.append(decode_audio(media.path(name), Deadline(UTTERANCE_SECONDS)))
        return decoded[0]

    def extract(item: Utterance) -> Made:
        start, end = (None, None) if item.audio_is_cut else (item.start, item.end)
        check_span(start, end)
        whole, stated = decode()
        samples, counts, state = cut_audio(whole, stated, start, end)
        return _made(item, work, Segment(**_words(item, work), audio=samples), counts, state)

    for item in items:
        yield item, _attempt(item, name, partial(extract, item))


def _of_film(name: str, items: list[Utterance], work: Work, media: Media) -> Iterator[tuple[Utterance, Made]]:
    opened: list[PictureStream] = []
    fps = float(work.options["fps"])

    def extract(item: Utterance, following: float) -> Made:
        check_span(item.start, item.end)
        if not opened:
            opened.append(PictureStream(media.path(name)))
        stream, shown = opened[0], 0
        deadline = Deadline(UTTERANCE_SECONDS)

        def counted() -> Iterator[NDArray[np.uint8]]:
            nonlocal shown
            for picture in stream.pictures(item.start, item.end, fps, item.side, following, deadline):
                shown += 1
                deadline.check()
                yield picture

        pictures = counted()
        first = next(pictures, None)
        made = None
        if first is not None:
            segment = Segment(**_words(item, work), pictures=chain([first], pictures))
            made = _checked_values(work.extract(segment, **work.options), item, work)
        until = item.end if item.end is not None else stream.stated
        asked = max(1 / fps, until - _begin(item)) if until is not None else shown / fps
        # The last picture of a span may be up to one interval before its end.
        decoded = asked if shown and asked - shown / fps < 1 / fps else shown / fps
        state, cut = judge_span(decoded, asked, item.start, item.end, stream.stated)
        assert made is not None  # a span without pictures is unusable
        return _judged(made, {"cut": cut}, state)

    try:
        for number, item in enumerate(items):
            following = _begin(items[number + 1]) if number + 1 < len(items) else float("inf")
            yield item, _attempt(item, name, partial(extract, item, following))
    finally:
        for stream in opened:
            stream.close()


def _words(item: Utterance, work: Work) -> dict[str, Any]:
    """What a segment holds of an utterance besides sound and pictures."""
    words: dict[str, Any] = {"id": item.id, "recording": item.video or item.audio}
    words |= {"start": item.start, "end": item.end}
    return words | ({"text": item.text} if "text" in work.needs else {})


def _made(
    item: Utterance, work: Work, segment: Segment, counts: dict[str, int] | None = None, state: str = "ok"
) -> Made:
    return _judged(_checked_values(work.extract(segment, **work.options), item, work), counts or {}, state)


def _judged(made: Extracted, counts: dict[str, int], state: str) -> Made:
    counts = {**counts, **made.counts}
    if counts.get("faces") == 0:
        raise UnusableError("no_face", f"no face in {counts.get('frames', 0)} pictures")
    return state, made.values, counts


def _checked_values(returned: object, item: Utterance, work: Work) -> Extracted:
    """What an extractor returned. Raises ConfigError for what is no features: it would be stored unnoticed."""
    name = getattr(work.extract, "__name__", "extractor")
    if not isinstance(returned, Extracted):
        raise ConfigError(f"Extractor '{name}' returned {type(returned).__name__}, not Extracted. Correct its file.")
    values = np.asarray(returned.values)
    if values.ndim != 2 or values.dtype != np.float32 or 0 in values.shape:
        raise ConfigError(
            f"Extractor '{name}' returned {values.dtype} {values.shape} for utterance '{item.id}'; (frames, dim) "
            "float32 with at least one frame is needed. Correct its file."
        )
    if not np.isfinite(values).all():
        raise ConfigError(
            f"Extractor '{name}' returned NaN or infinities for utterance '{item.id}'. Correct its file or model."
        )
    return Extracted(values, dict(returned.counts))


def _attempt(item: Utterance, name: str, extract: Callable[[], Made]) -> Made:
    """What became of an item; an unusable one is named in the log."""
    try:
        return extract()
    except UnusableError as problem:
        _tell(item.id, problem.state, name, str(problem))
        return problem.state, np.zeros((0, 0), np.float32), {}


def _tell(identifier: str, state: str, name: str, why: str) -> None:
    """Name an unusable utterance in the log. name: of its file, if it has one."""
    where = f" {name}:" if name else ""
    print(f"{identifier}: {state}:{where} {why}", file=sys.stderr, flush=True)
