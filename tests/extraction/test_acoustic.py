"""Free acoustic features, compared with their known values on synthetic signals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import resample_poly

from nmer.extraction.registry import SAMPLE_RATE, Segment, UnusableError, extractors
from nmer.extraction.resampling import downsampled

prosody = extractors.load("prosody")
PITCH, VOICING, ENERGY, CROSSINGS, CENTROID = range(20, 25)


def features(signal, **options):
    return prosody(Segment("u", audio=np.asarray(signal, np.float32)), **options).values


def times(seconds):
    return np.arange(round(SAMPLE_RATE * seconds)) / SAMPLE_RATE


@pytest.mark.parametrize("hertz", [80, 150, 330])
def test_pitch_matches_a_pulse_train(hertz):
    pulses = np.diff(np.floor(times(1.0) * hertz), prepend=0.0)
    pitch = features(pulses)[5:-5, PITCH]
    assert np.abs(pitch / hertz - 1).max() < 0.02


def test_noise_and_silence_are_unvoiced():
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE) * 0.1
    assert (features(noise)[:, PITCH] > 0).mean() < 0.1
    assert (features(np.zeros(SAMPLE_RATE))[:, PITCH] == 0).all()
    assert np.isfinite(features(np.zeros(SAMPLE_RATE))).all()


def test_energy_crossings_and_centroid_of_a_tone():
    tone = 0.5 * np.sin(2 * np.pi * 1000 * times(1.0))
    values = features(tone)
    assert values[:, ENERGY] == pytest.approx(np.log(0.125), abs=0.02)
    assert values[:, CROSSINGS] == pytest.approx(2 * 1000 / SAMPLE_RATE, abs=0.01)
    assert values[:, CENTROID] == pytest.approx(1000, rel=0.03)


def test_slopes_match_a_regression_over_five_frames():
    values = features(np.random.default_rng(1).standard_normal(8000) * np.linspace(0.01, 1, 8000)).astype(float)
    static, slopes = values[:, :25], values[:, 25:]
    fitted = [np.polyfit([-2, -1, 0, 1, 2], static[row - 2 : row + 3], 1)[0] for row in range(2, len(static) - 2)]
    np.testing.assert_allclose(slopes[2:-2], fitted, rtol=1e-3, atol=1e-3)


def test_a_louder_copy_differs_in_the_first_coefficient_and_energy_only():
    noise = np.random.default_rng(2).standard_normal(SAMPLE_RATE) * 0.05
    one, other = features(noise), features(2 * noise)
    assert np.abs(other - one)[:, 1:20].max() < 1e-3
    assert other[:, ENERGY] - one[:, ENERGY] == pytest.approx(np.log(4), abs=1e-4)


def test_frames_are_one_hop_apart_and_down_sampled_like_the_published_features():
    assert len(features(times(1.0))) == 1 + (16000 - 400) // 160
    values = np.random.default_rng(3).standard_normal((458, 4))
    thinned = downsampled(values, 10)
    assert thinned.shape == (46, 4)
    np.testing.assert_allclose(thinned[:, 2], resample_poly(values[:, 2], 1, 10), rtol=1e-12)
    # A constant keeps its value except near the ends, which are padded with zeros.
    assert downsampled(np.ones((500, 1)), 10)[10:-10] == pytest.approx(1, abs=1e-3)


def test_audio_shorter_than_a_window_is_unusable():
    with pytest.raises(UnusableError) as raised:
        features(np.zeros(399))
    assert raised.value.state == "too_short"
