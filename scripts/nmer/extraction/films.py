"""Generated films of a talking face: a voice, a moving portrait, and word vectors for the spoken words.

Every modality depends on the class: the voice by rate, pitch and loudness, the words by their choice, the face by blur
and contrast, because extractors normalise position and size. The portrait is NASA's of Eileen Collins (public domain),
from the wheel ``scikit-image``.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
import wave
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from scipy.signal import lfilter, resample_poly

from nmer.errors import DataError
from nmer.extraction.generated import NEUTRAL_WORDS, PACKAGES, SYNTHESISER, WORDS, MediaSettings, generated_utterances
from nmer.extraction.packages import weights_file
from nmer.extraction.registry import SAMPLE_RATE, Utterance

TABLE, VECTORS = "utterances.csv", "vectors.txt"
DIMENSIONS = 50
"""Width of the word vectors."""

RATE = {"calm": 0.8, "happy": 1.1, "angry": 1.3}
PITCH = {"calm": 0.85, "happy": 1.3, "angry": 1.05}
LOUDNESS = {"calm": 0.5, "happy": 0.75, "angry": 1.0}
SPREAD = 0.12
"""Relative standard deviation of rate, pitch and loudness. It makes classes overlap."""

BLUR = {"calm": 2.2, "happy": 0.6, "angry": 0.6}
CONTRAST = {"calm": 1.0, "happy": 0.8, "angry": 1.5}
WIDTH, HEIGHT, FRAMES_PER_SECOND = 240, 320, 10
FACE = (225.0, 140.0)
"""Position of the face in the portrait, x and y in pixels."""

CROP_HEIGHT = 300.0
FORMANTS = ((700.0, 130.0), (1220.0, 170.0), (2600.0, 250.0))
"""Resonances of the voice and their widths in Hz."""


def write_media(folder: Path, settings: MediaSettings, advance: Callable[[int], object] = lambda _done: None) -> None:
    """Write clips, table and word vectors into a new ``folder``. The caller makes the write atomic.

    Raises DataError if the synthesiser fails.
    """
    folder.mkdir(parents=True)
    utterances = generated_utterances(settings)
    rows = []
    for utterance in utterances:
        write_film(folder / utterance.video, _pictures(utterance, settings), _voice(utterance, settings))
        rows.append([utterance.id, utterance.label, utterance.speaker, utterance.video, utterance.text])
        advance(1)
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([["id", "label", "speaker", "video", "text"], *rows])
    (folder / VECTORS).write_text(_vectors(settings), encoding="utf-8")


def _vectors(settings: MediaSettings) -> str:
    """Return word vectors in GloVe's format. The words of a class cluster around one centre."""
    lines = []
    for label, words in {"": [*NEUTRAL_WORDS, "."], **WORDS}.items():
        centre = settings.random("vectors", label).standard_normal(DIMENSIONS) * bool(label)
        for word in words:
            vector = 0.7 * centre + settings.random("vectors", label, word).standard_normal(DIMENSIONS)
            lines.append(" ".join([word, *(f"{number:.5f}" for number in vector)]))
    return "\n".join(lines) + "\n"


# Sound


def _voice(utterance: Utterance, settings: MediaSettings) -> NDArray[np.float32]:
    """Return samples (n,) in -1..1 at 16 kHz."""
    random = settings.random(utterance.id, "voice")
    rate, pitch, loudness = (
        of_class[utterance.label] * np.exp(SPREAD * random.standard_normal()) for of_class in (RATE, PITCH, LOUDNESS)
    )
    speaker = int(utterance.speaker.removeprefix("speaker"))
    if settings.voice == "espeak":
        return _espeak(utterance, speaker, rate, pitch, loudness)
    speaker_pitch = 100 + 15.0 * (speaker % 7)
    return numpy_voice(settings.seconds, speaker_pitch * pitch, 3.0 * rate, loudness, random)


def numpy_voice(
    seconds: float, pitch: float, syllables: float, loudness: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Synthesise a voice without words: pulses through three resonances, in syllables, over faint noise.

    pitch: in Hz. syllables: per second. loudness: largest value, 0..1. Returns samples (n,) in -1..1 at 16 kHz.
    """
    times = np.arange(round(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    glide = pitch * (1 + 0.08 * np.sin(2 * np.pi * 0.7 * times + random.uniform(0, 2 * np.pi)))
    phase = np.cumsum(glide) / SAMPLE_RATE
    signal = np.diff(np.floor(phase), prepend=0.0) + 0.002 * random.standard_normal(len(times))
    for frequency, width in FORMANTS:
        radius = np.exp(-np.pi * width / SAMPLE_RATE)
        poles = [1, -2 * radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE), radius**2]
        signal = lfilter([1 - radius], poles, signal)
    signal = signal * np.clip(1.5 * np.sin(np.pi * syllables * times + random.uniform(0, np.pi)) ** 2 - 0.2, 0, 1)
    scaled = loudness * 0.8 * signal / np.abs(signal).max() + 0.001 * random.standard_normal(len(times))
    samples: NDArray[np.float32] = scaled.astype(np.float32)
    return samples


def _espeak(utterance: Utterance, speaker: int, rate: float, pitch: float, loudness: float) -> NDArray[np.float32]:
    variant = ("m1", "f1", "m3", "f2", "m5", "f3", "m7", "f4")[speaker % 8]
    numbers = {"-s": rate * 160, "-p": min(99.0, pitch * 45), "-a": loudness * 120}
    options = [word for option, number in numbers.items() for word in (option, str(round(number)))]
    command = [SYNTHESISER, "-v", f"en-us+{variant}", *options, "--stdout", "--stdin"]
    finished = subprocess.run(command, input=utterance.text.encode(), capture_output=True, check=False)
    if finished.returncode or not finished.stdout:
        problem = finished.stderr.decode(errors="replace").strip() or f"exit status {finished.returncode}"
        raise DataError(f"{SYNTHESISER} failed ({problem}). Set raw.generate.voice to numpy, which does not need it.")
    # The header of piped output does not contain the length: everything after it is sound.
    sound = finished.stdout
    start = re.search(rb"data....", sound, re.DOTALL)
    with wave.open(io.BytesIO(sound)) as header:
        voice_rate = header.getframerate()
    samples = np.frombuffer(sound[start.end() if start else 44 :], "<i2").astype(np.float64) / 32768
    resampled: NDArray[np.float64] = resample_poly(samples, SAMPLE_RATE, voice_rate)
    return resampled.astype(np.float32)


# Pictures


@cache
def _portrait() -> Image.Image:
    whole = Image.open(weights_file("skimage", PACKAGES["skimage"])).convert("RGB")
    return whole.crop((0, 0, 460, 350))  # head and shoulders


def _pictures(utterance: Utterance, settings: MediaSettings) -> Callable[[float], NDArray[np.uint8]]:
    """Return a function from seconds to the picture (height, width, 3) at that time: a slowly moving face."""
    random = settings.random(utterance.id, "face")
    phases = random.uniform(0, 2 * np.pi, 3)
    blur = float(BLUR[utterance.label] * np.exp(0.25 * random.standard_normal()))
    contrast = float(CONTRAST[utterance.label] * np.exp(0.08 * random.standard_normal()))

    portrait = ImageEnhance.Contrast(_portrait().filter(ImageFilter.GaussianBlur(blur))).enhance(contrast)

    def picture(second: float) -> NDArray[np.uint8]:
        sway = np.sin(2 * np.pi * np.array([0.31, 0.23, 0.17]) * second + phases)
        height = CROP_HEIGHT * (1 + 0.1 * sway[2])
        width = height * WIDTH / HEIGHT
        x, y = FACE[0] + 12 * sway[0], FACE[1] + 8 * sway[1]
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return np.asarray(portrait.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=_within(box)))

    return picture


def _within(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Move the box into the portrait."""
    left, top = max(0.0, box[0]), max(0.0, box[1])
    return left, top, left + box[2] - box[0], top + box[3] - box[1]


def write_film(
    path: Path,
    picture: Callable[[float], NDArray[np.uint8]] | None,
    sound: NDArray[np.float32] | None,
    fps: int = FRAMES_PER_SECOND,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
) -> None:
    """Write a film with PyAV whose pictures last as long as its sound.

    picture: function from seconds to a picture, or None for a file without pictures. sound: (n,) at 16 kHz, or None.
    """
    import av

    seconds = 1.0 if sound is None else len(sound) / SAMPLE_RATE
    with av.open(str(path), "w") as container:
        if picture is not None:
            height, width = picture(0.0).shape[:2]
            video = container.add_stream(video_codec, rate=fps)
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            video.codec_context.thread_count = 1
            if video_codec == "libx264":
                video.options = {"preset": "ultrafast"}
        if sound is not None:
            audio = container.add_stream(audio_codec, rate=SAMPLE_RATE, layout="mono")
        if picture is not None:
            for number in range(max(1, round(seconds * fps))):
                frame = av.VideoFrame.from_ndarray(picture(number / fps), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if sound is not None:
            for start in range(0, len(sound), 1024):
                block = (sound[start : start + 1024].clip(-1, 1) * 32767).astype(np.int16)[None]
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.pts = SAMPLE_RATE, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
