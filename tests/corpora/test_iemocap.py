"""The IEMOCAP release: its variants, and the folds of the speaker protocol compared with the table of SPEC 5.1."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from nmer.corpora.corpus import CorpusSettings, read_corpus
from nmer.corpora.demo import IEMOCAP_CLASSES, IEMOCAP_SPEAKERS
from nmer.corpora.layouts.iemocap_mmin import speaker, speaker_folds, standardise
from nmer.corpora.store import FeatureStore

# SPEC 5.1: utterances of each session's female and male speaker, and the training size when it is left out.
SESSIONS = {1: (528, 557, 4446), 2: (481, 542, 4508), 3: (522, 629, 4380), 4: (528, 503, 4500), 5: (590, 651, 4290)}


def settings(**values: object) -> CorpusSettings:
    return CorpusSettings.from_mapping({"dataset": "tiny", "layout": "iemocap_mmin", **values})


def move_labels_to_csv(folder: Path) -> dict[str, str]:
    """Replace the folder ``target`` by ``labels.csv``; returns id -> class."""
    with read_corpus(folder, settings()) as corpus:
        label_of = {name: corpus.classes[label] for name, label in zip(corpus.ids, corpus.labels, strict=True)}
    shutil.rmtree(folder / "target")
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("id", "label"), *label_of.items()])
    return label_of


def test_the_speaker_protocol_gives_the_published_sizes():
    """With the real number of utterances of every speaker."""
    speakers = [name for name, counts in IEMOCAP_SPEAKERS.items() for _ in range(sum(counts))]
    assert len(speakers) == 5531
    folds = speaker_folds(speakers)
    assert list(folds) == list(range(1, 11))
    names = np.array(speakers)
    for session, (female, male, train) in SESSIONS.items():
        odd, even = folds[2 * session - 1], folds[2 * session]
        assert [len(odd[split]) for split in ("train", "val", "test")] == [train, female, male]
        assert [len(even[split]) for split in ("train", "val", "test")] == [train, male, female]
        assert set(names[odd["test"]]) == {f"{session}M"} == set(names[even["val"]])
        assert not set(odd["train"]) & {*odd["val"], *odd["test"]}
    assert sorted(np.concatenate([fold["test"] for fold in folds.values()])) == list(range(5531))


def test_generated_folds_equal_those_of_the_release(tiny, iemocap):
    """The target folders of the generated corpus follow the protocol, so nothing changes without them."""
    label_of = move_labels_to_csv(iemocap)
    with read_corpus(tiny["iemocap_mmin"], settings()) as released, read_corpus(iemocap, settings()) as corpus:
        assert corpus.ids == released.ids
        assert [corpus.classes[label] for label in corpus.labels] == [label_of[name] for name in corpus.ids]
        for number, fold in released.folds.items():
            for split, index in fold.items():
                assert set(corpus.folds[number][split]) == set(index)
        assert any("speaker protocol" in note for note in corpus.notes)
        assert any("folder target" in note for note in released.notes)


def test_the_class_order_is_identified_and_reported(tiny, step):
    described = step.build(tiny["iemocap_mmin"], "iemocap_mmin")
    listed_classes = ", ".join(f"{number} = {name}" for number, name in enumerate(IEMOCAP_CLASSES))
    assert any(f"identified by their sizes: label {listed_classes}." in note for note in described["notes"])
    named = step.build(tiny["iemocap_mmin"], "iemocap_mmin", classes=["w", "x", "y", "z"])
    assert named["classes"] == ["w", "x", "y", "z"]
    assert not any("identified by their sizes" in note for note in named["notes"])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_features_of_every_float_width_are_read(iemocap, step, dtype):
    with h5py.File(iemocap / "V/denseface.h5", "r+") as file:
        expected = {}
        for name in list(file):
            values = file[name][()].astype(dtype)
            del file[name]
            file[name] = values
            expected[name] = values.astype(np.float32)
    step.build(iemocap, "iemocap_mmin")
    with FeatureStore(step.output) as store:
        for index, name in enumerate(store.ids):
            np.testing.assert_array_equal(store.utterance("v", index), expected[name])


def training_frames(folder: Path, number: int) -> np.ndarray:
    names = np.load(folder / f"target/{number}/trn_int2name.npy")[:, 0]
    with h5py.File(folder / "A/comparE.h5") as file:
        return np.concatenate([file[name.decode()][()] for name in names])


def test_statistics_come_from_the_release_or_the_training_split(iemocap, step):
    statistics = iemocap / "A/comparE_mean_std.h5"
    with h5py.File(statistics, "r+") as file:
        file["3/mean"][...] = 7.0
        file["3/std"][...] = np.array([0.0, 1, 2, 3, 4, 5])
    step.build(iemocap, "iemocap_mmin")
    with FeatureStore(step.output) as store:
        mean, std = store.normalisation(3, "a")
        np.testing.assert_array_equal(mean, np.full(6, 7.0))
        np.testing.assert_array_equal(std, [1, 1, 2, 3, 4, 5])
    statistics.unlink()
    described = step.build(iemocap, "iemocap_mmin")
    assert any("computed by the workflow" in note for note in described["notes"])
    with FeatureStore(step.output) as store:
        for number in (3, 10):
            frames = training_frames(iemocap, number)
            mean, std = store.normalisation(number, "a")
            np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-6)
            np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-6)


def test_utterance_norm_standardises_each_utterance(iemocap, step):
    with h5py.File(iemocap / "A/comparE.h5", "r+") as file:
        name = sorted(file)[0]
        file[name][:, 2] = 4.0
        raw = {name: file[name][()] for name in file}
    described = step.build(iemocap, "iemocap_mmin", options={"norm": "utt"})
    assert any("of each utterance" in note for note in described["notes"])
    with FeatureStore(step.output) as store:
        assert store.normalisation(1, "a") is None
        assert store.corruption_space("a") is None
        for index, name in enumerate(store.ids):
            deviation = raw[name].std(axis=0, ddof=1)
            expected = (raw[name] - raw[name].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
            np.testing.assert_allclose(store.utterance("a", index), expected, rtol=1e-5, atol=1e-6)
        assert not store.utterance("a", 0)[:, 2].any()
        with h5py.File(iemocap / "V/denseface.h5") as file:
            np.testing.assert_array_equal(store.utterance("v", 0), file[store.ids[0]][()].astype(np.float32))


@pytest.mark.parametrize("count", [2, 3, 30])
def test_utterance_norm_equals_the_published_loader(count):
    """MMIN's loader: ``(x - torch.mean(x, 0)) / torch.std(x, 0)``, a deviation of 0 replaced by 1."""
    frames = torch.from_numpy(np.random.default_rng(count).normal(3, 2, (count, 5)))
    frames[:, 2] = 7.0
    deviation = torch.std(frames, 0)
    deviation[deviation == 0] = 1
    expected = (frames - torch.mean(frames, 0)) / deviation
    np.testing.assert_allclose(standardise(frames.numpy()), expected.numpy(), atol=1e-12)


def test_utterance_norm_of_a_single_frame_is_zero():
    frames = np.array([[1.0, -3.0, np.inf]])
    standardised = standardise(frames)
    assert standardised[0, :2].tolist() == [0, 0]
    assert np.isnan(standardised[0, 2])  # repaired and counted when stored


def test_a_note_states_that_the_release_counts_excited_as_happy(tiny, step):
    real = step.build(tiny["iemocap_mmin"], "iemocap_mmin", synthetic=False)
    assert any("happy includes the utterances that IEMOCAP labels excited" in note for note in real["notes"])
    made = step.build(tiny["iemocap_mmin"], "iemocap_mmin")
    assert not any("excited" in note for note in made["notes"])


def test_labels_in_csv_can_be_numbers_of_named_classes(iemocap):
    label_of = move_labels_to_csv(iemocap)
    names = ["sad", "neutral", "angry", "happy"]
    with (iemocap / "labels.csv").open("w", newline="") as stream:
        rows = [(identifier, names.index(label)) for identifier, label in label_of.items()]
        csv.writer(stream).writerows([("id", "label"), *rows])
    with read_corpus(iemocap, settings(classes=names)) as corpus:
        assert [corpus.classes[label] for label in corpus.labels] == [label_of[name] for name in corpus.ids]


def test_the_report_contains_published_and_actual_sizes(tiny, step, capsys):
    described = step.build(tiny["iemocap_mmin"], "iemocap_mmin", paper_name="IEMOCAP", synthetic=False)
    assert described["published"]["sizes"] == {"train": 4446, "val": 528, "test": 557}
    output = capsys.readouterr().err
    fold = described["folds"][0]
    assert f"fold 1 train: {fold['train']['utterances']} [paper 4446]" in output
    assert "happy" in output
    assert "[paper 1636]" in output
    warnings = " ".join(described["warnings"])
    assert "published sizes train 4446, val 528, test 557" in warnings
    assert json.dumps(described)


def test_speakers_come_from_the_last_token():
    assert speaker("Ses01F_impro01_M005") == "1M"
