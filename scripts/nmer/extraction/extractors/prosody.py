"""Free acoustic features: cepstral coefficients, pitch, voicing, energy and spectral shape, with their slopes.

Needs NumPy and SciPy only. Sources: mel-frequency cepstral coefficients, Davis and Mermelstein 1980, on the mel scale
of O'Shaughnessy 1987; pitch by the normalised autocorrelation of Boersma 1993.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, irfft, rfft

from nmer.extraction.padding import padded
from nmer.extraction.registry import SAMPLE_RATE, Extracted, PadTo, Segment, UnusableError, extractor
from nmer.extraction.resampling import downsampled
from nmer.options import Count

WINDOW = SAMPLE_RATE * 25 // 1000
HOP = SAMPLE_RATE * 10 // 1000
FFT = 512
MELS = 26
COEFFICIENTS = 20
PITCH_WINDOW = SAMPLE_RATE * 40 // 1000
LOWEST_PITCH, HIGHEST_PITCH = 60.0, 400.0
HIGHEST_HARMONIC = 1000.0
"""Cut-off in Hz of the low-pass filter before the pitch search."""

VOICED_FROM = 0.5
"""Smallest autocorrelation peak of a voiced frame."""

NEARLY_HIGHEST = 0.85
"""Share of the highest peak that a peak at a shorter lag must reach to be the period."""

SILENCE = 1e-10
"""Lower bound of power, -100 dB."""


@extractor(
    "prosody",
    modality="a",
    needs=("audio",),
    licence="free",
    packages=("av",),
)
def prosody(segment: Segment, *, downsample: Count = 1, pad_to: PadTo = 0) -> Extracted:
    """Return 25 features and their slopes every 10 ms: 50 at 100 Hz.

    In order: 20 MFCC, pitch in Hz (0 = unvoiced), height of its autocorrelation peak, log energy, zero-crossing rate,
    spectral centroid in Hz; then the slope of each over five frames. downsample: factor of the down-sampling after a
    low-pass filter. pad_to: number of frames to cut or zero-pad to, 0 = no change. Counts ``frames`` and ``voiced``.
    Raises UnusableError for audio shorter than one window of 25 ms.
    """
    audio = segment.audio.astype(np.float64)
    if len(audio) < WINDOW:
        raise UnusableError("too_short", f"{len(audio) / SAMPLE_RATE:.3f} s of audio; a window is 0.025 s")
    frames = _frames(audio, WINDOW, 1 + (len(audio) - WINDOW) // HOP)
    power = np.abs(rfft(frames * np.hamming(WINDOW), FFT)) ** 2 / FFT
    mels = np.log(np.maximum(power @ _mel_filters().T, SILENCE))
    cepstrum = dct(mels, type=2, norm="ortho")[:, :COEFFICIENTS]
    pitch, height = _pitch(audio, len(frames))
    energy = np.log(np.maximum((frames**2).mean(axis=1), SILENCE))
    crossings = (np.diff(np.signbit(frames), axis=1) != 0).mean(axis=1)
    hertz = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    centroid = power @ hertz / np.maximum(power.sum(axis=1), SILENCE)
    static = np.column_stack([cepstrum, pitch, height, energy, crossings, centroid])
    values = downsampled(np.hstack([static, _slopes(static)]), downsample)
    return Extracted(
        padded(values.astype(np.float32), pad_to), {"frames": len(static), "voiced": int((pitch > 0).sum())}
    )


def _frames(audio: NDArray[np.float64], length: int, count: int) -> NDArray[np.float64]:
    """Return (count, length) frames, one hop apart; zeros after the end."""
    needed = (count - 1) * HOP + length
    extended = np.pad(audio, (0, max(0, needed - len(audio))))
    return np.lib.stride_tricks.sliding_window_view(extended, length)[::HOP][:count]


@cache
def _mel_filters() -> NDArray[np.float64]:
    """Return (MELS, FFT / 2 + 1) triangles of height 1, equally wide in mel from 0 Hz to half the sample rate."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), MELS + 2) / 2595) - 1)
    hertz = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles: NDArray[np.float64] = np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre))
    return triangles.clip(0)


def _pitch(audio: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pitch in Hz (0 where unvoiced) and the height of its peak in 0..1, for every frame.

    The autocorrelation of a windowed frame is divided by that of the window, which removes its decay with the lag.
    """
    window = np.hanning(PITCH_WINDOW)
    size = 4 * FFT  # at least two windows, else the correlation wraps around
    frames = _frames(audio, PITCH_WINDOW, count)
    centred = (frames - frames.mean(axis=1, keepdims=True)) * window
    # Keep the first harmonics only: peaks are then wider than a sample.
    low = np.arange(size // 2 + 1) * SAMPLE_RATE / size <= HIGHEST_HARMONIC
    correlation = irfft(np.abs(rfft(centred, size)) ** 2 * low)[:, : PITCH_WINDOW // 2 + 1]
    of_window = irfft(np.abs(rfft(window, size)) ** 2)[: PITCH_WINDOW // 2 + 1]
    normalised = correlation / np.maximum(correlation[:, :1], SILENCE) / (of_window / of_window[0])
    shortest, longest = int(SAMPLE_RATE / HIGHEST_PITCH), int(SAMPLE_RATE / LOWEST_PITCH)
    searched = normalised[:, shortest : longest + 1]
    # Multiples of the period correlate too: take the shortest lag whose peak is nearly as high as the highest.
    inner = searched[:, 1:-1]
    peaks = (inner >= searched[:, :-2]) & (inner >= searched[:, 2:])
    chosen = peaks & (inner >= NEARLY_HIGHEST * inner.max(axis=1, keepdims=True))
    best = np.where(chosen.any(axis=1), chosen.argmax(axis=1) + 1, searched.argmax(axis=1))
    height = searched[np.arange(count), best].clip(0, 1)
    voiced = (height >= VOICED_FROM) & (correlation[:, 0] > SILENCE)
    return np.where(voiced, SAMPLE_RATE / (best + shortest), 0.0), height


def _slopes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the regression slope over five frames, per frame; the ends repeat the first and last frames."""
    extended = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    count = len(values)
    weighted = sum(n * (extended[2 + n :][:count] - extended[2 - n :][:count]) for n in (1, 2))
    slopes: NDArray[np.float64] = np.asarray(weighted / 10)
    return slopes
