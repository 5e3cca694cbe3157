"""Intervals, comparisons, ranks and confusion counts beside scikit-learn, published examples and plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from sklearn.metrics import confusion_matrix
from synthetic_predictions import make_predictions, write_run
from synthetic_results import run_step

from nmer.report_settings import ReportSettings
from nmer.results.predictions import read_runs
from nmer.results.replicates import COLUMNS, resample
from nmer.results.statistics import comparisons, confusion, intervals, ranks

SETTINGS = ReportSettings.from_mapping(
    {
        "datasets": {"corpus": {}},
        "systems": ["nmer", "men"],
        "snr_db": {"gaussian": [-10]},
        "reference_noise": "gaussian",
    }
)


def make_cells(values: dict[tuple[str, int], float], condition: str = "avg6", regime: str = "six") -> pd.DataFrame:
    """Cells of WA with these values by (system, level)."""
    rows = [
        ("corpus", system, regime, "gaussian", level, condition, "WA", value)
        for (system, level), value in values.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"snr_db": "Int64"})


def test_intervals_hold_the_middle_ninety_five_percent():
    cells = make_cells({("nmer", -10): 0.5, ("men", -10): 0.4})
    replicates = np.stack([np.linspace(0, 1, 1001), np.linspace(0.2, 0.4, 1001)]).astype(np.float32)
    found = intervals(cells, replicates)
    np.testing.assert_allclose(found[["low", "high"]], [[0.025, 0.975], [0.205, 0.395]], atol=1e-6)


def test_a_comparison_is_of_paired_replicates():
    cells = make_cells({("men", -10): 0.40, ("nmer", -10): 0.50})
    noise = np.random.default_rng(0).normal(size=(2, 4000))
    shared, own = 0.1 * noise[0], 0.01 * noise[1]
    (row,) = comparisons(cells, np.stack([0.4 + shared, 0.5 + shared + own]), ["nmer", "men"]).itertuples()
    assert (row.system, row.condition, row.difference) == ("men", "avg6", pytest.approx(0.1))
    # What both share is gone from the difference: its spread is 0.01 and not 0.14.
    assert (row.low, row.high) == (pytest.approx(0.1 - 0.0196, abs=1e-3), pytest.approx(0.1 + 0.0196, abs=1e-3))
    assert row.effect == pytest.approx(2 * math.asin(math.sqrt(0.5)) - 2 * math.asin(math.sqrt(0.4)))
    assert row.p_value < 1e-15


def test_p_values_are_of_a_normal_distribution_and_adjusted_by_holm():
    names = ["men", "mctn", "mmin"]
    steps = dict(zip(names, (1.0, 2.0, 3.0), strict=True))  # differences in standard deviations
    cells = make_cells({("nmer", -10): 0.5} | {(name, -10): 0.5 - 0.01 * step for name, step in steps.items()})
    drawn = np.concatenate([np.zeros((1, 5000)), np.random.default_rng(1).normal(0, 0.01, (3, 5000))])
    found = comparisons(cells, drawn, ["nmer", *names]).set_index("system")
    two_sided = {"men": 0.3173, "mctn": 0.0455, "mmin": 0.0027}
    for name, p_value in two_sided.items():
        assert found.loc[name, "p_value"] == pytest.approx(p_value, rel=0.15)
    p = found["p_value"]
    assert found.loc["mmin", "p_adjusted"] == pytest.approx(3 * p["mmin"])
    assert found.loc["mctn", "p_adjusted"] == pytest.approx(2 * p["mctn"])
    assert found.loc["men", "p_adjusted"] == pytest.approx(p["men"])


def test_only_systems_beside_nmer_at_the_same_place_are_compared():
    cells = make_cells({("men", -10): 0.4, ("men", -20): 0.3, ("nmer", -10): 0.5})
    assert list(comparisons(cells, np.random.rand(3, 9), ["nmer", "men"])["snr_db"]) == [-10]
    assert comparisons(cells[:2], np.random.rand(2, 9), ["men"]).empty
    all_noisy = make_cells({("mmin", -10): 0.4, ("nmer", -10): 0.5}, "none", "all")
    assert list(comparisons(all_noisy, np.random.rand(2, 9), ["nmer", "mmin"])["condition"]) == ["none"]
    # Models trained for the six conditions say nothing of the all-noisy table.
    six = make_cells({("mmin", -10): 0.4, ("nmer", -10): 0.5}, "none", "six")
    assert comparisons(six, np.random.rand(2, 9), ["nmer", "mmin"]).empty


def test_equal_systems_have_no_difference():
    cells = make_cells({("men", -10): 0.5, ("nmer", -10): 0.5})
    (row,) = comparisons(cells, np.tile(np.random.rand(9), (2, 1)), ["nmer", "men"]).itertuples()
    assert (row.difference, row.p_value, row.p_adjusted, row.effect) == (0, 1, 1, 0)


def make_scores(table: np.ndarray, systems: list[str]) -> pd.DataFrame:
    """Scores (blocks, systems), a fold per block, equal in all conditions and repeats."""
    return pd.DataFrame(
        [
            ("corpus", system, "six", "gaussian", -10, condition, fold, repeat, metric, table[fold - 1, column])
            for column, system in enumerate(systems)
            for fold in range(1, len(table) + 1)
            for condition in ("a", "v", "l", "av", "al", "vl")
            for repeat in (1, 2)
            for metric in ("WA", "UA")
        ],
        columns=["dataset", "system", "regime", "noise", "snr_db", "condition", "fold", "repeat", "metric", "value"],
    )


# Demsar 2006, Table 6: AUC of C4.5, with m, with cf, with both, on 14 datasets.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_ranks_and_the_critical_difference_are_those_of_a_published_example():
    names = ["c45", "m", "cf", "both"]
    found = ranks(make_scores(DEMSAR, names), names)
    here = found[found["metric"] == "WA"].set_index("system")
    assert here["rank"].round(3).to_dict() == {"both": 1.964, "m": 2.000, "cf": 2.893, "c45": 3.143}
    assert (here["blocks"] == 14).all()
    assert here["critical_difference"].iloc[0] == pytest.approx(1.25, abs=0.005)
    # The paper's chi-square, 9.28, has no correction for its 78 ties, which scipy makes.
    assert here["friedman_p"].iloc[0] == pytest.approx(chi2.sf(9.28 / (1 - 78 / (14 * (4**3 - 4))), 3), rel=0.01)


def test_ranks_need_three_systems_and_two_blocks_and_only_whole_blocks():
    names = ["c45", "m", "cf", "both"]
    scores = make_scores(DEMSAR, names)
    assert ranks(scores, names[:2]).empty
    assert ranks(scores[scores["fold"] == 1], names).empty
    lacking = scores[~((scores["system"] == "m") & (scores["fold"] < 5))]
    assert set(ranks(lacking, names)["blocks"]) == {10}


def test_confusion_counts_are_those_of_scikit_learn(tmp_path):
    predictions = make_predictions(folds=2, repeats=2, utterances=30)
    found = confusion(read_runs([write_run(tmp_path, predictions, "nmer")]))
    for condition, part in predictions.groupby("condition"):
        guesses = part.filter(like="prob_").to_numpy().argmax(axis=1)
        here = found[found["condition"] == condition]
        assert list(here["label"][:3]) == ["class0"] * 3
        counted = here["count"].to_numpy().reshape(3, 3)
        np.testing.assert_array_equal(counted, confusion_matrix(part["label"], guesses))


def test_the_step_writes_every_file(tmp_path):
    paths = [
        write_run(tmp_path, make_predictions(utterances=20, seed=s), name, regime)
        for s, (name, regime) in enumerate([("nmer", "six"), ("men", "clean")])
    ]
    output = tmp_path / "statistics"
    run_step("compare_systems.py", "--settings", SETTINGS.to_json(), "--scores", *paths, "--output", output)
    written = {path.name: path for path in output.iterdir()}
    assert set(written) == {"replicates.h5", "intervals.csv", "comparisons.csv", "ranks.csv", "confusion.csv"}
    assert pd.read_csv(written["comparisons.csv"])["metric"].tolist() == ["WA", "UA", "F1", "WF1"]
    assert pd.read_csv(written["ranks.csv"]).empty
    cells, _replicates = resample(read_runs(paths), 1)
    assert len(pd.read_csv(written["intervals.csv"])) == len(cells)
