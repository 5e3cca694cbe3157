"""Extractors and sources of utterances, found by name: one file each, shipped or custom.

An extractor turns one utterance into features. The arguments of its decorator are literals, which the plan reads
without importing the file::

    @extractor("my_energy", modality="a", needs=("audio",), licence="free", packages=("av",))
    def my_energy(segment: Segment, *, hop: float = 0.01) -> Extracted: ...

``needs``: inputs that it reads: ``audio``, ``video`` (with an option ``fps``) and ``text``; empty for an extractor that
reads files of the user itself. ``licence``: ``free``, ``research`` or ``unclear``, for the report. ``packages``:
modules that must be installed. ``weights``: packages needed only for a file of weights, each with that file.
``paths``: options that name files or folders of the user; ``get``: what to download if one is absent. ``required``:
options without a usable default. Keyword-only arguments are options, limited by their annotations
(:mod:`nmer.options`).

A source lists the utterances of a folder of media::

    @source("my_archive", folds=10, layout_options={"protocol": "given"})
    def read(root: Path, *, my_option: str = "x") -> Listing: ...

``folds`` and ``layout_options``: defaults of the dataset's keys ``folds`` and ``options``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nmer.errors import NmerError
from nmer.options import Bounds
from nmer.plugins import Registry

SAMPLE_RATE = 16000
"""Samples per second of the audio that extractors receive."""

STATES = ("ok", "partly", "no_face", "too_short", "unreadable", "missing_file", "no_text", "bad_span", "timeout")
"""States of an utterance in one modality. Only the first two have features."""

USABLE = STATES[:2]

FramesPerSecond = Annotated[float, Bounds(0.1, 240.0)]
"""How many pictures of a video an extractor reads a second."""

PadTo = Annotated[int, Bounds(0)]
"""Frames to which an utterance is cut or zero-padded; 0 = none."""

NEEDS = ("audio", "video", "text")
"""Inputs that an extractor can need."""


class UnusableError(NmerError):
    """An utterance has no features in one modality; the job continues with the next.

    state: one of :data:`STATES`.
    """

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True)
class Segment:
    """One utterance, the input of an extractor.

    audio: (samples,) float32, mono, 16 kHz; empty unless needed. pictures: RGB pictures (height, width, 3) uint8,
    ``fps`` per second (an option); can be iterated once. text: the words. recording: name of the video or audio file
    below the dataset's folder. start, end: seconds in it, None = its start or end.
    """

    id: str
    audio: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    pictures: Iterable[NDArray[np.uint8]] = ()
    text: str = ""
    recording: str = ""
    start: float | None = None
    end: float | None = None


class Extracted(NamedTuple):
    """The result of an extractor: values (frames, dim) float32, and counts for the report, such as ``faces``."""

    values: NDArray[np.float32]
    counts: dict[str, int]


@dataclass(frozen=True)
class Utterance:
    """One row of the table of utterances.

    audio, video: file names below the dataset's folder, empty = none. start, end: seconds, None = start or end of the
    file. audio_is_cut: whether the audio file contains the utterance only, so the span applies to the video alone.
    side: ``left``, ``right`` or empty = the whole picture. speaker, split, fold: empty = unknown.
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
        """Return the name that determines the chunk: utterances of one recording are extracted together."""
        return self.video or self.audio or self.id


@dataclass(frozen=True)
class Listing:
    """The utterances of a dataset.

    skipped: reason -> number of lines or utterances of the source that were skipped. columns: which of ``speaker``,
    ``split`` and ``fold`` the source provides. speaker_folds: whether folds follow the speaker protocol of IEMOCAP.
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
