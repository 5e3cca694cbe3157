"""The demo corpora are deterministic, have the real ones' proportions, and carry a signal in every modality."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_corpora import TINY, demo_settings

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.demo import DemoSettings, iemocap_counts, write_demo
from nmer.corpora.repair import repair
from nmer.corpora.store import FeatureStore
from nmer.corpora.store_writer import write_store
from nmer.errors import ConfigError

SCRIPTS = Path(__file__).parents[2] / "scripts"


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("layout", list(TINY))
def test_two_generations_in_two_processes_are_byte_identical(layout, tmp_path):
    settings = json.dumps({"dataset": "tiny", "layout": layout, "generate": TINY[layout]})
    script = [sys.executable, SCRIPTS / "generate_corpus.py", "--settings", settings, "--output", tmp_path / "step"]
    subprocess.run(script, check=True)
    write_demo(tmp_path / "here", demo_settings(layout))
    assert digests(tmp_path / "step") == digests(tmp_path / "here")
    assert len((tmp_path / "step.sha256").read_text().splitlines()) == len(digests(tmp_path / "here"))
    write_demo(tmp_path / "other", demo_settings(layout, seed=1))
    assert digests(tmp_path / "other") != digests(tmp_path / "here")


@pytest.mark.parametrize("layout", list(TINY))
def test_two_stores_of_one_corpus_are_byte_identical(layout, tiny, tmp_path):
    settings = CorpusSettings.from_mapping({"dataset": "tiny", "layout": layout})
    for name in ("first.h5", "second.h5"):
        with read_corpus(tiny[layout], settings) as corpus:
            write_store(corpus, settings, tmp_path / name)
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "second.h5").read_bytes()


@pytest.mark.parametrize("utterances", [100, 101, 220, 5531])
def test_every_speaker_has_every_class_and_the_classes_keep_their_order(utterances):
    counts = iemocap_counts(utterances)
    assert counts.sum() == utterances
    assert counts.min() >= 2
    happy, angry, sad, neutral = counts.sum(axis=0)
    assert neutral > happy > angry > sad


def test_the_full_size_has_the_real_class_counts():
    assert iemocap_counts(5531).sum(axis=0).tolist() == [1636, 1103, 1084, 1708]


def test_the_demo_mosei_has_the_variances_of_the_papers_steps(tiny, tmp_path):
    settings = CorpusSettings.from_mapping({"dataset": "tiny", "layout": "mosei_pickle"})
    corpus = read_corpus(tiny["mosei_pickle"], settings)
    write_store(corpus, settings, tmp_path / "x.h5")
    with FeatureStore(tmp_path / "x.h5") as store:
        assert [store.variance(m) for m in "avl"] == pytest.approx([150.8, 2.204, 0.03], rel=1e-4)
    assert np.mean(corpus.labels) == pytest.approx(0.71, abs=0.03)
    assert corpus.dropped


@pytest.mark.parametrize("layout", list(TINY))
def test_every_modality_separates_the_classes_and_text_does_best(layout, tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model")
    write_demo(tmp_path / "x", DemoSettings.from_mapping({"layout": layout, "generate": {"utterances": 220}}))
    source = next((tmp_path / "x").glob("*.pkl"), tmp_path / "x")
    with read_corpus(source, CorpusSettings.from_mapping({"dataset": "x", "layout": layout})) as corpus:
        fold = corpus.folds[1]
        tested = np.concatenate([fold["val"], fold["test"]])
        accuracy = {}
        for m in "avl":
            means = np.array([repair(corpus.features(m, i))[0].mean(axis=0) for i in range(len(corpus.ids))])
            means = (means - means.mean(axis=0)) / (means.std(axis=0) + 1e-12)
            model = linear_model.LogisticRegression(C=0.01, max_iter=200)
            model.fit(means[fold["train"]], corpus.labels[fold["train"]])
            accuracy[m] = model.score(means[tested], corpus.labels[tested])
    majority = np.bincount(corpus.labels).max() / len(corpus.labels)
    assert accuracy["l"] > accuracy["a"]
    assert accuracy["l"] > majority + 0.1
    assert accuracy["v"] > majority - 0.1


@pytest.mark.parametrize(
    ("generate", "message"),
    [
        ({"utterance": 3}, "generate.utterance'. Did you mean 'utterances'"),
        ({"utterances": 20}, "at least 100"),
        ({"dims": {"a": 3}}, "generate.dims"),
        ({"frames": 12}, "generate.frames"),
        ({"seed": -1}, "generate.seed"),
        ({"strength": {"a": 1, "v": 1, "l": "x"}}, "generate.strength"),
    ],
)
def test_invalid_settings_name_the_key(generate, message):
    with pytest.raises(ConfigError, match=message):
        demo_settings("iemocap_mmin", **generate)
