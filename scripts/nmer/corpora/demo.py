"""Small synthetic corpora in the native layouts of IEMOCAP and CMU-MOSEI, to run everything without licensed data.

They resemble the real corpora: speakers or videos, folds, class ratios, padding, feature scales, and defects that the
readers must repair. Scores on them are meaningless. Random numbers derive from the seed and names (:mod:`nmer.seeds`).
"""

from __future__ import annotations

import io
import pickle
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from nmer import seeds
from nmer.corpora.demo_signal import DemoSignal
from nmer.corpora.moments import Moments
from nmer.errors import ConfigError, nearest
from nmer.names import MODALITIES, SPLITS, modality_set

IEMOCAP_CLASSES = ("happy", "angry", "sad", "neutral")
"""Label order of the generated files. The reader identifies classes by their sizes."""

IEMOCAP_SPEAKERS = {
    "1F": (132, 147, 78, 171),
    "1M": (146, 82, 116, 213),
    "2F": (166, 67, 113, 135),
    "2M": (161, 70, 84, 227),
    "3F": (128, 92, 172, 130),
    "3M": (158, 148, 133, 190),
    "4F": (185, 205, 62, 76),
    "4M": (118, 122, 81, 182),
    "5F": (159, 78, 132, 221),
    "5M": (283, 92, 113, 163),
}
"""Utterances of each speaker and class in the real corpus, order of ``IEMOCAP_CLASSES`` (SPEC 5.1)."""

MIN_PER_CELL = 2
"""Smallest number of utterances per speaker and class."""

MOSEI_SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
MOSEI_POSITIVE = 0.71
"""Share of sentiment >= 0 in the paper's Table 1."""
MOSEI_VARIANCE = {"a": 150.8, "v": 2.204, "l": 0.03}
"""Variances of the stored arrays that give T = 140, 60, 5 at -10 dB, as in the paper (SPEC 2.1)."""
MOSEI_SEGMENTS = 4
"""Utterances per video."""
MOSEI_FILE = "mosei_senti_data.pkl"
MOSEI_KEYS = {"a": "audio", "v": "vision", "l": "text"}

DEFAULTS = {
    "iemocap_mmin": {
        "utterances": 220,
        "dims": {"a": 130, "v": 342, "l": 1024},
        "frames": {"a": 20, "v": 10, "l": 22},
        "strength": {"a": 1.65, "v": 1.3, "l": 2.4},
    },
    "mosei_pickle": {
        "utterances": 300,
        "dims": {"a": 74, "v": 35, "l": 300},
        "frames": 20,
        "strength": {"a": 1.2, "v": 0.9, "l": 1.8},
    },
}


@dataclass(frozen=True)
class DemoSettings:
    """Settings of a demo corpus.

    dataset: name of the dataset. layout: ``iemocap_mmin`` or ``mosei_pickle``. utterances: number of utterances.
    modalities: modalities of the corpus. dims: width per modality. frames: for IEMOCAP the median frames of ``a`` and
    the stored frames of ``v`` and ``l``; for MOSEI the stored steps of all modalities. strength: distance of the
    classes per modality. seed: any integer.
    """

    dataset: str
    layout: str
    utterances: int
    dims: Mapping[str, int]
    frames: Mapping[str, int] | int
    strength: Mapping[str, float]
    seed: int = 0
    modalities: tuple[str, ...] = MODALITIES

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> DemoSettings:
        """Create settings from ``{"dataset": …, "layout": …, "generate": {…}, "modalities": […]}``.

        Missing keys have the values of ``DEFAULTS``; without ``modalities`` there are all three. Raises ConfigError
        that names the unknown or invalid key.
        """
        layout, generate = mapping.get("layout"), mapping.get("generate", {})
        if layout not in DEFAULTS:
            raise ConfigError(f"Key 'layout': no demo corpus in layout '{layout}'. {nearest(str(layout), DEFAULTS)}")
        if not isinstance(generate, Mapping):
            raise ConfigError("Key 'generate' must contain the settings of the demo corpus, e.g. {utterances: 200}.")
        known = [entry.name for entry in fields(cls) if entry.name not in ("dataset", "layout", "modalities")]
        for key in generate:
            if key not in known:
                raise ConfigError(f"Unknown key 'generate.{key}'. {nearest(key, known)}")
        modalities = modality_set(cast(Iterable[str], mapping.get("modalities", MODALITIES)))
        defaults = {
            key: {m: value[m] for m in modalities} if isinstance(value, Mapping) else value
            for key, value in DEFAULTS[layout].items()
        }
        settings = cls(str(mapping.get("dataset", layout)), layout, **{**defaults, **generate}, modalities=modalities)
        settings._check()
        return settings

    def _check(self) -> None:
        minimum = 100 if self.layout == "iemocap_mmin" else 60
        if not _whole(self.utterances, minimum):
            raise ConfigError(
                f"Key 'generate.utterances' must be a whole number of at least {minimum}, "
                f"not {reprlib.repr(self.utterances)}."
            )
        if not _whole(self.seed, 0):
            seed = reprlib.repr(self.seed)
            raise ConfigError(f"Key 'generate.seed' must be a whole number of at least 0, not {seed}.")
        named = " and ".join(filter(None, (", ".join(self.modalities[:-1]), self.modalities[-1])))
        if not self._per_modality(self.dims, lambda dim: _whole(dim, 1)):
            raise ConfigError(f"Key 'generate.dims' must give {named} each a whole number of at least 1.")
        if not self._per_modality(self.strength, lambda value: isinstance(value, int | float) and value >= 0):
            raise ConfigError(f"Key 'generate.strength' must give {named} each a number of at least 0.")
        if self.layout == "mosei_pickle" and not _whole(self.frames, 2):
            raise ConfigError(
                "Key 'generate.frames' must be one whole number of at least 2: the steps of all modalities."
            )
        if self.layout == "iemocap_mmin" and not self._per_modality(self.frames, lambda count: _whole(count, 2)):
            raise ConfigError(f"Key 'generate.frames' must give {named} each a whole number of at least 2.")

    def _per_modality(self, value: object, valid: Callable[[object], bool]) -> bool:
        return isinstance(value, Mapping) and set(value) == set(self.modalities) and all(map(valid, value.values()))

    def frames_of(self, modality: str) -> int:
        """Return ``frames`` of one modality. In MOSEI's layout all modalities share one number."""
        return self.frames if isinstance(self.frames, int) else self.frames[modality]

    def signal(self, modality: str, classes: int) -> DemoSignal:
        """Return the generator of frames of one modality."""
        return DemoSignal(self.names(modality), self.dims[modality], classes, self.strength[modality])

    def names(self, *names: str | int) -> tuple[str | int, ...]:
        """Return names for :mod:`nmer.seeds` that are specific to this corpus."""
        return ("demo", self.seed, self.dataset, *names)


def write_demo(folder: Path, settings: DemoSettings) -> None:
    """Write a demo corpus into a new ``folder``, in its layout. The caller makes the write atomic."""
    folder.mkdir(parents=True)
    if settings.layout == "iemocap_mmin":
        write_iemocap(folder, settings)
    else:
        write_mosei(folder / MOSEI_FILE, settings)


# IEMOCAP ------------------------------------------------------------------------------------------------------------


def write_iemocap(folder: Path, settings: DemoSettings) -> None:
    """Write features, targets and audio statistics in the layout of the MMIN release (SPEC 5.1) into ``folder``."""
    labels = _iemocap_labels(settings)
    writers = {"a": ("A/comparE.h5", _audio), "v": ("V/denseface.h5", _faces), "l": ("L/bert_large.h5", _tokens)}
    audio = {}
    for m in settings.modalities:
        name, make = writers[m]
        frames_of = make(settings)
        (folder / name).parent.mkdir()
        with _hdf5(folder / name) as file:
            for identifier, label in labels.items():
                frames = frames_of(identifier, label)
                file[identifier] = frames
                if m == "a":
                    audio[identifier] = frames
    folds = iemocap_folds(list(labels))
    _write_targets(folder / "target", labels, folds)
    if audio:
        _write_audio_statistics(folder / "A/comparE_mean_std.h5", audio, folds)


def iemocap_folds(ids: list[str]) -> dict[int, dict[str, list[str]]]:
    """Return the ten folds of SPEC 5.1.

    Fold 2s-1 tests the man of session s and validates on the woman; fold 2s vice versa.
    """
    folds = {}
    for session in range(1, 6):
        inside = [name for name in ids if name.startswith(f"Ses{session:02d}")]
        train = [name for name in ids if not name.startswith(f"Ses{session:02d}")]
        man, woman = ([name for name in inside if name.split("_")[-1][0] == letter] for letter in "MF")
        folds[2 * session - 1] = {"train": train, "val": woman, "test": man}
        folds[2 * session] = {"train": train, "val": man, "test": woman}
    return folds


def iemocap_counts(utterances: int) -> np.ndarray:
    """Return utterances per speaker and class, (10, 4), with real shares, at least two each and ``utterances`` in
    total.

    Class sizes are strictly in the real order, because the reader identifies classes by it.
    """
    real = np.array(list(IEMOCAP_SPEAKERS.values()))
    spare = np.maximum(real / real.sum() * utterances - MIN_PER_CELL, 0)
    counts = MIN_PER_CELL + _apportion(spare, utterances - MIN_PER_CELL * real.size)
    largest_first = np.argsort(-real.sum(axis=0))
    while (np.diff(counts.sum(axis=0)[largest_first]) >= 0).any():
        position = int(np.argmax(np.diff(counts.sum(axis=0)[largest_first]) >= 0))
        larger, smaller = largest_first[position : position + 2]
        speaker = int(counts[:, smaller].argmax())
        counts[speaker, smaller] -= 1
        counts[speaker, larger] += 1
    return counts


def _iemocap_labels(settings: DemoSettings) -> dict[str, int]:
    """Return utterance id -> label, sorted by id, with the classes of each speaker shuffled."""
    labels = {}
    for name, counts in zip(IEMOCAP_SPEAKERS, iemocap_counts(settings.utterances), strict=True):
        shuffled = np.repeat(np.arange(len(counts)), counts)
        seeds.generator(*settings.names("labels", name)).shuffle(shuffled)
        session, letter = int(name[0]), name[1]
        for index, label in enumerate(shuffled.tolist()):
            # The wearer of the markers alternates, so the first letter is not that of the speaker.
            wearer = "FM"[index % 2]
            labels[f"Ses{session:02d}{wearer}_impro{index // 10 + 1:02d}_{letter}{index:03d}"] = label
    return dict(sorted(labels.items()))


FramesOf = Callable[[str, int], np.ndarray]


def _audio(settings: DemoSettings) -> FramesOf:
    """Raw audio: log-normal lengths, and dimensions of very different scales and offsets, as in openSMILE."""
    signal = settings.signal("a", len(IEMOCAP_CLASSES))
    random = seeds.generator(*settings.names("a", "scales"))
    scale = 10 ** random.uniform(-2, 3, settings.dims["a"])
    offset = 2 * scale * random.standard_normal(settings.dims["a"])

    def frames_of(identifier: str, label: int) -> np.ndarray:
        spread = seeds.generator(*settings.names("a", identifier, "length")).lognormal(0, 0.5)
        return offset + scale * signal.frames(identifier, label, max(2, round(settings.frames_of("a") * spread)))

    return frames_of


def _faces(settings: DemoSettings) -> FramesOf:
    """Face features, with zero rows for frames without a face and sometimes at the end."""
    signal = settings.signal("v", len(IEMOCAP_CLASSES))
    count = settings.frames_of("v")

    def frames_of(identifier: str, label: int) -> np.ndarray:
        frames: NDArray[np.float32] = (np.sqrt(0.3) * signal.frames(identifier, label, count)).astype(np.float32)
        random = seeds.generator(*settings.names("v", identifier, "faces"))
        seen = (random.random(count) > 0.1) & (np.arange(count) < random.integers(count // 2 + 1, count + 1))
        return frames * seen[:, None]

    return frames_of


def _tokens(settings: DemoSettings) -> FramesOf:
    """Token features, padded with zero rows to the stored length."""
    signal = settings.signal("l", len(IEMOCAP_CLASSES))
    count = settings.frames_of("l")

    def frames_of(identifier: str, label: int) -> np.ndarray:
        frames: NDArray[np.float32] = (np.sqrt(0.35) * signal.frames(identifier, label, count)).astype(np.float32)
        tokens = seeds.generator(*settings.names("l", identifier, "tokens")).integers(count // 2, count + 1)
        frames[tokens:] = 0
        return frames

    return frames_of


def _write_targets(folder: Path, labels: dict[str, int], folds: dict[int, dict[str, list[str]]]) -> None:
    for number, splits in folds.items():
        (folder / str(number)).mkdir(parents=True)
        for split, stem in zip(SPLITS, ("trn", "val", "tst"), strict=True):
            one_hot = np.eye(len(IEMOCAP_CLASSES))[[labels[name] for name in splits[split]]]
            names = np.array([[name.encode()] for name in splits[split]])
            np.save(folder / str(number) / f"{stem}_label.npy", one_hot, allow_pickle=False)
            np.save(folder / str(number) / f"{stem}_int2name.npy", names, allow_pickle=False)


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file in memory, because HDF5 reports a full disk unclearly and too late to clean up."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        yield file
    path.write_bytes(content.getbuffer())


def _write_audio_statistics(path: Path, audio: dict[str, np.ndarray], folds: dict[int, dict[str, list[str]]]) -> None:
    with _hdf5(path) as file:
        for number, splits in folds.items():
            frames = np.concatenate([audio[name] for name in splits["train"]])
            moments = Moments.of(frames, frames[0])
            file[f"{number}/mean"], file[f"{number}/std"] = moments.mean, moments.spread


# CMU-MOSEI ----------------------------------------------------------------------------------------------------------


def write_mosei(path: Path, settings: DemoSettings) -> None:
    """Write one pickle of three splits in MulT's layout (SPEC 5.2), left-padded, with defects (:func:`_damage`)."""
    splits = _mosei_splits(settings)
    signals = {m: settings.signal(m, 2) for m in settings.modalities}
    arrays = {
        m: {name: _mosei_features(m, signals[m], split, settings) for name, split in splits.items()} for m in signals
    }
    content = {}
    for name, split in splits.items():
        content[name] = {MOSEI_KEYS[m]: arrays[m][name] for m in ("v", "a", "l") if m in arrays} | {
            "labels": split["labels"].astype(np.float32)[:, None, None],
            "id": np.array(split["ids"])[:, None],
        }
    _damage(content)
    _scale_to_published(content)
    with path.open("wb") as stream:
        pickle.dump(content, stream, protocol=4)


def _mosei_splits(settings: DemoSettings) -> dict[str, dict[str, Any]]:
    """Return split -> ids and sentiments. Splits share no videos."""
    sizes = _apportion(np.array(list(MOSEI_SHARES.values())), settings.utterances)
    splits, videos = {}, 0
    for name, size in zip(MOSEI_SHARES, sizes.tolist(), strict=True):
        ids = [f"demo{videos + index // MOSEI_SEGMENTS:04d}[{index % MOSEI_SEGMENTS}]" for index in range(size)]
        videos += -(-size // MOSEI_SEGMENTS)
        random = seeds.generator(*settings.names("labels", name))
        positive = random.permutation(size) < round(MOSEI_POSITIVE * size)
        thirds = np.where(positive, random.integers(0, 10, size), -random.integers(1, 10, size))
        splits[name] = {"ids": ids, "labels": thirds / 3}
    return splits


def _mosei_features(m: str, signal: DemoSignal, split: dict[str, Any], settings: DemoSettings) -> np.ndarray:
    """Return (N, steps, dim) float32, left-padded with zeros. All modalities have the same number of words."""
    steps = settings.frames_of(m)
    # Dimensions differ in scale, so no single one represents all.
    scale = seeds.generator(*settings.names(m, "scales")).lognormal(0, 0.5, settings.dims[m])
    stored = np.zeros((len(split["ids"]), steps, settings.dims[m]), np.float32)
    for row, identifier, sentiment in zip(stored, split["ids"], split["labels"], strict=True):
        spread = seeds.generator(*settings.names(identifier, "words")).lognormal(-0.9, 0.5)
        words = int(np.clip(round(steps * spread), 2, steps))
        row[steps - words :] = scale * signal.frames(identifier, int(sentiment >= 0), words)
    return stored


def _scale_to_published(content: dict[str, dict[str, Any]]) -> None:
    """Scale each modality in place to the variance that the paper's T implies, over utterances that cleaning keeps."""
    for m, key in MOSEI_KEYS.items():
        if any(key not in split for split in content.values()):
            continue
        kept = np.concatenate([split[key][_kept(split)] for split in content.values()])
        variance = np.var(np.where(np.isfinite(kept), kept, 0), dtype=np.float64)
        for split in content.values():
            split[key] *= np.float32(np.sqrt(MOSEI_VARIANCE[m] / variance))


def _kept(split: dict[str, Any]) -> np.ndarray:
    """Return which utterances cleaning keeps: those with text, or all if there is no text."""
    text = split.get("text")
    return np.ones(len(split["id"]), bool) if text is None else text.any(axis=(1, 2))


def _damage(content: dict[str, dict[str, Any]]) -> None:
    """Add the defects of the real file in place: -inf in audio (every 25th sample), empty text (every 70th)."""
    for split in content.values():
        if "audio" in split:
            split["audio"][::25, -1, 0] = -np.inf
        if "text" in split:
            split["text"][35::70] = 0


# Both ---------------------------------------------------------------------------------------------------------------


def _apportion(weights: np.ndarray, total: int) -> NDArray[np.int64]:
    """Return integers proportional to ``weights``, of any shape, with the sum ``total`` (largest remainders)."""
    exact = weights / weights.sum() * total
    counts: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    remainders = (exact - counts).ravel()
    largest = np.argsort(-remainders, kind="stable")[: total - counts.sum()]
    counts.ravel()[largest] += 1
    return counts


def _whole(value: object, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum
