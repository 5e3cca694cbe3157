"""Extraction of one modality of one chunk: every utterance gets features, or a state that gives the reason.

A cache next to the outputs keeps finished utterances. A killed job resumes from it, and only changed utterances are
extracted again. An unusable clip does not stop the job.
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
from nmer.extraction.registry import STATES, USABLE, Extracted, Segment, UnusableError, Utterance
from nmer.plugins import custom_code

SECONDS_BETWEEN_SAVES = 30.0
UTTERANCE_SECONDS = 600.0
"""Time limit for the extraction of one utterance."""

UNCACHED = ("missing_file", "timeout")
"""States that may change when the job runs again."""


@dataclass(frozen=True)
class Work:
    """An extractor with everything that its job needs.

    extract: the extractor, called with a segment and ``options``. needs: inputs that it reads. dependencies: what its
    features depend on besides the utterance: name, options, versions, weights, code. root: the folder of the media.
    file: the file of the extractor.
    """

    extract: Callable[..., Extracted]
    options: Mapping[str, Any]
    needs: tuple[str, ...]
    dependencies: Mapping[str, Any]
    root: Path
    file: Path

    def media_name(self, item: Utterance) -> str:
        """Return the name of the file to decode for an utterance, or "" if there is none."""
        if "video" in self.needs:
            return item.video
        return item.audio if "audio" in self.needs else ""


class Media:
    """The media files of a chunk with their digests. Detects files that change during the job."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        """Compute digests of files below ``root``; the digest of anything but a regular file is empty."""
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
        """Return the path of a file. Raises UnusableError if it was absent, DataError if it has changed."""
        path = self._root / name
        if not name:
            raise UnusableError("missing_file", "the table names no file")
        if name not in self._states:
            raise UnusableError("missing_file", "is not a regular file" if path.exists() else "no such file")
        self.check(name)
        return path

    def check(self, name: str) -> None:
        """Raise DataError if a file has changed since its digest was computed."""
        path = self._root / name
        try:
            unchanged = file_state(path) == self._states[name]
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            raise DataError(f"{path}: changed while it was read. Do not change media during a run; run again.")


def cache_key(item: Utterance, work: Work, digest: str) -> str:
    """Digest everything that the features of an utterance depend on. digest: of its media file."""
    inputs: dict[str, Any] = {}
    if "audio" in work.needs:
        inputs["audio"] = [digest, *((None, None) if item.audio_is_cut else (item.start, item.end))]
    if "video" in work.needs:
        inputs["video"] = [digest, item.start, item.end, item.side]
    if "text" in work.needs:
        inputs["text"] = item.text
    if not work.needs:
        inputs["name"] = [item.id, item.video or item.audio, item.start, item.end]
    content = json.dumps([inputs, dict(work.dependencies)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def extract_items(
    items: list[Utterance], work: Work, cache: Path, advance: Callable[[int], object] = lambda _done: None
) -> list[Entry]:
    """Extract utterances and return their entries, in order. cache: file of entries, read and updated.

    Raises DataError if a media file changes during the job, and ConfigError or DataError for an error of the extractor;
    finished utterances stay in the cache.
    """
    media = Media(work.root, sorted({work.media_name(item) for item in items} - {""}))
    keys = {item.id: cache_key(item, work, media.digests[work.media_name(item)]) for item in items}
    cached = _read_cache(cache)
    entries = {item.id: cached[key] for item in items if (key := keys[item.id]) in cached}
    entries = {identifier: _renamed(entry, identifier) for identifier, entry in entries.items()}
    for item in items:
        if item.id in entries and entries[item.id].state not in USABLE:
            _log_unusable(item.id, entries[item.id].state, work.media_name(item), "as before")
    advance(len(entries))
    saved, unsaved = time.monotonic(), False
    pending = [item for item in items if item.id not in entries]
    try:
        for item, (state, values, counts) in _extract(pending, work, media):
            entries[item.id] = Entry(item.id, keys[item.id], state, values, counts)
            unsaved = True
            advance(1)
            if time.monotonic() - saved >= SECONDS_BETWEEN_SAVES:
                _save_cache(cache, entries.values())
                saved, unsaved = time.monotonic(), False
    except BaseException:
        if unsaved:
            _save_cache(cache, entries.values())
        raise
    ordered = [entries[item.id] for item in items]
    check_widths(ordered)
    _save_cache(cache, ordered)
    return ordered


def check_widths(entries: Iterable[Entry]) -> int:
    """Return the width of all entries that have features, 0 if none has. Raises DataError if widths differ."""
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


def _read_cache(cache: Path) -> dict[str, Entry]:
    if not cache.exists():
        return {}
    try:
        return {entry.key: entry for entry in read_entries(cache)[0]}
    except DataError:
        print(f"warning: {cache}: is damaged and is not used.", file=sys.stderr)
        return {}


def _save_cache(cache: Path, entries: Iterable[Entry]) -> None:
    write_entries(cache, [entry for entry in entries if entry.state not in UNCACHED], {})


Result = tuple[str, NDArray[np.float32], dict[str, int]]
"""State, values (frames, dim) and counts of an utterance."""


def _extract(items: list[Utterance], work: Work, media: Media) -> Iterator[tuple[Utterance, Result]]:
    """Yield the result of every utterance, one recording after another."""
    if not {"audio", "video"} & set(work.needs):
        for item in items:
            yield item, _result_or_state(item, "", partial(_extract_text, item, work))
        return
    by_recording = sorted(items, key=lambda item: (work.media_name(item), _start(item)))
    extract_recording = _extract_video if "video" in work.needs else _extract_audio
    for name, group in groupby(by_recording, key=work.media_name):
        yield from extract_recording(name, list(group), work, media)
        if media.digests[name]:
            media.check(name)


def _start(item: Utterance) -> float:
    return item.start if item.start is not None else 0.0


def _extract_text(item: Utterance, work: Work) -> Result:
    return _result(_call_extractor(Segment(**_segment_fields(item, work)), item, work), {}, "ok")


def _extract_audio(name: str, items: list[Utterance], work: Work, media: Media) -> Iterator[tuple[Utterance, Result]]:
    decoded: list[tuple[NDArray[np.float32], float | None]] = []

    def decode_once() -> tuple[NDArray[np.float32], float | None]:
        if not decoded:
            decoded.append(decode_audio(media.path(name), Deadline(UTTERANCE_SECONDS)))
        return decoded[0]

    def extract(item: Utterance) -> Result:
        start, end = (None, None) if item.audio_is_cut else (item.start, item.end)
        check_span(start, end)
        recording, stated = decode_once()
        samples, counts, state = cut_audio(recording, stated, start, end)
        segment = Segment(**_segment_fields(item, work), audio=samples)
        return _result(_call_extractor(segment, item, work), counts, state)

    for item in items:
        yield item, _result_or_state(item, name, partial(extract, item))


def _extract_video(name: str, items: list[Utterance], work: Work, media: Media) -> Iterator[tuple[Utterance, Result]]:
    opened: list[PictureStream] = []
    fps = float(work.options["fps"])

    def extract(item: Utterance, next_start: float) -> Result:
        check_span(item.start, item.end)
        if not opened:
            opened.append(PictureStream(media.path(name)))
        stream, shown = opened[0], 0
        deadline = Deadline(UTTERANCE_SECONDS)

        def counted() -> Iterator[NDArray[np.uint8]]:
            nonlocal shown
            for picture in stream.pictures(item.start, item.end, fps, item.side, next_start, deadline):
                shown += 1
                deadline.check()
                yield picture

        pictures = counted()
        first = next(pictures, None)
        extracted = None
        if first is not None:
            segment = Segment(**_segment_fields(item, work), pictures=chain([first], pictures))
            extracted = _call_extractor(segment, item, work)
        until = item.end if item.end is not None else stream.stated
        expected = max(1 / fps, until - _start(item)) if until is not None else shown / fps
        # The last picture of a span may be up to one interval before its end.
        decoded = expected if shown and expected - shown / fps < 1 / fps else shown / fps
        state, cut = judge_span(decoded, expected, item.start, item.end, stream.stated)
        assert extracted is not None  # a span without pictures is unusable
        return _result(extracted, {"cut": cut}, state)

    try:
        for number, item in enumerate(items):
            next_start = _start(items[number + 1]) if number + 1 < len(items) else float("inf")
            yield item, _result_or_state(item, name, partial(extract, item, next_start))
    finally:
        for stream in opened:
            stream.close()


def _segment_fields(item: Utterance, work: Work) -> dict[str, Any]:
    """Return the fields of a segment other than sound and pictures."""
    segment: dict[str, Any] = {"id": item.id, "recording": item.video or item.audio}
    segment |= {"start": item.start, "end": item.end}
    return segment | ({"text": item.text} if "text" in work.needs else {})


def _call_extractor(segment: Segment, item: Utterance, work: Work) -> Extracted:
    """Call the extractor and validate its result. Raises ConfigError if it fails or returns anything but features."""
    clip = work.media_name(item) or segment.recording
    utterance = f"utterance '{item.id}'" + (f" ({clip})" if clip else "")
    remedy = "Correct the extractor, or let it raise UnusableError for clips that it cannot handle."
    try:
        with custom_code(work.file, f"failed for {utterance}", remedy):
            returned = work.extract(segment, **work.options)
    except UnusableError as problem:
        if problem.state not in STATES:
            known = ", ".join(state for state in STATES if state not in USABLE)
            raise ConfigError(
                f"{work.file}: unknown state '{problem.state}' for {utterance}. Choose from: {known}."
            ) from None
        raise
    if not isinstance(returned, Extracted):
        raise ConfigError(
            f"{work.file}: returned {type(returned).__name__} for {utterance}, not Extracted. Correct the extractor."
        )
    try:
        values, counts = np.asarray(returned.values), {str(key): int(count) for key, count in returned.counts.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(
            f"{work.file}: returned values or counts that are not numbers for {utterance}. Correct the extractor."
        ) from None
    if values.ndim != 2 or values.dtype != np.float32 or 0 in values.shape:
        raise ConfigError(
            f"{work.file}: returned {values.dtype} {values.shape} for {utterance}, not (frames, dim) float32 with at "
            "least one frame. Correct the extractor."
        )
    if not np.isfinite(values).all():
        raise ConfigError(f"{work.file}: returned NaN or infinities for {utterance}. Correct it or its model.")
    return Extracted(values, counts)


def _result(extracted: Extracted, counts: dict[str, int], state: str) -> Result:
    """Add the counts of an extractor to others. Raises UnusableError if no picture shows a face."""
    counts = {**counts, **extracted.counts}
    if counts.get("faces") == 0:
        raise UnusableError("no_face", f"no face in {counts.get('frames', 0)} pictures")
    return state, extracted.values, counts


def _result_or_state(item: Utterance, name: str, extract: Callable[[], Result]) -> Result:
    """Return the result of an utterance; log an unusable one and return its state without features."""
    try:
        return extract()
    except UnusableError as problem:
        _log_unusable(item.id, problem.state, name, str(problem))
        return problem.state, np.zeros((0, 0), np.float32), {}


def _log_unusable(identifier: str, state: str, name: str, reason: str) -> None:
    """Report an unusable utterance in the log. name: of its media file, if it has one."""
    place = f" {name}:" if name else ""
    print(f"{identifier}: {state}:{place} {reason}", file=sys.stderr, flush=True)
