"""Sound and pictures of media files, decoded with PyAV: samples at 16 kHz, pictures at times that are asked for.

Files are not trusted: only local files of known formats are opened, none of which refers to another file. PyAV is
imported when a file is decoded, so that lists and plans do without it.
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
"""Pixels of a side."""

TOLERANCE_SECONDS = 0.5
"""A span may end so much after its file does: the end is cut off, and counted."""

FEWEST_DECODED = 0.5
"""Share of a span that must be decoded for its features to be used."""


class Deadline:
    """The time that an utterance may take."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._ends = seconds, time.monotonic() + seconds

    def check(self) -> None:
        """Raises UnusableError once the time is over."""
        if time.monotonic() > self._ends:
            raise UnusableError("timeout", f"took longer than {self._seconds:g} s")


def check_span(start: float | None, end: float | None) -> None:
    """Raises UnusableError for a span that no file can have."""
    begin = 0.0 if start is None else start
    if not (math.isfinite(begin) and begin >= 0) or (end is not None and not (math.isfinite(end) and end > begin)):
        raise UnusableError("bad_span", f"from {start} to {end} s is no span: 0 <= start < end is needed")


def decode_audio(path: Path, deadline: Deadline) -> tuple[NDArray[np.float32], float | None]:
    """All samples of a file, mixed to mono at 16 kHz, and its stated duration in seconds (None = not stated).

    What can be decoded of a damaged file is returned. Raises UnusableError if nothing can.
    """
    import av

    parts: list[NDArray[np.float32]] = []
    with _opened(path) as container:
        if not container.streams.audio:
            raise UnusableError("unreadable", "has no sound")
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        # The channels are averaged here: FFmpeg makes what two of them share louder.
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
        raise UnusableError("unreadable", "its sound holds values that are no numbers")
    return samples, stated


def cut_audio(
    samples: NDArray[np.float32], stated: float | None, start: float | None, end: float | None
) -> tuple[NDArray[np.float32], dict[str, int], str]:
    """The samples of a span, counts (``cut``: ended before the span), and the state ``ok`` or ``partly``.

    Raises UnusableError if the span is outside the file, or too little of it was decoded.
    """
    check_span(start, end)
    first = round(SAMPLE_RATE * (start or 0.0))
    last = len(samples) if end is None else round(SAMPLE_RATE * end)
    promised = last if end is not None or stated is None else round(SAMPLE_RATE * stated)
    found = samples[first:last]
    state, cut = judge_span(len(found) / SAMPLE_RATE, (promised - first) / SAMPLE_RATE, start, end, stated)
    return found, {"cut": cut}, state


def judge_span(
    decoded: float, asked: float, start: float | None, end: float | None, stated: float | None
) -> tuple[str, int]:
    """The state of a span of which ``decoded`` of ``asked`` seconds were decoded, and whether its end is cut off.

    stated: the file's duration by its own account. Raises UnusableError if the span is outside the file, or if less
    than half of it was decoded of a file that should hold it.
    """
    lacking = asked - decoded
    if lacking <= TOLERANCE_SECONDS and decoded > 0:
        # Rounding of the last sample or picture is no cut.
        return "ok", int(lacking > 0.02 and end is not None)
    if stated is not None and end is not None and end > stated + TOLERANCE_SECONDS:
        raise UnusableError(
            "bad_span", f"from {start or 0:g} to {end:g} s is outside the file, which ends at {stated:.2f} s"
        )
    if decoded <= 0 and start and (stated is None or start >= stated):
        raise UnusableError("bad_span", f"starts at {start:g} s, after the end of the file")
    if decoded <= 0:
        raise UnusableError("too_short", "holds nothing")
    if decoded < FEWEST_DECODED * asked:
        raise UnusableError("unreadable", f"only {decoded:.2f} of {asked:.2f} s can be decoded")
    return "partly", 1


class PictureStream:
    """The pictures of one file, decoded once and in order for all spans of it, which begin later and later."""

    def __init__(self, path: Path) -> None:
        """Open a file. Raises UnusableError if it cannot be read or has no pictures."""
        import av

        self._errors: tuple[type[Exception], ...] = (av.FFmpegError, ValueError)
        self._container = _opened(path)
        # A file of sound may hold the picture of a cover.
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
                "unreadable", f"pictures of {width} x {height}; at most {LARGEST_PICTURE} a side are read"
            )
        stream.codec_context.thread_count = 1
        self._rate = float(stream.average_rate or stream.guessed_rate or 25)
        self.stated = _stated_duration(self._container, stream)
        # Of a film that was cut off the duration may be that of what is left; its header knows the pictures.
        if stream.frames and self.stated is not None:
            self.stated = max(self.stated, stream.frames / self._rate)
        self._first = stream.start_time or 0
        self._time_base = float(stream.time_base or 1 / self._rate)
        self._decoded = self._decode(stream)
        self._kept: deque[tuple[float, Any]] = deque()
        self._ended = False
        self._count = 0

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def pictures(
        self, start: float | None, end: float | None, fps: float, side: str, keep_from: float, deadline: Deadline
    ) -> Iterator[NDArray[np.uint8]]:
        """RGB pictures of a span: number k is the last one at or before start + (k + 0.5) / fps seconds.

        There are max(1, floor(duration · fps)) of them, fewer where the file ends before. side: the half that is kept.
        keep_from: where the next span begins; what is shown from then on is kept for it.
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
        """The picture that is shown at a moment; None after the end."""
        while not self._ended and (not self._kept or self._kept[-1][0] <= moment):
            deadline.check()
            decoded = next(self._decoded, None)
            if decoded is None:
                self._ended = True
            else:
                self._kept.append(decoded)
            while len(self._kept) > 1 and self._kept[1][0] <= min(moment, keep_from):
                self._kept.popleft()
        if not self._kept or (self._ended and moment > self._kept[-1][0] + 1.5 / self._rate):
            return None
        shown = [frame for at, frame in self._kept if at <= moment]
        # Before the first picture of a file, that one stands for what is shown.
        return shown[-1] if shown else self._kept[0][1]

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
        raise UnusableError("missing_file" if not path.exists() else "unreadable", "is no file")
    try:
        return av.open(str(path), options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnusableError("unreadable", f"is no sound or film of a known format ({_reason(error)})") from None


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
