"""openSMILE's features equal the output of its own command, down-sampled as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media_files import RATE, write_wav
from scipy.signal import resample_poly

from nmer.extraction.films import numpy_voice
from nmer.extraction.media import Deadline, decode_audio
from nmer.extraction.registry import Segment, UnusableError, extractors


@pytest.fixture(autouse=True)
def _packages(needs):
    needs("av", "opensmile")


@pytest.fixture(scope="module")
def voice():
    return numpy_voice(3.0, 120.0, 3.0, 0.8, np.random.default_rng(0))


def segment_of(path):
    return Segment("u", audio=decode_audio(path, Deadline(60))[0])


def command_output(wav: Path, folder: Path) -> np.ndarray:
    """Return the (rows, 130) of `SMILExtract -C ComParE_2016.conf -I wav -lld_csv_output … -lld_de_csv_output …`.

    The command is a thin wrapper of the library and configuration in the wheel.
    """
    import opensmile
    from opensmile.core.lib import OpenSMILE

    shipped = Path(opensmile.__file__).parent / "core" / "config"
    smile = OpenSMILE()
    smile.initialize(
        str(shipped / "compare" / "ComParE_2016.conf"),
        {
            "source": str(shipped / "shared" / "standard_wave_input.conf.inc"),
            "sink": str(shipped / "shared" / "standard_data_output.conf.inc"),
            "filename": str(wav),
            "lld_csv_output": str(folder / "lld.csv"),
            "lld_de_csv_output": str(folder / "de.csv"),
        },
    )
    smile.run()
    smile.free()
    parts = [np.loadtxt(folder / name, delimiter=";", skiprows=1)[:, 1:] for name in ("lld.csv", "de.csv")]
    return np.hstack([part[: len(parts[0])] for part in parts])


def test_compare_equals_the_output_of_the_command(tmp_path, voice):
    wav = write_wav(tmp_path / "voice.wav", voice)
    expected = command_output(wav, tmp_path)
    found = extractors.load("opensmile")(segment_of(wav), downsample=1).values
    assert found.shape == expected.shape == (len(expected), 130)
    # The command writes about seven digits.
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def test_features_are_down_sampled_as_published(tmp_path, voice):
    segment = Segment("u", audio=voice)
    whole = extractors.load("opensmile")(segment, downsample=1).values.astype(np.float64)
    thinned = extractors.load("opensmile")(segment).values
    assert thinned.shape == (-(-len(whole) // 10), 130)
    np.testing.assert_allclose(thinned, resample_poly(whole, 1, 10, axis=0), rtol=1e-5, atol=1e-5)


def test_egemaps_has_25_features(voice):
    assert extractors.load("opensmile")(Segment("u", audio=voice), set="eGeMAPSv02").values.shape[1] == 25


@pytest.mark.parametrize("seconds", [0, 0.05, 0.1])
def test_audio_of_at_most_ten_rows_is_unusable(seconds):
    with pytest.raises(UnusableError) as raised:
        extractors.load("opensmile")(Segment("u", audio=np.zeros(round(RATE * seconds), np.float32)))
    assert raised.value.state == "too_short"


def test_full_scale_does_not_wrap_around(voice):
    loud = np.sign(voice).astype(np.float32)
    one = extractors.load("opensmile")(Segment("u", audio=loud)).values
    other = extractors.load("opensmile")(Segment("u", audio=loud * np.float32(0.9999))).values
    np.testing.assert_allclose(one, other, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("name", ["opensmile", "prosody"])
def test_extraction_is_deterministic(name, voice):
    extract, segment = extractors.load(name), Segment("u", audio=voice)
    assert extract(segment).values.tobytes() == extract(segment).values.tobytes()
