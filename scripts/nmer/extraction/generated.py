"""Generated clips of a talking face in three classes: their settings, and their words, which are known beforehand.

Nothing in them is real; scores on them say nothing about speech. What is heard and seen is made in
:mod:`nmer.extraction.films`. Every number derives from names.
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
FEWEST_UTTERANCES, FEWEST_SPEAKERS = 30, 3

PACKAGES = {"av": "", "skimage": "data/astronaut.png"}
"""What writing films needs, with the file that is read of each."""

NEUTRAL_WORDS = (
    "the a we you they it is was and so then here now today there room door street people time".split()  # noqa: SIM905
)
WORDS = {
    "calm": ["quiet", "gentle", "slow", "rest", "evening", "lake", "breathe", "soft"],
    "happy": ["laugh", "sun", "party", "wonderful", "dance", "song", "bright", "friend"],
    "angry": ["never", "shout", "wrong", "enough", "break", "hate", "stop", "unfair"],
}
"""Classes, each with the words that it prefers."""

PREFERENCE = 0.45
"""Probability that a word is one of the class."""

WORDS_PER_UTTERANCE = 7


@dataclass(frozen=True)
class MediaSettings:
    """What generated media are made of.

    dataset: its name. utterances, speakers: how many. voice: ``espeak`` (the program espeak-ng) or ``numpy``; ``auto``
    takes the first where it is installed. seconds: length of an utterance with the numpy voice. seed: any number.
    """

    dataset: str
    utterances: int = 90
    speakers: int = 6
    voice: str = "auto"
    seconds: float = 1.6
    seed: int = 0

    @classmethod
    def from_mapping(cls, dataset: str, given: Mapping[str, Any]) -> MediaSettings:
        """Settings with the voice of this machine. Raises ConfigError for an unknown key or an impossible value."""
        where = f"datasets.{dataset}.raw.generate"
        known = {item.name: item.default for item in fields(cls) if item.name != "dataset"}
        for key, value in given.items():
            if key not in known:
                raise ConfigError(f"{where}: unknown key '{key}'. {nearest(key, known)}")
            numeric = isinstance(value, int | float) and not isinstance(value, bool)
            if not (isinstance(value, type(known[key])) or (isinstance(known[key], float) and numeric)):
                raise ConfigError(f"{where}.{key}: {value!r} is not like its default {known[key]!r}. Correct it.")
        made = cls(dataset, **given)
        if made.voice not in VOICES:
            raise ConfigError(f"{where}.voice: {made.voice!r} is not possible. Choose from: {', '.join(VOICES)}.")
        if made.utterances < FEWEST_UTTERANCES or made.speakers < FEWEST_SPEAKERS or not 0.5 <= made.seconds <= 60:
            raise ConfigError(
                f"{where}: at least {FEWEST_UTTERANCES} utterances, {FEWEST_SPEAKERS} speakers, and 0.5 to 60 seconds "
                "are needed. Correct it."
            )
        found = shutil.which(SYNTHESISER) is not None
        if made.voice == "espeak" and not found:
            raise ConfigError(
                f"{where}.voice: the program {SYNTHESISER} is not installed. Install it, or remove the key."
            )
        voice = ("espeak" if found else "numpy") if made.voice == "auto" else made.voice
        return cls(**{**vars(made), "voice": voice})

    def to_mapping(self) -> dict[str, Any]:
        """What :meth:`from_mapping` takes."""
        return {key: value for key, value in vars(self).items() if key != "dataset"}

    def random(self, *names: str | int) -> np.random.Generator:
        """A generator that belongs to this dataset and these names."""
        return seeds.generator("media", self.seed, self.dataset, *names)


def generated_utterances(settings: MediaSettings) -> list[Utterance]:
    """The table of the clips, which depends on the settings alone. Every speaker has the same share of every class."""
    made = []
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
        made.append(Utterance(name, label, speaker=f"speaker{speaker + 1}", audio=film, video=film, text=text))
    return made
