"""Class names are checked against the data, and the report lists the name of each label."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from written_corpora import WRITERS

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.layouts import iemocap_mmin
from nmer.corpora.layouts.iemocap_mmin import CLASSES_BY_SIZE, PUBLISHED_SIZES
from nmer.corpora.registry import layouts
from nmer.corpora.sentiment import sentiment_labels
from nmer.errors import ConfigError

WRONG = [["positive", "negative"], ["negative", "neutral", "positive"], ["Negative", "Positive"], ["sad", "happy"]]


@pytest.mark.parametrize("classes", WRONG)
@pytest.mark.parametrize("layout", ["mosei_pickle", "csd"])
def test_other_names_for_sentiments_are_refused(layout, classes):
    keys = {"dataset": "d", "layout": layout, "classes": classes}
    with pytest.raises(ConfigError, match=r"datasets\.d\.classes: .*0 = negative, 1 = positive"):
        CorpusSettings.from_mapping(keys)


def test_class_names_of_the_layout_can_be_repeated(tiny, step):
    described = step.build(tiny["mosei_pickle"], "mosei_pickle", classes=["negative", "positive"])
    assert described["classes"] == ["negative", "positive"]
    assert any("0 = negative (sentiment below 0), 1 = positive" in note for note in described["notes"])


def test_declarations_name_the_classes_that_readers_return():
    _labels, classes, _note = sentiment_labels(np.array([-1.0, 1.0]), "classes")
    for layout in ("csd", "mosei_pickle"):
        assert list(layouts.declaration(layout).attributes["classes"]) == list(classes)


def test_a_custom_layout_can_define_classes(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        'from nmer.corpora.registry import layout\n@layout("mine", files=(), classes=("x", "y"))\ndef f(): ...'
    )
    keys = {"dataset": "d", "layout": "mine", "file": str(file)}
    CorpusSettings.from_mapping(keys | {"classes": ["x", "y"]})
    with pytest.raises(ConfigError, match="0 = x, 1 = y"):
        CorpusSettings.from_mapping(keys | {"classes": ["y", "x"]})


# IEMOCAP, whose classes are identified by size


def release_labels(order: list[str]) -> np.ndarray:
    """Return label numbers with the class sizes of the release, numbered as in ``order``."""
    size_of = dict(zip(CLASSES_BY_SIZE, PUBLISHED_SIZES, strict=True))
    return np.repeat(np.arange(4), [size_of[name] for name in order])


def named(labels: np.ndarray, classes: list[str]) -> tuple[list[str], str, list[str]]:
    return iemocap_mmin._class_names(labels, CorpusSettings("i", "iemocap_mmin", classes=tuple(classes) or None))


def test_names_that_contradict_the_sizes_of_the_release_are_refused():
    labels = release_labels(["happy", "angry", "sad", "neutral"])
    assert named(labels, [])[0] == ["happy", "angry", "sad", "neutral"]
    assert named(labels, ["happy", "angry", "sad", "neutral"])[2] == []
    with pytest.raises(ConfigError, match=r"datasets\.i\.classes: .*Write happy, angry, sad, neutral"):
        named(labels, ["angry", "happy", "neutral", "sad"])


def test_names_that_contradict_the_sizes_of_another_corpus_give_a_warning(tiny, step):
    by_size = step.build(tiny["iemocap_mmin"], "iemocap_mmin")["classes"]
    swapped = [by_size[1], by_size[0], *by_size[2:]]
    described = step.build(tiny["iemocap_mmin"], "iemocap_mmin", classes=swapped)
    assert described["classes"] == swapped
    assert any(f"0 = {swapped[0]}, 1 = {swapped[1]}" in note for note in described["notes"])
    assert any(f"would be 0 = {by_size[0]}, 1 = {by_size[1]}" in warning for warning in described["warnings"])


def test_label_numbers_are_named_by_size(iemocap):
    counts = [10, 40, 20, 30]
    by_size = ["sad", "neutral", "angry", "happy"]
    with (iemocap / "labels.csv").open("w", newline="") as stream:
        ids = sorted(set(np.concatenate([np.load(p)[:, 0] for p in iemocap.glob("target/1/*_int2name.npy")]).tolist()))
        labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), counts))
        texts = [name.decode() if isinstance(name, bytes) else name for name in ids]
        csv.writer(stream).writerows([("id", "label"), *zip(texts, labels.tolist(), strict=True)])
    (iemocap / "target").rename(iemocap / "away")
    with read_corpus(iemocap, CorpusSettings("d", "iemocap_mmin")) as corpus:
        assert corpus.classes == by_size


@pytest.mark.parametrize("layout", WRITERS)
def test_a_class_without_utterances_is_refused(tmp_path, step, arrays, layout):
    arrays.columns["label"] = [index % 2 for index in range(30)]
    arrays.columns["split"] = ["train"] * 15 + ["val"] * 5 + ["test"] * 10
    output = step.refuse(WRITERS[layout](tmp_path / "corpus", arrays), layout, classes=["calm", "upset", "angry"])
    assert "no utterance is labelled angry; the classes are 0 = calm, 1 = upset, 2 = angry" in output
