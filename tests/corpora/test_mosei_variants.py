"""The variants of CMU-MOSEI's pickles: seven-column labels, MMSA's aligned and unaligned files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from nmer.corpora.store import FeatureStore

SPLITS = {"train": 12, "valid": 8, "test": 8}


def sentiments(count: int) -> np.ndarray:
    return np.linspace(-3, 3, count).astype(np.float32)


def content(steps: dict[str, int], rng: np.random.Generator) -> dict[str, dict]:
    """Splits of features without any zero row, and ids of one video per two utterances."""
    dims = {"audio": 4, "vision": 3, "text": 5}
    made = {}
    for split, count in SPLITS.items():
        made[split] = {key: rng.normal(1, 0.3, (count, steps[key], dim)) for key, dim in dims.items()}
        made[split]["id"] = [f"{split}{index // 2}$_${index % 2}" for index in range(count)]
    return made


def save(folder: Path, splits: dict) -> Path:
    path = folder / "corpus.pkl"
    path.write_bytes(pickle.dumps(splits))
    return path


def test_seven_columns_of_labels_and_byte_rows_as_ids(tmp_path, step):
    """MultiBench's mosei_raw: sentiment is the first label, ids are rows of video, start and end as bytes."""
    splits = content(dict.fromkeys(("audio", "vision", "text"), 6), np.random.default_rng(0))
    for name, split in splits.items():
        count = SPLITS[name]
        emotions = np.full((count, 1, 6), 3.0)
        split["labels"] = np.concatenate([sentiments(count)[:, None, None], emotions], axis=2)
        split["id"] = np.array([[f"{name}{i // 2}", f"{i}.5", f"{i + 1}.25"] for i in range(count)], dtype="S")
    described = step.build(save(tmp_path, splits), "mosei_pickle")
    with FeatureStore(step.output) as store:
        assert store.ids[:2] == ["train0[0.5-1.25]", "train0[1.5-2.25]"]
        assert store.speakers[:3] == ["train0", "train0", "train1"]
        expected = np.concatenate([sentiments(count) >= 0 for count in SPLITS.values()])
        np.testing.assert_array_equal(store.labels, expected)
    found = np.concatenate([sentiments(count) for count in SPLITS.values()])
    assert described["notes"] == [
        "Variant multibench: labels from 'labels'; aligned, 6 steps, cut where the text starts and padded with zeros "
        "on the right.",
        "Classes: 0 = negative (sentiment below 0), 1 = positive (0 and above); "
        f"sentiments range from {found.min():g} to {found.max():g}.",
    ]


def mmsa(splits: dict) -> dict:
    for name, split in splits.items():
        count = SPLITS[name]
        split["regression_labels"] = sentiments(count)
        split["classification_labels"] = np.full(count, 9.0)
        split["annotations"] = ["Positive"] * count
        split["raw_text"] = np.array(["some words"] * count, dtype=object)
        split["text_bert"] = np.full((count, 3, 6), np.nan)
    return splits


def test_mmsa_aligned_ignores_other_keys(tmp_path, step):
    splits = mmsa(content(dict.fromkeys(("audio", "vision", "text"), 6), np.random.default_rng(1)))
    splits["train"]["audio"][0, 2, 1] = -np.inf
    splits["train"]["text"][1, :2] = 0
    described = step.build(save(tmp_path, splits), "mosei_pickle")
    assert described["repairs"]["a"] == {"nan": 0, "+inf": 0, "-inf": 1}
    assert described["dropped"] == {}
    with FeatureStore(step.output) as store:
        assert store.ids[0] == "train0$_$0"
        assert store.speakers[:3] == ["train0", "train0", "train1"]
        for m, key in (("a", "audio"), ("v", "vision"), ("l", "text")):
            expected = splits["train"][key][1].astype(np.float32)
            np.testing.assert_array_equal(store.utterance(m, 1), np.vstack([expected[2:], np.zeros_like(expected[:2])]))
        assert store.utterance("a", 0)[2, 1] == 0


def test_mmsa_unaligned_keeps_the_length_of_each_modality(tmp_path, step):
    steps = {"audio": 11, "vision": 9, "text": 6}
    splits = mmsa(content(steps, np.random.default_rng(2)))
    generator = np.random.default_rng(3)
    for name, split in splits.items():
        for key in ("audio", "vision"):
            lengths = generator.integers(1, steps[key] + 1, SPLITS[name])
            split[f"{key}_lengths"] = lengths.tolist()
            for row, length in enumerate(lengths):
                split[key][row, length:] = 0
    splits["test"]["audio"][3] = 0
    splits["test"]["audio_lengths"][3] = 0
    splits["valid"]["vision"][2] = 1
    splits["valid"]["vision_lengths"][2] = 4
    described = step.build(save(tmp_path, splits), "mosei_pickle")
    with FeatureStore(step.output) as store:
        index = 0
        for name, split in splits.items():
            for row in range(SPLITS[name]):
                for m, key in (("a", "audio"), ("v", "vision")):
                    length = max(1, split[f"{key}_lengths"][row])
                    np.testing.assert_array_equal(
                        store.utterance(m, index), split[key][row, :length].astype(np.float32)
                    )
                assert len(store.utterance("l", index)) == 6
                index += 1
    warnings = " ".join(described["warnings"])
    assert "test.audio: 1 utterances have length 0" in warnings
    assert "valid.vision: 1 utterances have values beyond their length" in warnings
    assert "not aligned" in described["notes"][0]


def test_without_lengths_unaligned_modalities_start_at_their_first_frame(tmp_path, step):
    splits = content({"audio": 8, "vision": 7, "text": 6}, np.random.default_rng(4))
    for name, split in splits.items():
        split["labels"] = sentiments(SPLITS[name])[:, None, None]
        split["audio"][:, :3] = 0
        split["text"][:, :1] = 0
    step.build(save(tmp_path, splits), "mosei_pickle")
    with FeatureStore(step.output) as store:
        for m, key, start in (("a", "audio", 3), ("v", "vision", 0), ("l", "text", 1)):
            expected = np.roll(splits["train"][key][4].astype(np.float32), -start, axis=0)
            np.testing.assert_array_equal(store.utterance(m, 4), expected)


def test_a_variant_can_be_named(tmp_path, step):
    """In a file with both types of labels, the option decides."""
    splits = mmsa(content(dict.fromkeys(("audio", "vision", "text"), 6), np.random.default_rng(5)))
    for name, split in splits.items():
        split["labels"] = -sentiments(SPLITS[name])[:, None, None]
    path = save(tmp_path, splits)
    for variant, sign in (("mmsa", 1), ("multibench", -1)):
        step.build(path, "mosei_pickle", options={"variant": variant})
        with FeatureStore(step.output) as store:
            expected = np.concatenate([sign * sentiments(count) >= 0 for count in SPLITS.values()])
            np.testing.assert_array_equal(store.labels, expected)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "audio_lengths",
            [3] * 11,
            "train.audio_lengths: holds 11 numbers. It must hold 12 whole numbers",
        ),
        ("audio_lengths", [12] * 12, "train.audio_lengths: holds 12. It must hold 12 whole numbers from 0 to 11"),
        ("audio_lengths", [0.5] * 12, "train.audio_lengths: holds 0.5. It must hold 12 whole numbers"),
        ("regression_labels", [0.0] * 11, "train.regression_labels: has shape (11,). It must hold 12 numbers"),
        ("audio", np.ones((12, 11)), "train.audio: has shape (12, 11)"),
        ("audio", np.ones((12, 11, 5)), "'audio' differs in width between the splits (train 5, valid 4, test 4)"),
        ("audio", "noise", "train.audio: holds a str where numbers are expected"),
        ("id", [b"\xff\xfe"] * 12, "train.id: the id b'\\xff\\xfe' is not UTF-8"),
        ("id", 5, "train.id: holds a int. Ids must be a list or an array of text"),
    ],
)
def test_invalid_unaligned_files_are_named(tmp_path, step, key, value, message):
    splits = mmsa(content({"audio": 11, "vision": 9, "text": 6}, np.random.default_rng(6)))
    splits["train"][key] = value
    assert message in step.refuse(save(tmp_path, splits), "mosei_pickle")
