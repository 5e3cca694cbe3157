"""Noisy embeddings: measured SNR, additional draws, and kinds without an SNR."""

from __future__ import annotations

import csv
import math

import h5py
import numpy as np
import pytest
import small_store
from small_store import DIMS, IDS, make_noisy, make_store, read_levels, read_noisy, utterance


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("measured") / "small.h5")


def read_measured(output) -> dict[str, dict[str, str]]:
    with output.with_name(f"{output.stem}_measured.csv").open(newline="") as stream:
        return {row["modality"]: row for row in csv.DictReader(stream)}


def corruption_space() -> dict[str, tuple]:
    acoustic = np.concatenate([utterance("a", name) for name in IDS]).astype(np.float64)
    return {"a": (acoustic.mean(axis=0), acoustic.std(axis=0))}


@pytest.mark.parametrize(
    ("kind", "options"),
    # At the low frequency some utterances have no noise.
    [("gaussian", {}), ("impulse", {}), ("impulse", {"frequency": 0.02}), ("autoregressive", {})],
)
def test_the_measured_snr_is_that_of_the_noise_in_the_files(features, tmp_path, kind, options):
    output = make_noisy(features, tmp_path, kind, options=options)
    noisy, levels, measured = read_noisy(output), read_levels(output.with_suffix(".csv")), read_measured(output)
    for m in DIMS:
        kept = float(levels[m]["alpha_bar"])
        mean, std = corruption_space().get(m, (0.0, 1.0))
        clean = [(utterance(m, name).astype(np.float64) - mean) / std for name in IDS]
        added = [
            (noisy[m][name].astype(np.float64) - mean) / std - math.sqrt(kept) * values
            for name, values in zip(IDS, clean, strict=True)
        ]
        everything = np.concatenate([values.ravel() for values in clean])
        noise = np.concatenate([values.ravel() for values in added])
        expected = 10 * math.log10(kept * everything.var() / np.mean(noise**2))
        assert float(measured[m]["measured_db"]) == pytest.approx(expected, abs=0.02)
        each = [
            10 * math.log10(kept * values.var() / np.mean(part**2))
            for values, part in zip(clean, added, strict=True)
            if np.mean(part**2) > 1e-6
        ]
        assert int(measured[m]["utterances_without_snr"]) == len(IDS) - len(each)
        assert (len(each) < len(IDS)) == ("frequency" in options)
        found = [float(measured[m][f"utterance_{name}_db"]) for name in ("low", "median", "high")]
        np.testing.assert_allclose(found, np.percentile(each, (5, 50, 95)), atol=0.05)


def test_additional_draws_differ_and_leave_the_first_unchanged(features, tmp_path):
    alone, three = make_noisy(features, tmp_path / "one"), make_noisy(features, tmp_path / "three", draws=3)
    with h5py.File(alone) as first, h5py.File(three) as several:
        for m in DIMS:
            assert set(first[m]) == {"values"}
            assert set(several[m]) == {"values", "values_draw1", "values_draw2"}
            np.testing.assert_array_equal(first[m]["values"], several[m]["values"])
            draws = [several[m][name][()] for name in ("values", "values_draw1", "values_draw2")]
            assert (draws[0] != draws[1]).all()
            assert (draws[1] != draws[2]).all()
    assert read_measured(alone) == read_measured(three)


@pytest.mark.parametrize(("kind", "neutral"), [("zero", 0.0), ("missing", None)])
def test_kinds_without_an_snr_replace_the_features_and_leave_the_level_empty(features, tmp_path, kind, neutral):
    output = make_noisy(features, tmp_path, kind, snr_db=None)
    noisy = read_noisy(output)
    for m in DIMS:
        expected = corruption_space()[m][0] if neutral is None and m == "a" else 0.0
        for name in IDS:
            np.testing.assert_allclose(noisy[m][name], np.broadcast_to(expected, noisy[m][name].shape), atol=1e-4)
        for row, columns in (
            (read_levels(output.with_suffix(".csv"))[m], ("snr_db", "T", "alpha_bar", "attained_db", "effective_db")),
            (read_measured(output)[m], ("snr_db", "measured_db", "utterance_median_db")),
        ):
            assert [row[column] for column in columns] == [""] * len(columns)
    with h5py.File(output) as file:
        assert "measured_db" not in file["a"].attrs


def test_dropped_frames_do_not_depend_on_order_or_neighbours(features, tmp_path):
    noisy = read_noisy(make_noisy(features, tmp_path / "all", "drop_frames", snr_db=None))
    order = ("u5", "u2", "Ü1")
    few = make_store(tmp_path / "few.h5", order)
    found = read_noisy(make_noisy(few, tmp_path / "few", "drop_frames", snr_db=None), order)
    kept, lost = 0, 0
    for m in "vl":
        for name in order:
            np.testing.assert_array_equal(found[m][name], noisy[m][name])
            rows = found[m][name].any(axis=1)
            np.testing.assert_array_equal(found[m][name][rows], utterance(m, name)[rows])
            kept, lost = kept + rows.sum(), lost + (~rows).sum()
    assert kept > 0
    assert lost > 0


def test_a_custom_name_of_a_kind_does_not_change_its_noise(features, tmp_path):
    plain = read_noisy(make_noisy(features, tmp_path / "plain", "impulse", options={"frequency": 0.5}))
    settings = {"kind": "impulse", "options": {"frequency": 0.5}}
    named = read_noisy(make_noisy(features, tmp_path / "named", "crackle", **settings))
    for m in DIMS:
        for name in IDS:
            np.testing.assert_array_equal(plain[m][name], named[m][name])


def test_utterances_without_variance_are_counted_and_excluded_from_the_percentiles(features, tmp_path, monkeypatch):
    silent = ("u2", "u5")

    def with_silence(modality, name):
        values = utterance(modality, name)
        return np.zeros_like(values) if modality == "l" and name in silent else values

    assert {
        row["utterances_without_snr"] for row in read_measured(make_noisy(features, tmp_path / "all")).values()
    } == {"0"}
    monkeypatch.setattr(small_store, "utterance", with_silence)
    measured = read_measured(make_noisy(make_store(tmp_path / "silent.h5"), tmp_path / "silent"))
    assert {m: row["utterances_without_snr"] for m, row in measured.items()} == {"a": "0", "v": "0", "l": "2"}
    assert float(measured["l"]["utterance_low_db"]) > -100
