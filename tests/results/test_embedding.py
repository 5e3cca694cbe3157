"""Algorithm 2 and Figure 3: distances with known values, and the step on a small store."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from synthetic_results import draw_figure, run_step

from nmer.errors import DataError
from nmer.results.embedding import choose, embed, flatten, pair_distance
from nmer.results.feature_pairs import read_pairs, read_test_utterances


@pytest.fixture
def clusters():
    generator = np.random.default_rng(0)
    return generator.normal(size=(40, 30)) + 6 * generator.normal(size=(4, 30))[np.arange(40) % 4]


def test_equal_sets_are_embedded_at_the_same_points(clusters):
    plane = embed(clusters, clusters)
    assert plane.raw_distance == 0
    assert plane.tsne_distance < 0.02 * plane.original.std()


def test_the_raw_distance_equals_the_closed_form(clusters):
    # A shift by the same amount in every dimension is the distance per dimension.
    assert embed(clusters, clusters + 0.7).raw_distance == pytest.approx(0.7)
    # Gaussian noise of standard deviation s has an expected distance per dimension of s (1 - 1 / (4 dim) + ...).
    noise = 0.3 * np.random.default_rng(1).normal(size=(200, 2000))
    assert pair_distance(noise, np.zeros_like(noise)) / np.sqrt(2000) == pytest.approx(0.3, rel=5e-3)


def test_the_embedding_is_reproducible_and_joint(clusters):
    noisy = clusters + np.random.default_rng(2).normal(size=clusters.shape)
    one, two = embed(clusters, noisy), embed(clusters, noisy)
    np.testing.assert_array_equal(one.original, two.original)
    assert one.tsne_distance == two.tsne_distance == pytest.approx(pair_distance(one.original, one.noisy))
    assert one.original.shape == one.noisy.shape == (40, 2)


def test_few_utterances_lower_the_perplexity_and_one_is_an_error(clusters):
    assert np.isfinite(embed(clusters[:3], clusters[:3] + 1).tsne_distance)
    with pytest.raises(DataError, match="two test utterances"):
        embed(clusters[:1], clusters[:1])


def test_sequences_are_padded_and_cut():
    flat = flatten([np.ones((2, 3)), np.full((5, 3), 2.0)], frames=4)
    assert flat.shape == (2, 12)
    assert flat[0].tolist() == [1] * 6 + [0] * 6
    assert flat[1].tolist() == [2] * 12


def test_the_sample_depends_only_on_seed_and_dataset():
    positions = np.arange(100, 400)
    sample = choose(positions, "iemocap")
    np.testing.assert_array_equal(sample, choose(positions, "iemocap"))
    assert len(set(sample)) == 128
    assert set(sample) <= set(positions)
    assert (np.diff(sample) > 0).all()
    assert not np.array_equal(sample, choose(positions, "iemocap", seed=1))
    np.testing.assert_array_equal(choose(positions[:50], "iemocap"), positions[:50])


@pytest.fixture
def store(tmp_path):
    """A store of 30 utterances of 3 to 9 frames with standardised ``a``, and a noisy copy shifted by 2 units."""
    generator = np.random.default_rng(3)
    lengths = generator.integers(3, 10, 30)
    lengths[0] = 9
    offset = np.concatenate([[0], np.cumsum(lengths)])
    with h5py.File(tmp_path / "x.h5", "w") as clean, h5py.File(tmp_path / "noisy.h5", "w") as noisy:
        clean["utterance/id"] = [f"utterance{i}" for i in range(30)]
        clean["fold/1/test"] = np.arange(29, 9, -1)
        for m, dim in (("a", 4), ("v", 5), ("l", 6)):
            values = generator.normal(size=(offset[-1], dim)).astype(np.float32)
            clean[f"{m}/values"], clean[f"{m}/offset"] = values, offset
            std = np.full(dim, 3.0)
            if m == "a":
                clean["a/corruption/mean"], clean["a/corruption/std"] = np.ones(dim), std
            noisy[f"{m}/values"] = values + (2 * std if m == "a" else 2)
    return tmp_path


def test_a_standardised_modality_is_compared_in_its_original_units(store):
    positions, names = read_test_utterances(store / "x.h5")
    assert names[0] == "utterance10"
    for modality in "av":
        pairs, frames = read_pairs(store / "x.h5", store / "noisy.h5", modality, positions, 50)
        assert frames == 9, "never longer than the longest utterance of the dataset"
        difference = np.concatenate(pairs.noisy) - np.concatenate(pairs.original)
        np.testing.assert_allclose(difference, 2, rtol=1e-5)


def test_files_that_do_not_belong_together_are_refused(store):
    with h5py.File(store / "noisy.h5", "r+") as noisy:
        del noisy["a/values"]
        noisy["a/values"] = np.zeros((3, 4))
    with pytest.raises(DataError, match="shape differs"):
        read_pairs(store / "x.h5", store / "noisy.h5", "a", np.arange(3), 50)
    with pytest.raises(DataError, match="HDF5"):
        read_test_utterances(store / "absent.h5")


def test_points_distances_and_figure_are_equal_the_second_time(store):
    settings = json.dumps({"dataset": "tiny", "noise": "gaussian", "snr_db": -10, "samples": 12})
    for folder in ("one", "two"):
        out = store / folder
        files = ("--features", store / "x.h5", "--noisy", store / "noisy.h5")
        made = ("--points", out / "points.csv", "--distances", out / "distances.csv")
        run_step("embed.py", "--settings", settings, *files, *made)
        draw_figure("figure3", out / "figure3_tiny", "tiny", points=[made[1]], distances=[made[3]])
    for name in ("points.csv", "distances.csv", "figure3_tiny.png", "figure3_tiny.pdf", "figure3_tiny.csv"):
        assert (store / "one" / name).read_bytes() == (store / "two" / name).read_bytes()
    distances = pd.read_csv(store / "one" / "distances.csv").set_index("modality")
    assert list(distances.index) == ["a", "v", "l", "mean"]
    assert distances.loc["mean", "raw_distance"] == pytest.approx(distances["raw_distance"].iloc[:3].mean(), abs=1e-6)
    points = pd.read_csv(store / "one" / "points.csv")
    assert list(points) == ["dataset", "noise", "snr_db", "modality", "kind", "utterance", "x", "y"]
    assert points.groupby(["modality", "kind"])["utterance"].nunique().eq(12).all()
    original = points[(points["modality"] == "a") & (points["kind"] == "original")].reset_index()
    noisy = points[(points["modality"] == "a") & (points["kind"] == "noisy")].reset_index()
    expected = np.hypot(original["x"] - noisy["x"], original["y"] - noisy["y"]).mean()
    assert distances.loc["a", "tsne_distance"] == pytest.approx(expected, abs=1e-4)
