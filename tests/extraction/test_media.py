"""Decoding: samples and pictures at given times, and bad files of every sort."""

from __future__ import annotations

import os

import numpy as np
import pytest
from media_files import RATE, number_of, numbered, tone, write_film, write_wav

from nmer.extraction.chunk import Work, extract_items
from nmer.extraction.media import Deadline, PictureStream, cut_audio, decode_audio
from nmer.extraction.registry import Extracted, UnusableError, Utterance


@pytest.fixture(autouse=True)
def _packages(needs):
    needs("av")


def hear(path, start=None, end=None):
    return cut_audio(*decode_audio(path, Deadline(60)), start, end)


def see(path, start=None, end=None, fps=10.0, side=""):
    stream = PictureStream(path)
    try:
        return list(stream.pictures(start, end, fps, side, float("inf"), Deadline(60)))
    finally:
        stream.close()


def state_of(path, reads="audio", start=None, end=None):
    """Return the state that a job gives an utterance of a file."""

    def extract(segment, *, fps=10.0):
        rows = len(segment.audio) if reads == "audio" else len(list(segment.pictures))
        if not rows:
            raise UnusableError("too_short", "nothing")
        return Extracted(np.ones((rows, 1), np.float32), {})

    work = Work(extract, {"fps": 10.0}, (reads,), {}, path.parent, path.parent / "mine.py")
    item = Utterance("u", "x", audio=path.name, video=path.name, start=start, end=end)
    return extract_items([item], work, path.parent / "cache.h5")[0].state


def test_audio_at_16_khz_is_not_resampled(tmp_path):
    samples = np.round(tone() * 32767) / 32768
    found, counts, state = hear(write_wav(tmp_path / "x.wav", tone()))
    assert (state, counts) == ("ok", {"cut": 0})
    np.testing.assert_allclose(found, samples, atol=2 / 32768)


def test_a_span_starts_at_the_rounded_sample(tmp_path):
    path = write_wav(tmp_path / "x.wav", tone(2.0))
    whole = hear(path)[0]
    np.testing.assert_array_equal(hear(path, 0.50003, 1.25)[0], whole[8000:20000])


@pytest.mark.parametrize(("rate", "channels", "width"), [(8000, 1, 2), (44100, 2, 2), (48000, 6, 2), (16000, 1, 1)])
def test_other_rates_channels_and_widths_give_the_same_tone(tmp_path, rate, channels, width):
    sound = np.repeat(tone(1.0, rate=rate)[:, None], channels, axis=1)
    found = hear(write_wav(tmp_path / "x.wav", sound, rate, width))[0]
    assert len(found) == pytest.approx(RATE, abs=32)
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() == pytest.approx(200, abs=2)
    assert np.abs(found).max() == pytest.approx(0.5, abs=0.03)


def test_float_and_32_bit_audio_is_read(tmp_path):
    from scipy.io import wavfile

    wavfile.write(tmp_path / "float.wav", RATE, tone().astype(np.float32))
    np.testing.assert_allclose(hear(tmp_path / "float.wav")[0], tone(), atol=1e-6)
    wavfile.write(tmp_path / "wide.wav", RATE, (tone() * (2**31 - 1)).astype(np.int32))
    np.testing.assert_allclose(hear(tmp_path / "wide.wav")[0], tone(), atol=1e-4)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_picture_k_is_the_last_one_at_its_time(tmp_path, suffix):
    path = write_film(tmp_path / f"x{suffix}", numbered(30), rate=30)
    # 10 of 30 per second: the middles of the intervals, at 0.05, 0.15, … seconds, show pictures 1, 4, 7, …
    assert [number_of(picture, 30) for picture in see(path)] == list(range(1, 30, 3))
    assert [number_of(picture, 30) for picture in see(path, 0.5, 0.8)] == [16, 19, 22]
    assert len(see(path, 0.2, 0.25)) == 1


def test_overlapping_spans_give_the_same_pictures_together_and_individually(tmp_path):
    path = write_film(tmp_path / "x.avi", numbered(40), rate=20)
    spans = [(0.0, 1.0), (0.4, 1.3), (0.5, 0.7), (1.2, 2.0)]
    alone = [[number_of(picture, 40) for picture in see(path, *span)] for span in spans]
    stream = PictureStream(path)
    together = []
    for index, (start, end) in enumerate(spans):
        following = spans[index + 1][0] if index + 1 < len(spans) else float("inf")
        pictures = stream.pictures(start, end, 10.0, "", following, Deadline(60))
        together.append([number_of(picture, 40) for picture in pictures])
    stream.close()
    assert together == alone


def test_a_half_of_the_picture_is_kept(tmp_path):
    pictures = numbered(10, width=98)
    pictures[:, :, :48] = 0
    path = write_film(tmp_path / "x.avi", pictures)
    assert see(path, side="left")[5].mean() < 15 < see(path, side="right")[5].mean()
    assert see(path, side="left")[0].shape == (64, 49, 3)


def test_times_are_relative_to_the_start_of_a_transport_stream(tmp_path):
    path = write_film(tmp_path / "x.ts", numbered(20), codec="mpeg2video", rate=25)
    assert [number_of(picture, 20) for picture in see(path, 0.0, 0.3)] == [1, 3, 6]


@pytest.mark.parametrize(
    ("start", "end", "state"),
    [
        (0.5, 1.03, "ok"),  # cut
        (0.2, 31.0, "bad_span"),
        (5.0, 6.0, "bad_span"),
        (0.7, 0.7, "bad_span"),
        (0.7, 0.2, "bad_span"),
        (-0.1, 0.5, "bad_span"),
        (float("nan"), 0.5, "bad_span"),
        (0.2, float("nan"), "bad_span"),
    ],
)
@pytest.mark.parametrize("reads", ["audio", "video"])
def test_a_span_outside_its_file_is_unusable(tmp_path, reads, start, end, state):
    write_film(tmp_path / "x.avi", numbered(10), sound=tone())
    assert state_of(tmp_path / "x.avi", reads, start, end) == state


def _half(path, keep=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def bad_files(folder):
    """Return name -> (path, modality to read, expected state)."""
    silent = write_film(folder / "silent.mp4", numbered(10))
    deaf = write_wav(folder / "sound.wav", tone())
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no film\n" * 100)
    (folder / "folder.mp4").mkdir()
    (folder / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsound.wav\n#EXT-X-ENDLIST\n")
    (folder / "concat.mp4").write_text("ffconcat version 1.0\nfile sound.wav\n")
    half = write_film(folder / "half.mp4", numbered(40))
    _half(half)
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 96, 3), np.uint8)
    cut = write_film(folder / "cut.avi", noise)
    _half(cut, 0.2)
    write_wav(folder / "none.wav", np.zeros(0))
    os.mkfifo(folder / "pipe.wav")
    from scipy.io import wavfile

    wavfile.write(folder / "nan.wav", RATE, np.full(RATE, np.nan, np.float32))
    return {
        "film without sound": (silent, "audio", "unreadable"),
        "sound file named as film": (deaf, "video", "unreadable"),
        "empty": (folder / "empty.mp4", "video", "unreadable"),
        "text": (folder / "text.mp4", "video", "unreadable"),
        "text file named as sound": (folder / "text.mp4", "audio", "unreadable"),
        "folder": (folder / "folder.mp4", "video", "missing_file"),
        "playlist": (folder / "list.mp4", "audio", "unreadable"),
        "list of files": (folder / "concat.mp4", "audio", "unreadable"),
        "first half of an mp4": (half, "video", "unreadable"),
        "cut avi": (cut, "video", "unreadable"),
        "no samples": (folder / "none.wav", "audio", "too_short"),
        "NaN": (folder / "nan.wav", "audio", "unreadable"),
        "pipe": (folder / "pipe.wav", "audio", "missing_file"),
        "absent": (folder / "absent.wav", "audio", "missing_file"),
    }


def test_bad_files_get_a_state_and_one_line_each(tmp_path, capsys):
    cases = bad_files(tmp_path)
    found = {name: state_of(path, reads) for name, (path, reads, _state) in cases.items()}
    assert found == {name: state for name, (_path, _reads, state) in cases.items()}
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("u: ")]
    assert len(lines) == len(cases)
    for line, (path, _reads, state) in zip(lines, cases.values(), strict=True):
        assert line.startswith(f"u: {state}: {path.name}: ")


def test_damaged_bytes_do_not_make_a_video_unusable(tmp_path):
    path = write_film(tmp_path / "x.avi", numbered(40))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path.write_bytes(bytes(content))
    assert state_of(path, "video") in ("ok", "partly")


def test_videos_of_one_picture_and_of_a_thousand_per_second_are_read(tmp_path):
    assert len(see(write_film(tmp_path / "one.avi", numbered(1)))) == 1
    fast = write_film(tmp_path / "fast.mkv", numbered(200), rate=1000, codec="libx264")
    assert [number_of(picture, 200) for picture in see(fast)] == pytest.approx([50, 150], abs=3)


def test_a_video_above_the_size_limit_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("nmer.extraction.media.LARGEST_PICTURE", 90)
    assert state_of(write_film(tmp_path / "x.avi", numbered(5)), "video") == "unreadable"


def test_an_utterance_that_exceeds_the_time_limit_is_tried_again_later(tmp_path, monkeypatch):
    path = write_film(tmp_path / "x.avi", numbered(10))
    monkeypatch.setattr("nmer.extraction.chunk.UTTERANCE_SECONDS", -1.0)
    assert state_of(path, "video") == "timeout"
    monkeypatch.undo()
    assert state_of(path, "video") == "ok"


def test_a_video_with_a_rotation_tag_is_rotated(tmp_path):
    pictures = np.zeros((10, 64, 96, 3), np.uint8)
    pictures[:, :32] = 230  # the upper half is bright
    path = write_film(tmp_path / "x.mp4", pictures)
    one, content = (1 << 16).to_bytes(4, "big"), path.read_bytes()
    zero, end = bytes(4), (1 << 30).to_bytes(4, "big")
    upright = one + 3 * zero + one + 3 * zero + end
    # Rotated clockwise by a quarter turn, as phones do: x' = -y, y' = x.
    turned = zero + one + zero + (-(1 << 16)).to_bytes(4, "big", signed=True) + 4 * zero + end
    track = content.index(b"tkhd")
    assert upright in content[track:]
    path.write_bytes(content[:track] + content[track:].replace(upright, turned, 1))
    picture = see(path)[5]
    assert picture.shape == (96, 64, 3)
    assert picture[:, 40:].mean() > 200 > 30 > picture[:, :24].mean()
