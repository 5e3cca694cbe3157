"""Generated clips of a talking face in three classes: settings and words.

The data are synthetic; scores on them have no meaning for real speech. :mod:`nmer.extraction.films` generates sound and
pictures. Every random number derives from names.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nmer import seeds
from nmer.errors import ConfigError, nearest
from nmer.extraction.registry import Utterance

SYNTHESISER = "espeak-ng"
VOICES = ("auto", "espeak", "numpy")
MIN_UTTERANCES, MIN_SPEAKERS = 30, 3

PACKAGES = {"av": "", "skimage": "data/astronaut.png"}
"""Packages that generating films needs, each with the file to read from it."""

NEUTRAL_WORDS = (
    "the a we you they it is was and so then here now today there room door street people time".split()  # noqa: SIM905
)
WORDS = {
    "calm": ["quiet", "gentle", "slow", "rest", "evening", "lake", "breathe", "soft"],
    "happy": ["laugh", "sun", "party", "wonderful", "dance", "song", "bright", "friend"],
    "angry": ["never", "shout", "wrong", "enough", "break", "hate", "stop", "unfair"],
}
"""Classes, each with its typical words."""

PREFERENCE = 0.45
"""Probability that a word is typical of its class."""

WORDS_PER_UTTERANCE = 7


@dataclass(frozen=True)
class MediaSettings:
    """Settings of generated media.

    dataset: name of the dataset. utterances, speakers: numbers of each. voice: ``espeak`` (the program espeak-ng) or
    ``numpy``; ``auto`` uses espeak if it is installed. seconds: length of an utterance with the numpy voice. seed: any
    number.
    """

    dataset: str
    utterances: int = 90
    speakers: int = 6
    voice: str = "auto"
    seconds: float = 1.6
    seed: int = 0

    @classmethod
    def from_mapping(cls, dataset: str, section: Mapping[str, Any]) -> MediaSettings:
        """Create settings with a voice available on this machine. Raises ConfigError for invalid keys or values."""
        where = f"datasets.{dataset}.raw.generate"
        known = {item.name: item.default for item in fields(cls) if item.name != "dataset"}
        for key, value in section.items():
            if key not in known:
                raise ConfigError(f"{where}: unknown key '{key}'. {nearest(key, known)}")
            numeric = isinstance(value, int | float) and not isinstance(value, bool)
            if not (isinstance(value, type(known[key])) or (isinstance(known[key], float) and numeric)):
                raise ConfigError(f"{where}.{key}: {value!r} is not like its default {known[key]!r}. Correct it.")
        settings = cls(dataset, **section)
        if settings.voice not in VOICES:
            raise ConfigError(f"{where}.voice: {settings.voice!r} is not possible. Choose from: {', '.join(VOICES)}.")
        enough = settings.utterances >= MIN_UTTERANCES and settings.speakers >= MIN_SPEAKERS
        if not (enough and 0.5 <= settings.seconds <= 60):
            raise ConfigError(
                f"{where}: needs at least {MIN_UTTERANCES} utterances, {MIN_SPEAKERS} speakers, and 0.5 to 60 seconds. "
                "Correct it."
            )
        installed = shutil.which(SYNTHESISER) is not None
        if settings.voice == "espeak" and not installed:
            raise ConfigError(
                f"{where}.voice: the program {SYNTHESISER} is not installed. Install it, or remove the key."
            )
        voice = ("espeak" if installed else "numpy") if settings.voice == "auto" else settings.voice
        return cls(**{**vars(settings), "voice": voice})

    def to_mapping(self) -> dict[str, Any]:
        """Return the mapping for :meth:`from_mapping`."""
        return {key: value for key, value in vars(self).items() if key != "dataset"}

    def random(self, *names: str | int) -> np.random.Generator:
        """Return the random generator of this dataset and these names."""
        return seeds.generator("media", self.seed, self.dataset, *names)


def generated_utterances(settings: MediaSettings) -> list[Utterance]:
    """Return the utterances, balanced over speakers and classes. They depend on the settings only."""
    utterances = []
    classes = list(WORDS)
    for number in range(settings.utterances):
        label, speaker = classes[number % len(classes)], number // len(classes) % settings.speakers
        name = f"speaker{speaker + 1}_{number + 1:03d}"
        random = settings.random(name, "words")
        words = [
            str(random.choice(WORDS[label] if random.random() < PREFERENCE else NEUTRAL_WORDS))
            for _ in range(WORDS_PER_UTTERANCE)
        ]
        film = f"{name}.mp4"
        text = f"{' '.join(words).capitalize()}."
        utterances.append(Utterance(name, label, speaker=f"speaker{speaker + 1}", audio=film, video=film, text=text))
    return utterances
