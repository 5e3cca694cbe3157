"""The job of one chunk: states, cache and validation, with small extractors."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nmer.errors import ConfigError, DataError
from nmer.extraction import chunk as chunk_module
from nmer.extraction.chunk import Work, extract_items
from nmer.extraction.features_file import read_entries, write_entries
from nmer.extraction.lists import MediaDigests, chunk_number
from nmer.extraction.registry import Extracted, UnusableError, Utterance


def lengths(segment, *, scale=1.0):
    """Return one frame per word: its number of letters."""
    if not segment.text:
        raise UnusableError("no_text", "the text contains no words")
    rows = [[scale * len(word)] for word in segment.text.split()]
    return Extracted(np.array(rows, np.float32), {"words": len(rows)})


@pytest.fixture
def work(tmp_path):
    calls = []

    def extract(segment, **options):
        calls.append(segment.id)
        return lengths(segment, **options)

    made = Work(extract, {"scale": 1.0}, ("text",), {"code": "1"}, tmp_path, tmp_path / "mine.py")
    return SimpleNamespace(work=made, calls=calls, cache=tmp_path / "cache.h5")


ITEMS = [Utterance("u1", "x", text="one three"), Utterance("u2", "y", text=""), Utterance("u3", "x", text="two")]


def test_an_unusable_utterance_gets_a_state_and_does_not_stop_the_job(work, capsys):
    one, two, three = extract_items(ITEMS, work.work, work.cache)
    assert one.values.tolist() == [[3], [5]]
    assert (two.state, two.values.shape) == ("no_text", (0, 0))
    assert (three.state, three.counts) == ("ok", {"words": 1})
    assert capsys.readouterr().err == "u2: no_text: the text contains no words\n"


def test_a_second_run_extracts_changed_utterances_only(work, capsys):
    first = extract_items(ITEMS, work.work, work.cache)
    work.calls.clear()
    changed = [*ITEMS[:2], replace(ITEMS[2], text="four more")]
    second = extract_items(changed, work.work, work.cache)
    assert work.calls == ["u3"]
    assert capsys.readouterr().err.endswith("u2: no_text: as before\n")
    assert [entry.key for entry in second[:2]] == [entry.key for entry in first[:2]]
    # The cache drops entries that no utterance needs any more.
    assert len(read_entries(work.cache)[0]) == 3


def test_features_do_not_depend_on_labels(work):
    extract_items(ITEMS, work.work, work.cache)
    work.calls.clear()
    extract_items([replace(item, label="z", speaker="s") for item in ITEMS], work.work, work.cache)
    assert work.calls == []


def test_changed_options_or_code_extract_everything_again(work):
    extract_items(ITEMS, work.work, work.cache)
    for dependencies in ({"code": "2"}, {"code": "1", "options": {"scale": 2}}):
        work.calls.clear()
        extract_items(ITEMS, replace(work.work, dependencies=dependencies), work.cache)
        assert work.calls == ["u1", "u2", "u3"]


def test_a_killed_job_resumes(work, monkeypatch):
    def killed(segment, **options):
        if segment.id == "u3":
            raise KeyboardInterrupt
        return work.work.extract(segment, **options)

    with pytest.raises(KeyboardInterrupt):
        extract_items(ITEMS, replace(work.work, extract=killed), work.cache)
    work.calls.clear()
    assert [entry.id for entry in extract_items(ITEMS, work.work, work.cache)] == ["u1", "u2", "u3"]
    assert work.calls == ["u3"]


def test_a_damaged_cache_is_not_used(work, capsys):
    work.cache.write_bytes(b"no HDF5")
    assert len(extract_items(ITEMS, work.work, work.cache)) == 3
    assert "is damaged and is not used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros((2, 3), np.float32), "returned ndarray for utterance 'u1', not Extracted"),
        (Extracted(np.zeros((2, 3)), {}), "returned float64"),
        (Extracted(np.zeros(3, np.float32), {}), r"returned float32 \(3,\)"),
        (Extracted(np.zeros((0, 3), np.float32), {}), "at least one frame"),
        (Extracted(np.full((1, 3), np.nan, np.float32), {}), "returned NaN or infinities for utterance 'u1'"),
    ],
)
def test_a_result_that_is_not_features_is_refused(work, returned, message):
    with pytest.raises(ConfigError, match=message):
        extract_items(ITEMS, replace(work.work, extract=lambda *_a, **_o: returned), work.cache)


def test_features_of_two_widths_are_refused(work):
    def widths(segment, **_options):
        return Extracted(np.zeros((1, len(segment.id) + len(segment.text)), np.float32), {})

    with pytest.raises(DataError, match="Utterance 'u2' has 2 features, 'u1' has 11"):
        extract_items(ITEMS, replace(work.work, extract=widths), work.cache)


def test_a_file_replaced_during_the_job_stops_it(work, tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"one")

    def decode(path, _deadline):
        path.write_bytes(b"another")
        return np.zeros(16000, np.float32), 1.0

    monkeypatch.setattr(chunk_module, "decode_audio", decode)
    hearing = replace(work.work, needs=("audio",), extract=lambda *_a, **_o: Extracted(np.ones((1, 1), np.float32), {}))
    with pytest.raises(DataError, match=r"a\.wav: changed while it was read"):
        extract_items([Utterance("u1", "x", audio="a.wav")], hearing, work.cache)


def test_utterances_without_a_file_get_a_state(work):
    hearing = replace(work.work, needs=("audio",))
    items = [Utterance("u1", "x", audio="none.wav"), Utterance("u2", "x")]
    assert [entry.state for entry in extract_items(items, hearing, work.cache)] == ["missing_file"] * 2


def test_written_entries_are_read_back_unchanged(tmp_path, work):
    entries = extract_items(ITEMS, work.work, work.cache)
    write_entries(tmp_path / "x.h5", entries, {"versions": {"numpy": "2"}})
    again, metadata = read_entries(tmp_path / "x.h5")
    assert metadata == {"versions": {"numpy": "2"}}
    for one, other in zip(entries, again, strict=True):
        assert (one.id, one.key, one.state, one.counts) == (other.id, other.key, other.state, other.counts)
        assert np.array_equal(one.values, other.values) or not len(one.values)


def test_utterances_of_one_recording_are_in_one_chunk():
    of_film = {chunk_number(Utterance(f"u{n}", "x", audio=f"{n}.wav", video="film.avi"), 16) for n in range(20)}
    assert len(of_film) == 1
    assert len({chunk_number(Utterance(f"u{n}", "x", audio=f"{n}.wav"), 16) for n in range(200)}) == 16


def test_a_touched_file_keeps_its_token_and_a_changed_one_does_not(tmp_path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"one")
    planned = MediaDigests(tmp_path / "memory.json", tmp_path).token("clip.wav")
    listed = MediaDigests(tmp_path / "memory.json", tmp_path)
    listed.digest("clip.wav")
    listed.save()
    clip.write_bytes(b"one")  # another time
    assert MediaDigests(tmp_path / "memory.json", tmp_path).token("clip.wav") == planned
    clip.write_bytes(b"two")
    assert MediaDigests(tmp_path / "memory.json", tmp_path).token("clip.wav") != planned
    clip.unlink()
    assert MediaDigests(tmp_path / "memory.json", tmp_path).token("clip.wav") == "missing"
