"""Extractors and sources of utterances, found by name: one file each, shipped or custom.

An extractor turns one utterance into features. Its decorator consists of plain literals, which the plan reads without
importing the file::

    @extractor("my_energy", modality="a", needs=("audio",), licence="free", packages=("av",))
    def my_energy(segment: Segment, *, hop: float = 0.01) -> Extracted: ...

``needs``: ``audio``, ``video`` (with an option ``fps``) and ``text``, what of the utterance is read; nothing for an
extractor that reads the user's files itself. ``licence``: ``free``, ``research`` or ``unclear``, for the report.
``packages``: modules that must be installed. ``weights``: file inside each package that is installed for it only.
``paths``: options that name files or folders of the user. ``required``: options without a usable default. Keyword-only
arguments are options, bounded by ``choices``, ``minimum`` and ``maximum``.

A source lists the utterances of a folder of media::

    @source("my_archive", folds=10, layout_options={"protocol": "given"})
    def read(root: Path, *, my_option: str = "x") -> Listing: ...

``folds`` and ``layout_options``: what the dataset's keys ``folds`` and ``options`` default to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmer.errors import NmerError
from nmer.plugins import Registry

SAMPLE_RATE = 16000
"""Samples per second of all audio that extractors are given."""

STATES = ("ok", "partly", "no_face", "too_short", "unreadable", "missing_file", "no_text", "bad_span", "timeout")
"""What became of an utterance in one modality. The first two have features."""

USABLE = STATES[:2]

NEEDS = ("audio", "video", "text")
"""What of an utterance an extractor may need, in its decorator's words."""


class UnusableError(NmerError):
    """An utterance that gives no features in one modality; the job continues with the next.

    state: one of :data:`STATES`.
    """

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True)
class Segment:
    """One utterance as an extractor is given it.

    audio: (samples,) float32, mono, 16 kHz; empty unless needed. pictures: RGB pictures (height, width, 3) uint8, as
    many a second as the option ``fps``; can be iterated once. text: the words. recording: the video's or the audio's
    name below the dataset's folder; start, end: seconds in it, None = its begin or end.
    """

    id: str
    audio: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    pictures: Iterable[NDArray[np.uint8]] = ()
    text: str = ""
    recording: str = ""
    start: float | None = None
    end: float | None = None


class Extracted(NamedTuple):
    """What an extractor returns: values (frames, dim) float32, and counts for the report, such as ``faces``."""

    values: NDArray[np.float32]
    counts: dict[str, int]


@dataclass(frozen=True)
class Utterance:
    """One row of the table of utterances.

    audio, video: file names below the dataset's folder, empty = none. start, end: seconds, None = from the begin or to
    the end. audio_is_cut: whether the span concerns the video only. side: ``left``, ``right`` or empty = the whole
    picture. speaker, split, fold: empty = not given.
    """

    id: str
    label: str
    speaker: str = ""
    split: str = ""
    fold: str = ""
    audio: str = ""
    video: str = ""
    start: float | None = None
    end: float | None = None
    text: str = ""
    side: str = ""
    audio_is_cut: bool = False

    @property
    def recording(self) -> str:
        """What decides on the chunk of an utterance: utterances of one recording are extracted together."""
        return self.video or self.audio or self.id


@dataclass(frozen=True)
class Listing:
    """The utterances of a dataset.

    skipped: reason -> how many lines or utterances of the source were left out for it. columns: which of ``speaker``,
    ``split`` and ``fold`` are given. speaker_folds: whether folds follow from speakers by the protocol of IEMOCAP.
    """

    utterances: list[Utterance]
    columns: tuple[str, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    speaker_folds: bool = False


extractors: Registry[Callable[..., Extracted]] = Registry("extractor", "extractor", "nmer.extraction.extractors")
extractor = extractors.register

sources: Registry[Callable[..., Listing]] = Registry("source of utterances", "source", "nmer.extraction.sources")
source = sources.register
