"""Every layout reads corpora with fewer than three modalities, and names what is missing (SPEC 13)."""

from __future__ import annotations

import pickle
import shutil
from itertools import combinations

import h5py
import numpy as np
import pytest
from test_csd import LISTS, contents, write
from written_corpora import WRITERS, make_arrays

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.demo import MOSEI_FILE, DemoSettings, write_demo
from nmer.corpora.registry import source_files
from nmer.corpora.store import FeatureStore
from nmer.errors import ConfigError, DataError

SETS = ["".join(chosen) for size in (1, 2, 3) for chosen in combinations("avl", size)]
FEWER = [chosen for chosen in SETS if len(chosen) < 3]
FILES = {"a": "A/comparE.h5", "v": "V/denseface.h5", "l": "L/bert_large.h5"}
KEYS = {"a": "audio", "v": "vision", "l": "text"}


def keep_iemocap(source, tmp_path, kept):
    folder = tmp_path / "kept"
    shutil.copytree(source, folder)
    for modality in set("avl") - set(kept):
        (folder / FILES[modality]).unlink()
    return folder


def keep_mosei(source, tmp_path, kept):
    splits = pickle.loads(source.read_bytes())
    for split in splits.values():
        for modality in set("avl") - set(kept):
            del split[KEYS[modality]]
    (tmp_path / "kept.pkl").write_bytes(pickle.dumps(splits))
    return tmp_path / "kept.pkl"


def keep_generic(layout, tmp_path, kept):
    arrays = make_arrays()
    arrays.frames = {m: frames for m, frames in arrays.frames.items() if m in kept}
    return WRITERS[layout](tmp_path / f"kept_{layout}", arrays)


@pytest.fixture
def reduced(tiny, tmp_path):
    """Layout and kept modalities -> a corpus without the others, and its settings."""

    def make(layout: str, kept: str):
        if layout in WRITERS:
            keys = {"options": {"protocol": "leave_one_group_out"}, "folds": 6}
            return keep_generic(layout, tmp_path, kept), keys
        keep = {"iemocap_mmin": keep_iemocap, "mosei_pickle": keep_mosei}[layout]
        return keep(tiny[layout], tmp_path, kept), {}

    return make


LAYOUTS = ["iemocap_mmin", "mosei_pickle", *WRITERS]


@pytest.mark.parametrize("kept", FEWER)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_store_contains_the_declared_modalities_only(reduced, step, layout, kept):
    source, keys = reduced(layout, kept)
    described = step.build(source, layout, modalities=list(reversed(kept)), **keys)
    assert "".join(described["dims"]) == "".join(described["lengths"]) == "".join(described["variance"]) == kept
    with FeatureStore(step.output) as store:
        assert "".join(store.modalities) == kept
    with h5py.File(step.output) as file:
        assert {name for name in file if name in "avl"} == set(kept)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_the_declared_modalities_are_read(reduced, step, layout):
    source, keys = reduced(layout, "avl")
    whole = step.build(source, layout, **keys)
    some = step.build(source, layout, modalities=["a", "l"], **keys)
    assert some["variance"] == {m: whole["variance"][m] for m in "al"}
    assert some["utterances"] == whole["utterances"]


@pytest.mark.parametrize(("kept", "listed"), [("al", "a, l"), ("v", "v")])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fewer_modalities_than_declared_are_named_with_the_key(reduced, step, layout, kept, listed):
    source, keys = reduced(layout, kept)
    output = step.refuse(source, layout, **keys)
    assert f"Modalities found: {listed}. Complete the corpus, or set datasets.tiny.modalities to [{listed}]." in output


@pytest.mark.parametrize("kept", FEWER)
def test_computational_sequences_are_aligned_to_the_words_for_any_modalities(tmp_path, kept):
    streams = contents()
    write(tmp_path / "whole", streams, LISTS)
    fewer = {name: stream for name, stream in streams.items() if name in (*kept, "l", "labels")}
    write(tmp_path / "fewer", fewer, LISTS)
    named = {"dataset": "tiny", "layout": "csd", "options": {"steps": 6}}
    with (
        read_corpus(tmp_path / "whole", CorpusSettings.from_mapping(named)) as whole,
        read_corpus(tmp_path / "fewer", CorpusSettings.from_mapping(named | {"modalities": list(kept)})) as corpus,
    ):
        assert "".join(corpus.dims) == "".join(corpus.lengths) == kept
        # A video without one of the other streams is no longer dropped.
        assert set(whole.ids) <= set(corpus.ids)
        rows = {name: row for row, name in enumerate(corpus.ids)}
        for row, name in enumerate(whole.ids):
            for modality in kept:
                np.testing.assert_array_equal(whole.features(modality, row), corpus.features(modality, rows[name]))


def test_without_text_a_pickle_drops_nothing_and_is_cut_at_the_first_modality(tmp_path):
    rng, splits = np.random.default_rng(3), {}
    for number, name in enumerate(("train", "valid", "test")):
        audio, vision = np.zeros((4, 6, 2)), np.zeros((4, 6, 3))
        audio[:, 2:], vision[:, 3:] = rng.normal(size=(4, 4, 2)), rng.normal(size=(4, 3, 3))
        ids = [f"v{number}[{row}]" for row in range(4)]
        splits[name] = {"audio": audio, "vision": vision, "labels": np.array([-1.0, 1, -1, 1]), "id": ids}
    path = tmp_path / "corpus.pkl"
    path.write_bytes(pickle.dumps(splits))
    keys = {"dataset": "d", "layout": "mosei_pickle", "modalities": ["v", "a"]}
    with read_corpus(path, CorpusSettings.from_mapping(keys)) as corpus:
        assert len(corpus.ids) == 12
        assert corpus.dropped == {}
        assert "cut where the first modality starts" in corpus.notes[0]
        for modality, key in (("a", "audio"), ("v", "vision")):
            stored, frames = splits["train"][key][0], corpus.features(modality, 0)
            np.testing.assert_array_equal(frames[:4], stored[2:])
            assert not frames[4:].any()


TWO_FRAMES = """
import numpy as np
from nmer.corpora.corpus import Corpus
from nmer.corpora.registry import layout


@layout("mine", files=())
def read(source, settings):
    n = 6
    return Corpus(
        ids=[f"u{i}" for i in range(n)], labels=np.arange(n) % 2, speakers=[f"s{i}" for i in range(n)],
        classes=["no", "yes"], dims={"a": 1, "l": 3}, lengths={m: np.full(n, 2) for m in "al"},
        folds={1: {"train": np.array([0, 1]), "val": np.array([2, 3]), "test": np.array([4, 5])}},
        features=lambda m, i: np.full((2, {"a": 1, "l": 3}[m]), float(i)),
    )
"""


def test_a_custom_reader_can_return_more_but_not_fewer_modalities(tmp_path, step):
    (tmp_path / "mine.py").write_text(TWO_FRAMES)
    (tmp_path / "data.bin").write_bytes(b"x")
    own = {"file": str(tmp_path / "mine.py")}
    output = step.refuse(tmp_path / "data.bin", "mine", **own)
    assert "has no modality v. Modalities found: a, l." in output
    assert step.build(tmp_path / "data.bin", "mine", modalities=["a", "l"], **own)["dims"] == {"a": 1, "l": 3}
    assert step.build(tmp_path / "data.bin", "mine", modalities=["l"], **own)["dims"] == {"l": 3}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"modalities": []}, r"datasets\.d\.modalities must list one or more of a, v, l"),
        ({"modalities": ["x"]}, r"datasets\.d\.modalities must list one or more of a, v, l"),
        ({"modalities": ["a"], "dims": {"v": 3}}, r"datasets\.d\.dims: names v, which is not among .* \(a\)"),
        ({"modalities": ["a", "l"], "standardize": ["v"]}, r"datasets\.d\.standardize: names v, .* \(a, l\)"),
    ],
)
def test_contradicting_settings_name_the_key(keys, message):
    with pytest.raises(ConfigError, match=message):
        CorpusSettings.from_mapping({"dataset": "d", "layout": "npy_folder", **keys})


def test_default_normalisation_applies_to_existing_modalities():
    named = {"dataset": "d", "layout": "iemocap_mmin"}
    assert CorpusSettings.from_mapping(named).standardize == ("a",)
    assert CorpusSettings.from_mapping(named | {"modalities": ["v", "l"]}).standardize == ()


@pytest.mark.parametrize("kept", FEWER)
@pytest.mark.parametrize("layout", ["iemocap_mmin", "mosei_pickle"])
def test_a_synthetic_corpus_with_fewer_modalities_has_the_same_features_in_those(tmp_path, layout, kept):
    dims, frames = {"a": 3, "v": 4, "l": 5}, 4 if layout == "mosei_pickle" else {"a": 5, "v": 4, "l": 6}
    stores = {}
    for chosen in ("avl", kept):
        generate = {"utterances": 140, "dims": {m: dims[m] for m in chosen}}
        generate["frames"] = frames if isinstance(frames, int) else {m: frames[m] for m in chosen}
        made = {"dataset": "d", "layout": layout, "modalities": list(chosen), "generate": generate}
        write_demo(tmp_path / chosen, DemoSettings.from_mapping(made))
        source = tmp_path / chosen / (MOSEI_FILE if layout == "mosei_pickle" else "")
        settings = CorpusSettings.from_mapping({"dataset": "d", "layout": layout, "modalities": list(chosen)})
        with read_corpus(source, settings) as corpus:
            stores[chosen] = {(name, m): corpus.features(m, row) for row, name in enumerate(corpus.ids) for m in kept}
    if layout == "iemocap_mmin":
        assert stores["avl"].keys() == stores[kept].keys()
        for place, frames_of in stores[kept].items():
            np.testing.assert_array_equal(frames_of, stores["avl"][place])
    else:  # without text nothing is dropped
        assert stores["avl"].keys() <= stores[kept].keys()


def test_the_generator_needs_the_declared_modalities_only():
    made = {"dataset": "d", "layout": "iemocap_mmin", "modalities": ["a", "l"]}
    with pytest.raises(ConfigError, match=r"'generate.dims' must give a and l each"):
        DemoSettings.from_mapping(made | {"generate": {"dims": {"a": 3, "v": 3, "l": 3}}})
    with pytest.raises(ConfigError, match=r"'generate.strength' must give a and l each"):
        DemoSettings.from_mapping(made | {"generate": {"strength": {"a": 1}}})
    assert set(DemoSettings.from_mapping(made).dims) == {"a", "l"}


def test_a_missing_stream_is_reported_with_the_existing_modalities(tmp_path):
    streams = contents()
    del streams["v"]
    write(tmp_path / "corpus", streams, LISTS)
    with pytest.raises(DataError, match=r"Facet.*no such file\. Modalities found: a"):
        source_files("csd", tmp_path / "corpus")
