"""Replacements of infinities: known ones count as infinite, others give a warning."""

from __future__ import annotations

import pickle
import sys

import add_noise
import h5py
import numpy as np
import pytest
import torch

from nmer import command
from nmer.corpora.layouts.iemocap_mmin import standardise
from nmer.corpora.moments import Moments, typical_frame
from nmer.corpora.outliers import Outliers
from nmer.corpora.repair import repair
from nmer.errors import DataError
from nmer.finite import all_finite
from nmer.noise.features import corrupt_features

BFLOAT16 = float(torch.finfo(torch.bfloat16).max)
EXTREMES = [np.finfo(np.float16).max, BFLOAT16, 3.4e38, np.finfo(np.float32).max, np.finfo(np.float64).max]


@pytest.mark.parametrize(
    ("extreme", "dtype"), [(e, d) for e in EXTREMES for d in (np.float32, np.float64) if e <= np.finfo(d).max]
)
def test_the_extremes_of_float_types_count_as_infinite(extreme, dtype):
    repaired, counts = repair(np.array([1.5, -extreme, extreme, 2.5], dtype))
    assert repaired.tolist() == [1.5, 0, 0, 2.5]
    assert counts == {"nan": 0, "+inf": 1, "-inf": 1}


def test_the_result_of_nan_to_num_counts_as_infinite():
    faults = [np.inf, -np.inf]
    stored = [np.nan_to_num(np.array(faults, dtype)) for dtype in (np.float16, np.float32, np.float64)]
    stored += [torch.nan_to_num(torch.tensor(faults, dtype=torch.bfloat16)).float().numpy()]
    for values in stored:
        assert repair(values)[1] == {"nan": 0, "+inf": 1, "-inf": 1}
        assert not all_finite(values)


@pytest.mark.parametrize("value", [65503, 65505, 65536, 1e30, -3e38])
def test_other_large_values_are_kept(value):
    assert repair(np.array([value], np.float64))[0].tolist() == [np.float32(value)]


def test_an_integer_is_not_an_extreme_of_a_float_type():
    assert repair(np.array([65504, 3], np.uint16))[0].tolist() == [65504, 3]
    assert all_finite(np.array([65504]))


def test_an_utterance_is_not_standardised_with_an_extreme():
    frames = np.array([[1, 1], [2, 2], [3, -3.4e38]], np.float32)
    standardised = standardise(frames)
    assert np.isfinite(standardised[:, 0]).all()
    assert not np.isfinite(standardised[:, 1]).any()  # as for -inf
    assert frames[2, 1] == np.float32(-3.4e38)


def test_features_in_memory_with_an_extreme_are_refused():
    values = np.ones((4, 2), np.float32)
    values[0, 0], values[1, 1] = 65504, 3
    with pytest.raises(DataError, match="largest value of a float type"):
        corrupt_features({"u": values}, dataset="d", modality="a")


def test_a_release_with_an_extreme_among_its_statistics_is_refused(iemocap, step):
    with h5py.File(iemocap / "A/comparE_mean_std.h5", "w") as file:
        for number in range(1, 11):
            file[f"{number}/mean"], file[f"{number}/std"] = np.zeros(6), np.full(6, np.finfo(np.float32).max)
    assert "6 finite numbers" in step.refuse(iemocap, "iemocap_mmin")


def test_extremes_change_neither_variance_nor_noise_level(mosei, step, tmp_path):
    path = tmp_path / "repaired.pkl"
    mosei["train"]["audio"][3, 4, 1] = -np.inf
    path.write_bytes(pickle.dumps(mosei))
    infinite = step.build(path, "mosei_pickle")
    for lowest in (-3.4e38, -65504):
        mosei["train"]["audio"][3, 4, 1] = lowest
        path.write_bytes(pickle.dumps(mosei))
        described = step.build(path, "mosei_pickle")
        assert described["repairs"] == infinite["repairs"]
        assert described["variance"] == infinite["variance"]
        assert described["warnings"] == infinite["warnings"]


# Values that may be valid


@pytest.mark.parametrize("lowest", [-1e30, -9999, 4000])
def test_a_few_values_that_make_most_of_the_variance_give_a_warning(mosei, step, tmp_path, lowest):
    path = tmp_path / "odd.pkl"
    mosei["valid"]["vision"][2, 5, :3] = lowest
    path.write_bytes(pickle.dumps(mosei))
    warnings = step.build(path, "mosei_pickle")["warnings"]
    (warning,) = [warning for warning in warnings if "of its variance" in warning]
    assert warning.startswith("Modality v: ")
    assert f"{np.float32(lowest):.4g}" in warning


@pytest.mark.parametrize("fill", [-999.0, -9999.0, 1e20, 9.96921e36, -1e4])
@pytest.mark.parametrize("standardised", [False, True])
def test_a_value_that_marks_missing_ones_gives_a_warning(fill, standardised):
    random = np.random.default_rng(0)
    frames = random.normal(size=(5000, 30)).astype(np.float32)
    missing = random.random(5000) < 0.1
    frames[missing] = fill
    found = Outliers()
    for block in np.array_split(frames, 7):
        found.add(block)
    (warning,) = found.warnings("v", Moments.of(frames, typical_frame(frames)), standardised)
    assert warning.startswith(f"Modality v: {30 * missing.sum()} of 150000 values are {np.float32(fill):.4g}, far from")


def test_warnings_of_a_standardised_modality_are_per_dimension(iemocap, step):
    with h5py.File(iemocap / "A/comparE.h5", "r+") as file:
        names = list(file)
        for name in names:  # long enough to allow one outlier
            frames = np.tile(file[name][()], (8, 1)) + np.random.default_rng(0).normal(size=(1, 6))
            del file[name]
            file[name] = frames
        file[names[0]][0, 2] = -1e25
    warnings = step.build(iemocap, "iemocap_mmin")["warnings"]
    (warning,) = [warning for warning in warnings if "most of the variance" in warning]
    assert "in 1 of 6 dimensions" in warning
    assert "-1e+25 in dimension 2" in warning


@pytest.mark.parametrize("seed", range(3))
def test_outliers_equal_a_search_through_all_values(seed):
    random = np.random.default_rng(seed)
    frames = (random.standard_t(1.2, (3000, 5)) * [1, 3, 1, 1, 9] + [0, 40, 0, -5, 0]).astype(np.float32)
    found = Outliers()
    for block in np.array_split(frames, 13):
        found.add(block)
    exact = frames.astype(np.float64)
    squares = np.sort(np.square(exact - exact.mean()).ravel())[::-1]
    shares = np.cumsum(squares[:10]) / squares.sum()
    warnings = found.warnings("v", Moments.of(frames, typical_frame(frames)), standardised=False)
    if shares[-1] > 0.5:
        fewest = int(np.flatnonzero(shares > 0.5)[0])
        assert f"{fewest + 1} of 15000 values make {shares[fewest]:.0%}" in warnings[0]
    else:
        assert warnings == []


@pytest.mark.parametrize("draw", ["normal", "laplace", "sparse", "clipped", "one-hot", "counts"])
def test_ordinary_features_give_no_warning(draw):
    random = np.random.default_rng(0)
    frames = {
        "normal": random.normal(3, 2, (500, 8)),
        "laplace": random.laplace(size=(500, 8)),
        "sparse": (random.random((500, 8)) < 0.02).astype(float),
        "clipped": random.laplace(size=(500, 8)).clip(-1, 1),
        "one-hot": np.eye(8)[random.integers(0, 8, 500)],
        "counts": random.poisson(0.05, (500, 8)),
    }[draw].astype(np.float32)
    for standardised in (False, True):
        found = Outliers()
        found.add(frames)
        assert found.warnings("a", Moments.of(frames, typical_frame(frames)), standardised) == []


def test_add_noise_warns(tmp_path, monkeypatch, capsys):
    values = np.random.default_rng(0).normal(size=(50, 10, 4)).astype(np.float32)
    values[3, 2, 1] = -1e20
    np.save(tmp_path / "x.npy", values)
    arguments = ["--input", tmp_path / "x.npy", "--modality", "a", "--snr-db", "-10", "--mode", "exact_abar"]
    monkeypatch.setattr(sys, "argv", ["add_noise.py", *map(str, arguments), "--output", str(tmp_path / "y.npy")])
    command.run(add_noise.main)
    assert "warning: Modality a: 1 of 2000 values make 100% of its variance" in capsys.readouterr().err
