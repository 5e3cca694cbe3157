"""Decoding of media files with PyAV: samples at 16 kHz, pictures at given times.

Files are not trusted: only local files in known formats that cannot refer to other files are opened. PyAV is imported
only when a file is decoded, so listing and planning do not need it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmer.extraction.registry import SAMPLE_RATE, UnusableError

FORMATS = "avi,mov,matroska,wav,flac,ogg,mp3,mpegts"
LARGEST_PICTURE = 4096
"""Pixels per side."""

TOLERANCE_SECONDS = 0.5
"""A span may end this much after its file: it is cut and counted."""

MIN_DECODED = 0.5
"""Smallest share of a span that must be decoded."""


class Deadline:
    """Time limit of one utterance."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._ends = seconds, time.monotonic() + seconds

    def check(self) -> None:
        """Raise UnusableError after the time limit."""
        if time.monotonic() > self._ends:
            raise UnusableError("timeout", f"took longer than {self._seconds:g} s")


def check_span(start: float | None, end: float | None) -> None:
    """Raise UnusableError for an invalid span."""
    begin = 0.0 if start is None else start
    if not (math.isfinite(begin) and begin >= 0) or (end is not None and not (math.isfinite(end) and end > begin)):
        raise UnusableError("bad_span", f"from {start} to {end} s is not a span: needs 0 <= start < end")


def decode_audio(path: Path, deadline: Deadline) -> tuple[NDArray[np.float32], float | None]:
    """Decode a file to mono at 16 kHz. Returns samples and the duration in its header in seconds (None = not stated).

    For a damaged file the decodable part is returned. Raises UnusableError if nothing can be decoded.
    """
    import av

    parts: list[NDArray[np.float32]] = []
    with _opened(path) as container:
        if not container.streams.audio:
            raise UnusableError("unreadable", "has no sound")
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        # Average channels here: FFmpeg would amplify what two channels share.
        resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
        try:
            for frame in container.decode(stream):
                deadline.check()
                parts += [made.to_ndarray().mean(axis=0) for made in resampler.resample(frame)]
            parts += [made.to_ndarray().mean(axis=0) for made in resampler.resample(None)]
        except (av.FFmpegError, ValueError) as error:
            if not parts:
                raise UnusableError("unreadable", f"cannot be decoded ({_reason(error)})") from None
        stated = _stated_duration(container, stream)
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not np.isfinite(samples).all():
        raise UnusableError("unreadable", "its sound contains values that are not finite")
    return samples, stated


def cut_audio(
    samples: NDArray[np.float32], stated: float | None, start: float | None, end: float | None
) -> tuple[NDArray[np.float32], dict[str, int], str]:
    """Return the samples of a span, counts (``cut``: the file ends before the span) and the state ``ok`` or ``partly``.

    Raises UnusableError if the span is outside the file, or too little of it was decoded.
    """
    check_span(start, end)
    first = round(SAMPLE_RATE * (start or 0.0))
    last = len(samples) if end is None else round(SAMPLE_RATE * end)
    expected = last if end is not None or stated is None else round(SAMPLE_RATE * stated)
    found = samples[first:last]
    state, cut = judge_span(len(found) / SAMPLE_RATE, (expected - first) / SAMPLE_RATE, start, end, stated)
    return found, {"cut": cut}, state


def judge_span(
    decoded: float, expected: float, start: float | None, end: float | None, stated: float | None
) -> tuple[str, int]:
    """Return the state of a span and whether its end is cut, given the seconds decoded and expected.

    stated: the duration in the header of the file. Raises UnusableError if the span is outside the file, or less than
    half of it was decoded although the file should contain it.
    """
    missing = expected - decoded
    if missing <= TOLERANCE_SECONDS and decoded > 0:
        # Rounding to the last sample or picture is not a cut.
        return "ok", int(missing > 0.02 and end is not None)
    if stated is not None and end is not None and end > stated + TOLERANCE_SECONDS:
        raise UnusableError(
            "bad_span", f"from {start or 0:g} to {end:g} s is outside the file, which ends at {stated:.2f} s"
        )
    if decoded <= 0 and start and (stated is None or start >= stated):
        raise UnusableError("bad_span", f"starts at {start:g} s, after the end of the file")
    if decoded <= 0:
        raise UnusableError("too_short", "is empty")
    if decoded < MIN_DECODED * expected:
        raise UnusableError("unreadable", f"only {decoded:.2f} of {expected:.2f} s can be decoded")
    return "partly", 1


class PictureStream:
    """Pictures of one file, decoded once for all its spans, which must be in order of their start."""

    def __init__(self, path: Path) -> None:
        """Open a file. Raises UnusableError if it cannot be read or has no pictures."""
        import av

        self._errors: tuple[type[Exception], ...] = (av.FFmpegError, ValueError)
        self._container = _opened(path)
        # An audio file may contain a cover picture.
        cover = av.stream.Disposition.attached_pic
        streams = [each for each in self._container.streams.video if not each.disposition & cover]
        if not streams:
            self.close()
            raise UnusableError("unreadable", "has no pictures")
        stream = streams[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        if max(width, height) > LARGEST_PICTURE:
            self.close()
            raise UnusableError(
                "unreadable", f"pictures of {width} x {height}; the limit is {LARGEST_PICTURE} pixels per side"
            )
        stream.codec_context.thread_count = 1
        self._rate = float(stream.average_rate or stream.guessed_rate or 25)
        self.stated = _stated_duration(self._container, stream)
        # A truncated file may state the duration of what is left; the header still has the number of pictures.
        if stream.frames and self.stated is not None:
            self.stated = max(self.stated, stream.frames / self._rate)
        self._first = stream.start_time or 0
        self._time_base = float(stream.time_base or 1 / self._rate)
        self._decoded = self._decode(stream)
        self._buffer: deque[tuple[float, Any]] = deque()
        self._ended = False
        self._count = 0

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def pictures(
        self, start: float | None, end: float | None, fps: float, side: str, keep_from: float, deadline: Deadline
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield RGB pictures of a span: picture k is the last one at or before start + (k + 0.5) / fps seconds.

        Yields max(1, floor(duration · fps)) pictures, fewer if the file ends earlier. side: half of the picture to
        keep. keep_from: start of the next span, from which decoded pictures stay in the buffer.
        """
        begin = start or 0.0
        until = end if end is not None else self.stated
        wanted = math.inf if until is None else max(1, math.floor(round((until - begin) * fps, 6)))
        number = 0
        while number < wanted:
            moment = begin + (number + 0.5) / fps
            if (picture := self._at(moment, keep_from, deadline)) is None:
                return
            yield _cropped(picture, side)
            number += 1

    def _at(self, moment: float, keep_from: float, deadline: Deadline) -> Any:
        """Return the picture shown at a moment; None after the end."""
        while not self._ended and (not self._buffer or self._buffer[-1][0] <= moment):
            deadline.check()
            decoded = next(self._decoded, None)
            if decoded is None:
                self._ended = True
            else:
                self._buffer.append(decoded)
            while len(self._buffer) > 1 and self._buffer[1][0] <= min(moment, keep_from):
                self._buffer.popleft()
        if not self._buffer or (self._ended and moment > self._buffer[-1][0] + 1.5 / self._rate):
            return None
        shown = [frame for start, frame in self._buffer if start <= moment]
        # Before the first picture of a file, use the first one.
        return shown[-1] if shown else self._buffer[0][1]

    def _decode(self, stream: Any) -> Iterator[tuple[float, Any]]:
        try:
            for frame in self._container.decode(stream):
                number = self._count
                self._count += 1
                known = frame.pts is not None
                yield ((frame.pts - self._first) * self._time_base if known else number / self._rate), frame
        except self._errors as error:
            if not self._count:
                raise UnusableError("unreadable", f"cannot be decoded ({_reason(error)})") from None


def _opened(path: Path) -> Any:
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    if not path.is_file():
        raise UnusableError("missing_file" if not path.exists() else "unreadable", "is not a file")
    try:
        return av.open(str(path), options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnusableError("unreadable", f"is not audio or video in a known format ({_reason(error)})") from None


def _stated_duration(container: Any, stream: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _cropped(frame: Any, side: str) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    if quarters := round(getattr(frame, "rotation", 0) / 90) % 4:
        picture = np.rot90(picture, quarters)
    half = picture.shape[1] // 2
    if side == "left":
        picture = picture[:, :half]
    elif side == "right":
        picture = picture[:, picture.shape[1] - half :]
    return np.ascontiguousarray(picture)


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".") or type(error).__name__
