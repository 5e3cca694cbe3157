"""The readers of both layouts compared with naive readers of the raw files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.layouts.iemocap_mmin import name_classes, speaker
from nmer.corpora.layouts.mosei_pickle import name_utterance
from nmer.corpora.registry import relative_name, source_files
from nmer.corpora.store import FeatureStore
from nmer.errors import ConfigError, DataError

REAL_MOSI = Path(__file__).parents[2].parent / "shared/data/cmu_mosi/mosi_senti_data.pkl"


def settings(layout: str, **values: object) -> CorpusSettings:
    return CorpusSettings.from_mapping({"dataset": "tiny", "layout": layout, **values})


def test_iemocap_features_and_labels_equal_the_files(tiny):
    with read_corpus(tiny["iemocap_mmin"], settings("iemocap_mmin")) as corpus:
        for m, name in (("a", "A/comparE.h5"), ("v", "V/denseface.h5"), ("l", "L/bert_large.h5")):
            with h5py.File(tiny["iemocap_mmin"] / name) as file:
                for index in (0, 17, 99):
                    stored = file[corpus.ids[index]][()]
                    np.testing.assert_array_equal(corpus.features(m, index), stored)
                    assert corpus.lengths[m][index] == len(stored)
        for number in (1, 4):
            folder = tiny["iemocap_mmin"] / "target" / str(number)
            for split, stem in (("train", "trn"), ("val", "val"), ("test", "tst")):
                index = corpus.folds[number][split]
                names = np.load(folder / f"{stem}_int2name.npy")[:, 0]
                assert [corpus.ids[i] for i in index] == [name.decode() for name in names]
                np.testing.assert_array_equal(corpus.labels[index], np.load(folder / f"{stem}_label.npy").argmax(1))


def test_iemocap_folds_follow_the_protocol(tiny):
    with read_corpus(tiny["iemocap_mmin"], settings("iemocap_mmin")) as corpus:
        speakers = np.array(corpus.speakers)
        tested = np.concatenate([corpus.folds[k]["test"] for k in range(1, 11)])
        assert sorted(tested) == list(range(100))
        for session in range(1, 6):
            odd, even = corpus.folds[2 * session - 1], corpus.folds[2 * session]
            assert set(speakers[odd["test"]]) == set(speakers[even["val"]]) == {f"{session}M"}
            assert set(speakers[odd["val"]]) == set(speakers[even["test"]]) == {f"{session}F"}
            assert len(odd["train"]) == 100 - len(odd["test"]) - len(odd["val"])


def test_iemocap_classes_are_identified_by_their_sizes(tiny):
    with read_corpus(tiny["iemocap_mmin"], settings("iemocap_mmin")) as corpus:
        assert corpus.classes == ["happy", "angry", "sad", "neutral"]
    assert name_classes(np.array([1103, 1636, 1708, 1084])) == ["angry", "happy", "neutral", "sad"]
    with pytest.raises(DataError, match="key 'classes'"):
        name_classes(np.array([5, 5, 3, 2]))


def test_the_speaker_is_the_letter_of_the_last_token():
    assert speaker("Ses01F_impro01_M005") == "1M"
    assert speaker("Ses05M_script01_1b_F013") == "5F"
    with pytest.raises(DataError, match="speaker is unknown"):
        speaker("recording7")


def rewrite(folder: Path, pattern: str, change) -> None:
    for path in folder.glob(pattern):
        np.save(path, change(np.load(path)), allow_pickle=False)


@pytest.mark.parametrize(
    ("pattern", "change"),
    [
        ("target/*/*_label.npy", lambda labels: labels.argmax(1)),
        ("target/*/*_label.npy", lambda labels: labels.argmax(1)[:, None].astype(np.int8)),
        ("target/*/*_label.npy", lambda labels: labels.astype(np.float16)),
        ("target/*/*_int2name.npy", lambda names: names[:, 0]),
        ("target/*/*_int2name.npy", lambda names: names.astype(str)),
        ("target/*/*_int2name.npy", lambda names: np.hstack([names, names[::-1]])),
    ],
)
def test_variants_of_iemocap_lists_give_the_same_corpus(tiny, iemocap, pattern, change):
    rewrite(iemocap, pattern, change)
    plain = settings("iemocap_mmin")
    with read_corpus(tiny["iemocap_mmin"], plain) as expected, read_corpus(iemocap, plain) as corpus:
        assert corpus.ids == expected.ids
        np.testing.assert_array_equal(corpus.labels, expected.labels)


def naive_mosei(split: dict) -> list[tuple[str, int, dict[str, np.ndarray]]]:
    """Clean samples individually as in SPEC 5.2."""
    samples = []
    for i in range(len(split["id"])):
        arrays = {m: split[key][i].copy() for m, key in (("a", "audio"), ("v", "vision"), ("l", "text"))}
        for array in arrays.values():
            array[~np.isfinite(array)] = 0
        if arrays["l"].sum() == 0:
            continue
        steps = len(arrays["l"])
        start = next(t for t in range(steps) if arrays["l"][t].any())
        for m, array in arrays.items():
            arrays[m] = np.vstack([array[start:], np.zeros((start, array.shape[1]), array.dtype)])
        samples.append((str(split["id"][i][0]), int(split["labels"][i].ravel()[0] >= 0), arrays))
    return samples


def test_mosei_is_cleaned_like_a_loop_over_samples(tmp_path, mosei, step):
    mosei["train"]["text"][3, -1, 1] = np.nan
    mosei["valid"]["vision"][0, -1, 0] = np.inf
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(mosei))
    step.build(path, "mosei_pickle")
    store = FeatureStore(step.output)
    position = 0
    for split, stored in (("train", "train"), ("val", "valid"), ("test", "test")):
        samples = naive_mosei(mosei[stored])
        np.testing.assert_array_equal(store.fold(1)[split], np.arange(position, position + len(samples)))
        for identifier, label, arrays in samples:
            assert (store.ids[position], store.labels[position]) == (identifier, label)
            for m, array in arrays.items():
                np.testing.assert_array_equal(store.utterance(m, position), array)
            position += 1
    assert position == len(store.ids)
    described = json.loads(step.report_file.read_text())
    assert described["repairs"]["l"]["nan"] == 1
    assert described["repairs"]["v"]["+inf"] == 1
    assert described["repairs"]["a"]["-inf"] > 0
    assert described["dropped"] == {"text sums to 0": 150 - position}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("abc_d[12]", ("abc_d[12]", "abc_d")),
        (b"abc_d_7", ("abc_d_7", "abc_d")),
        ("abc_d$_$7", ("abc_d$_$7", "abc_d")),
        (np.array(["abc[3]"]), ("abc[3]", "abc")),
        (np.array([b"abc_d", b"1.5", b"2.5"]), ("abc_d[1.5-2.5]", "abc_d")),
    ],
)
def test_mosei_ids_name_their_video(row, expected):
    assert name_utterance(row) == expected


@pytest.mark.skipif(not REAL_MOSI.is_file(), reason="the real CMU-MOSI is not in shared/data")
def test_the_real_mosi_is_read_completely():
    corpus = read_corpus(REAL_MOSI, settings("mosei_pickle", dims={"a": 73, "v": 100, "l": 100}))
    assert [len(corpus.folds[1][split]) for split in ("train", "val", "test")] == [1228, 219, 752]
    assert corpus.dims == {"a": 73, "v": 100, "l": 100}
    assert sum(sum(kinds.values()) for kinds in corpus.repairs.values()) == 0
    assert corpus.dropped == {}
    assert len(set(corpus.speakers)) == 93


def test_source_files_are_the_declared_ones_and_a_missing_one_is_named(iemocap):
    (iemocap / "notes.txt").write_text("not read")
    names = [relative_name(path, iemocap) for path in source_files("iemocap_mmin", iemocap)]
    assert names[:2] == ["A/comparE.h5", "A/comparE_mean_std.h5"]
    assert len(names) == 4 + 10 * 6
    (iemocap / "A/comparE_mean_std.h5").unlink()
    assert len(source_files("iemocap_mmin", iemocap)) == 3 + 10 * 6
    (iemocap / "V/denseface.h5").unlink()
    with pytest.raises(DataError, match=r"V/denseface[.]h5: no such file"):
        source_files("iemocap_mmin", iemocap)
    with pytest.raises(ConfigError, match="Did you mean 'mosei_pickle'"):
        source_files("mosei_pickel", iemocap)


OWN_LAYOUT = """
import numpy as np
from nmer.corpora.corpus import Corpus
from nmer.corpora.registry import layout


@layout("two_frames", files=(), standardize=("v",))
def read(source, settings, *, scale=1.0):
    n = 6
    return Corpus(
        ids=[f"u{i}" for i in range(n)], labels=np.arange(n) % 2, speakers=[f"s{i}" for i in range(n)],
        classes=["no", "yes"], dims={"a": 1, "v": 2, "l": 3}, lengths={m: np.full(n, 2) for m in "avl"},
        folds={1: {"train": np.array([0, 1]), "val": np.array([2, 3]), "test": np.array([4, 5])}},
        features=lambda m, i: np.full((2, {"a": 1, "v": 2, "l": 3}[m]), i * scale),
    )
"""


def test_a_custom_layout_is_one_short_file(tmp_path, step):
    (tmp_path / "two_frames.py").write_text(OWN_LAYOUT)
    (tmp_path / "data.bin").write_bytes(b"x")
    own = {"file": str(tmp_path / "two_frames.py"), "options": {"scale": 2.0}}
    described = step.build(tmp_path / "data.bin", "two_frames", **own)
    assert described["utterances"] == 6
    assert described["variance"]["a"]["stored"] == pytest.approx(np.var(2.0 * np.arange(6)))
    assert described["variance"]["v"]["stored"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("old", "new", "exception"),
    [
        ("    n = 6", "    n = int(source)", "line 9: TypeError: int() argument must be"),
        ("i * scale", "i / (i - 3)", "line 14: ZeroDivisionError: division by zero"),
    ],
)
def test_an_exception_in_a_custom_layout_ends_in_one_message(tmp_path, step, old, new, exception):
    file = tmp_path / "two_frames.py"
    file.write_text(OWN_LAYOUT.replace(old, new))
    (tmp_path / "data.bin").write_bytes(b"x")
    message = step.refuse(tmp_path / "data.bin", "two_frames", file=str(file))
    assert message.startswith(f"error: {file}: failed: {exception}")
    assert message.endswith(". Correct the layout.\n")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dimz": {}}, "Unknown key 'dimz'.*Did you mean 'dims'"),
        ({"dims": {"a": 0}}, "tiny.dims"),
        ({"classes": ["one"]}, "tiny.classes"),
        ({"standardize": ["x"]}, "tiny.standardize"),
        ({"options": {"limit": 3}}, "unknown key 'limit'.*limit_gib"),
        ({"options": {"limit_gib": "3"}}, "limit_gib: '3' is not like its default"),
    ],
)
def test_invalid_settings_name_the_key(values, message):
    with pytest.raises(ConfigError, match=message):
        settings("mosei_pickle", **values)
