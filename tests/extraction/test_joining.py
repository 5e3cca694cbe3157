"""Joining chunks: kept utterances, refused input, and the summary."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from nmer.errors import DataError
from nmer.extraction import joining
from nmer.extraction.features_file import Entry, write_entries

ABOUT = {"extractor": "x", "options": {}, "licence": "free", "versions": {"numpy": "2.0"}}


def entry(identifier, frames=2, dim=3, state="ok", **counts):
    values = np.full((frames, dim), len(identifier), np.float32)
    return Entry(identifier, "key", state, values, counts)


def failed(identifier, state="no_face"):
    return Entry(identifier, "key", state, np.zeros((0, 0), np.float32))


def chunks(folder, *parts, abouts=None):
    paths = []
    for number, entries in enumerate(parts):
        paths.append(folder / f"{number}.h5")
        write_entries(paths[-1], entries, (abouts or [ABOUT] * len(parts))[number])
    return paths


def test_joined_utterances_are_in_the_order_of_the_table(tmp_path):
    paths = chunks(tmp_path, [entry("c"), entry("aa")], [], [entry("b")])
    joined = joining.read_modality(paths, ["aa", "b", "c"], "a")
    assert list(joined.entries) == ["aa", "b", "c"]
    assert (joined.dim, joined.metadata) == (3, ABOUT)


def test_inconsistent_or_incomplete_chunks_are_refused(tmp_path):
    other = ABOUT | {"versions": {"numpy": "3.0"}}
    paths = chunks(tmp_path, [entry("a")], [entry("b")], abouts=[ABOUT, other])
    with pytest.raises(DataError, match=r"numpy 2\.0 and 3\.0"):
        joining.read_modality(paths, ["a", "b"], "a")
    with pytest.raises(DataError, match="'b' has 4 features, 'a' 3"):
        joining.read_modality(chunks(tmp_path, [entry("a")], [entry("b", dim=4)]), ["a", "b"], "a")
    with pytest.raises(DataError, match="no chunk contains utterance 'z'"):
        joining.read_modality(chunks(tmp_path, [entry("a")]), ["a", "z"], "a")


@pytest.mark.parametrize(("most", "refused"), [(0.24, True), (0.25, False), (0.26, False)])
def test_too_large_a_share_of_failures_is_refused(tmp_path, most, refused):
    paths = chunks(tmp_path, [entry("a"), entry("b"), entry("c"), failed("d")])
    joined = {"v": joining.read_modality(paths, list("abcd"), "v")}
    if refused:
        with pytest.raises(
            DataError, match=r"1 of 4 utterances lack features of a modality \(no_face 1\); at most 24%"
        ):
            joining.check_failures(joined, list("abcd"), most, "datasets.d.raw.max_failed")
    else:
        joining.check_failures(joined, list("abcd"), most, "datasets.d.raw.max_failed")


def test_a_modality_without_features_is_refused(tmp_path):
    joined = {"v": joining.read_modality(chunks(tmp_path, [failed("a")]), ["a"], "v")}
    with pytest.raises(DataError, match=r"Modality v: no utterance has features \(no_face 1\)"):
        joining.check_failures(joined, ["a"], 1.0, "key")


def test_the_summary_counts_states_and_faces_and_names_utterances(tmp_path):
    ids = [f"u{number:02d}" for number in range(30)]
    entries = [entry("u00", frames=4, faces=3)] + [failed(name) for name in ids[1:]]
    entries[0] = Entry("u00", "k", "ok", entries[0].values, {"frames": 4, "faces": 3})
    described = joining.summarise({"v": joining.read_modality(chunks(tmp_path, entries), ids, "v")})
    assert described["v"]["states"] == {"ok": 1, "no_face": 29}
    assert described["v"]["ids"]["no_face"] == ids[1:21]
    notes, warnings = joining.notes_and_warnings(described)
    assert any("licence: free" in note and "1 of 30 utterances" in note for note in notes)
    assert any("75.0% of the pictures show a face" in note for note in notes)
    assert warnings == [f"Modality v: 29 utterances are no_face: {', '.join(ids[1:21])}, …."]


def test_utterances_without_a_known_word_are_named_in_a_warning(tmp_path):
    ids = [f"u{number:02d}" for number in range(30)]
    entries = [entry(name, words=3, unknown_words=3 if number < 25 else 2) for number, name in enumerate(ids)]
    described = joining.summarise({"l": joining.read_modality(chunks(tmp_path, entries), ids, "l")})
    assert described["l"]["without_known_words"] == {"count": 25, "ids": ids[:20]}
    notes, warnings = joining.notes_and_warnings(described)
    assert "Modality l: 85 of 90 words have no vector." in notes
    assert warnings == [
        "Modality l: 25 utterances contain no word with a vector, so their features are zero: "
        f"{', '.join(ids[:20])}, …."
    ]
    known = joining.summarise({"l": joining.read_modality(chunks(tmp_path, entries[25:]), ids[25:], "l")})
    assert "without_known_words" not in known["l"]


def test_vectors_that_contain_no_word_at_all_are_refused(tmp_path):
    about = ABOUT | {"extractor": "glove"}
    parts = [[entry("a", words=2, unknown_words=2)], [entry("b", words=1, unknown_words=1), failed("c", "no_text")]]
    joined = {"l": joining.read_modality(chunks(tmp_path, *parts, abouts=[about, about]), list("abc"), "l")}
    with pytest.raises(
        DataError, match="Modality l: the vectors of extractor 'glove' contain no word of any utterance"
    ):
        joining.check_failures(joined, list("abc"), 1.0, "key")
    parts[0][0] = entry("a", words=2, unknown_words=1)
    joined = {"l": joining.read_modality(chunks(tmp_path, *parts, abouts=[about, about]), list("abc"), "l")}
    joining.check_failures(joined, list("abc"), 1.0, "key")


def test_a_corpus_contains_the_kept_utterances_with_columns_and_folds(tmp_path):
    joined = {"a": joining.read_modality(chunks(tmp_path, [entry("a"), failed("b"), entry("c", frames=1)]), "abc", "a")}
    columns = {"id": list("abc"), "label": ["x", "y", "x"], "speaker": ["s", "t", "u"]}
    path = tmp_path / "corpus.h5"
    joining.write_corpus(
        path, joined, columns, lambda rows: {1: {"test": np.array([len(rows) - 1])}}, [0, 2], {"notes": []}
    )
    with h5py.File(path) as file:
        assert file["utterance/id"].asstr()[()].tolist() == ["a", "c"]
        assert file["utterance/speaker"].asstr()[()].tolist() == ["s", "u"]
        assert file["a/offset"][()].tolist() == [0, 2, 3]
        assert file["fold/1/test"][()].tolist() == [1]
        assert json.loads(file.attrs["remarks"]) == {"notes": []}
    joining.write_corpus(path, joined, columns, lambda _rows: {}, [0, 1, 2], {})
    with h5py.File(path) as file:
        assert file["a/offset"][()].tolist() == [0, 2, 3, 4]
        assert file["a/values"][2].tolist() == [0, 0, 0]
