"""Media files written by tests."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

RATE = 16000


def tone(seconds=1.0, hertz=200.0, rate=RATE, height=0.5):
    """Return samples (n,) of a sine."""
    return height * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def write_wav(path: Path, samples, rate=RATE, width=2) -> Path:
    """Write PCM with 8 or 16 bits. samples: (n,) or (n, channels) in -1..1."""
    samples = np.asarray(samples)
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    whole = {1: (samples * 127 + 128).astype("u1"), 2: (samples * 32767).astype("<i2")}[width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())
    return path


def write_film(path: Path, pictures, rate=10, codec="mpeg4", sound=None) -> Path:
    """Write a video. pictures: (n, height, width, 3) uint8, empty = audio only. sound: (n,) at 16 kHz."""
    import av

    with av.open(str(path), "w") as container:
        if len(pictures):
            video = container.add_stream(codec, rate=rate)
            video.height, video.width, video.pix_fmt = pictures[0].shape[0], pictures[0].shape[1], "yuv420p"
        if sound is not None:
            audio = container.add_stream(
                "pcm_s16le" if path.suffix in (".avi", ".mkv") else "aac", rate=RATE, layout="mono"
            )
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if len(pictures):
            container.mux(video.encode(None))
        for start in range(0, 0 if sound is None else len(sound), 1024):
            block = (np.asarray(sound[start : start + 1024]) * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(audio.encode(frame))
        if sound is not None:
            container.mux(audio.encode(None))
    return path


def numbered(count, height=64, width=96):
    """Return pictures (count, height, width, 3), each of one grey that gives its number."""
    greys = np.linspace(20, 230, count).round().astype(np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (count, height, width, 3)).copy()


def number_of(picture, count):
    """Return which of ``count`` numbered pictures a picture is."""
    return int(np.abs(np.linspace(20, 230, count) - float(picture.mean())).argmin())
