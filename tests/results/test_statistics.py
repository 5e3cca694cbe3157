"""Compare intervals, comparisons, ranks and confusion counts with scikit-learn and published examples."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, friedmanchisquare, t
from sklearn.metrics import confusion_matrix
from synthetic_contributions import UNITS, make_contrasts
from synthetic_predictions import make_predictions, write_run
from synthetic_results import run_step

from nmer.corpora.corpus import Corpus, CorpusSettings
from nmer.corpora.store_writer import write_store
from nmer.report_settings import ReportSettings
from nmer.results.contrasts import ONE_REPEAT, SAME, Contrasts
from nmer.results.contributions import COLUMNS, measure
from nmer.results.predictions import read_runs
from nmer.results.statistics import comparisons, confusion, holm, intervals, ranks

SETTINGS = ReportSettings.from_mapping(
    {
        "datasets": {"corpus": {}},
        "systems": ["nmer", "men"],
        "snr_db": {"gaussian": [-10]},
        "reference_noise": "gaussian",
    }
)


def make_cells(
    values: dict[tuple[str, int], float], condition: str = "average", regime: str = "incomplete"
) -> pd.DataFrame:
    """Return cells of WA with the given values by (system, level)."""
    rows = [
        ("corpus", system, regime, "gaussian", level, condition, "WA", value)
        for (system, level), value in values.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"snr_db": "Int64"})


def test_intervals_follow_the_standard_error_and_stay_between_zero_and_one():
    cells = make_cells({("nmer", -10): 0.5, ("men", -10): 0.99})
    found = intervals(make_contrasts(cells, spread=0.02))
    quantile = t.ppf(0.975, UNITS - 1)
    expected = [[0.5 - 0.02 * quantile, 0.5 + 0.02 * quantile], [0.99 - 0.02 * quantile, 1]]
    np.testing.assert_allclose(found[["low", "high"]], expected, atol=1e-6)


def test_a_comparison_is_paired():
    cells = make_cells({("men", -10): 0.40, ("nmer", -10): 0.50})
    random = np.random.default_rng(0).normal(size=(2, UNITS)) / UNITS
    random -= random.mean(axis=1, keepdims=True)
    shared, individual = random[0], 0.1 * random[1]
    (row,) = comparisons(make_contrasts(cells, np.stack([shared, shared + individual])), ["nmer", "men"]).itertuples()
    assert (row.system, row.condition, row.difference) == ("men", "average", pytest.approx(0.1))
    # The shared part cancels in the difference, whose standard error is a tenth of that of a score.
    half = t.ppf(0.975, UNITS - 1) * np.sqrt(UNITS / (UNITS - 1) * (individual**2).sum())
    assert (row.low, row.high) == (pytest.approx(0.1 - half), pytest.approx(0.1 + half))
    assert row.effect == pytest.approx(2 * math.asin(math.sqrt(0.5)) - 2 * math.asin(math.sqrt(0.4)))
    assert row.p_value < 1e-11
    assert row.units == f"{UNITS} utterances (speakers or videos are unknown)"


def test_the_interval_of_a_difference_stays_between_minus_one_and_one():
    contrasts = make_contrasts(make_cells({("nmer", -10): 0.99, ("men", -10): 0.01}), spread=0.02)
    contrasts.measured.datasets["corpus"].contributions[0] = 0
    (row,) = comparisons(contrasts, ["nmer", "men"]).itertuples()
    assert (row.low, row.high) == (pytest.approx(0.98 - 0.02 * t.ppf(0.975, UNITS - 1)), 1)


def test_p_values_are_adjusted_by_holm_over_the_tested_differences():
    names = ["men", "mctn", "mmin"]
    steps = dict(zip(names, (1.0, 2.0, 3.0), strict=True))  # differences in standard errors
    cells = make_cells({("nmer", -10): 0.5} | {(name, -10): 0.5 - 0.01 * step for name, step in steps.items()})
    contrasts = make_contrasts(pd.concat([cells, cells.assign(metric="UA")]), spread=0.01)
    contrasts.measured.datasets["corpus"].contributions[[0, len(cells)]] = 0
    found = comparisons(contrasts, ["nmer", *names])
    # Each metric has its own adjustment.
    found = found[found["metric"] == "WA"].set_index("system")
    for name, step in steps.items():
        assert found.loc[name, "p_value"] == pytest.approx(2 * t.sf(step, UNITS - 1), rel=1e-4)
    p = found["p_value"]
    assert found.loc["mmin", "p_adjusted"] == pytest.approx(3 * p["mmin"])
    assert found.loc["mctn", "p_adjusted"] == pytest.approx(2 * p["mctn"])
    assert found.loc["men", "p_adjusted"] == pytest.approx(p["men"])
    assert holm(pd.Series([0.01, np.nan, 0.03])).tolist() == pytest.approx([0.02, np.nan, 0.03], nan_ok=True)
    assert holm(pd.Series([np.nan])).isna().all()


def test_with_one_repeat_there_is_neither_interval_nor_test(tmp_path):
    predictions = make_predictions(folds=2, repeats=1, utterances=30)
    paths = [write_run(tmp_path, predictions, name) for name in ("nmer", "men")]
    contrasts = Contrasts(measure(read_runs(paths)))
    assert intervals(contrasts)[["low", "high"]].isna().all(axis=None)
    found = comparisons(contrasts, ["nmer", "men"])
    assert found[["low", "high", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert set(found["untested"]) == {ONE_REPEAT}
    assert found["difference"].notna().all()


def test_only_systems_in_the_same_cell_as_nmer_are_compared():
    cells = make_cells({("men", -10): 0.4, ("men", -20): 0.3, ("nmer", -10): 0.5})
    assert list(comparisons(make_contrasts(cells), ["nmer", "men"])["snr_db"]) == [-10]
    assert comparisons(make_contrasts(cells[:2]), ["men"]).empty
    all_noisy = make_cells({("mmin", -10): 0.4, ("nmer", -10): 0.5}, "none", "all_noisy")
    assert list(comparisons(make_contrasts(all_noisy), ["nmer", "mmin"])["condition"]) == ["none"]
    # Models trained for the six conditions are not in the all-noisy table.
    six = make_cells({("mmin", -10): 0.4, ("nmer", -10): 0.5}, "none", "incomplete")
    assert comparisons(make_contrasts(six), ["nmer", "mmin"]).empty


def test_without_nmer_systems_are_compared_with_the_named_reference():
    cells = make_cells({("men", -10): 0.5, ("mine", -10): 0.6, ("mmin", -10): 0.4})
    found = comparisons(make_contrasts(cells), ["men", "mine", "mmin"], reference="mine").set_index("system")
    assert set(found["reference"]) == {"mine"}
    assert found["difference"].to_dict() == {"men": pytest.approx(0.1), "mmin": pytest.approx(0.2)}
    assert comparisons(make_contrasts(cells), ["men", "mine", "mmin"]).empty


@pytest.mark.parametrize("folds", [1, 3])
def test_one_training_under_two_names_is_not_tested_against_itself(tmp_path, folds):
    predictions = make_predictions(folds=folds, repeats=3, utterances=60)
    paths = [write_run(tmp_path, predictions, name) for name in ("nmer", "nmer_same")]
    paths.append(write_run(tmp_path, make_predictions(folds=folds, repeats=3, utterances=60, seed=1), "men"))
    contrasts = Contrasts(measure(read_runs(paths)))
    found = comparisons(contrasts, ["nmer", "nmer_same", "men"])
    same, other = (found[found["system"] == name] for name in ("nmer_same", "men"))
    assert (same["difference"] == 0).all()
    assert same[["low", "high", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert set(same["untested"]) == {SAME}
    # It is not in the family of the others.
    assert (other["p_adjusted"] == other["p_value"]).all()


def test_equal_systems_have_no_difference():
    cells = make_cells({("men", -10): 0.5, ("nmer", -10): 0.5})
    (row,) = comparisons(make_contrasts(cells, np.zeros((2, 9))), ["nmer", "men"]).itertuples()
    assert (row.difference, row.p_value, row.p_adjusted, row.effect) == (0, 1, 1, 0)


def make_scores(table: np.ndarray, systems: list[str]) -> pd.DataFrame:
    """Return scores with a fold per block. Conditions of a system differ, so its means are those of ``table`` (blocks,
    systems) up to rounding."""
    return pd.DataFrame(
        [
            (*("corpus", system, "incomplete", "gaussian", -10, condition, fold, repeat, metric), mean + column * shift)
            for column, system in enumerate(systems)
            for fold, mean in enumerate(table[:, column], start=1)
            for condition, shift in zip(("a", "v", "l", "av", "al", "vl"), (0.7, -0.4, -0.3) * 2, strict=True)
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


def test_ranks_and_the_critical_difference_match_a_published_example():
    names = ["c45", "m", "cf", "both"]
    found = ranks(make_scores(DEMSAR, names), names)
    wa = found[found["metric"] == "WA"].set_index("system")
    assert wa["rank"].round(3).to_dict() == {"both": 1.964, "m": 2.000, "cf": 2.893, "c45": 3.143}
    assert (wa["blocks"] == 14).all()
    assert wa["critical_difference"].iloc[0] == pytest.approx(1.25, abs=0.005)
    # The paper's chi-square, 9.28, is not corrected for its 78 ties; scipy's is.
    assert wa["friedman_p"].iloc[0] == pytest.approx(chi2.sf(9.28 / (1 - 78 / (14 * (4**3 - 4))), 3), rel=0.01)


def test_levels_and_kinds_are_averaged_before_ranks_and_few_blocks_have_no_test():
    names = ["c45", "m", "cf", "both"]
    one = make_scores(DEMSAR, names)
    # The systems that lead at one level trail at the other by less: the mean decides.
    other = one.assign(snr_db=-20, value=one["value"].mean() - 0.5 * (one["value"] - one["value"].mean()))
    both = ranks(pd.concat([one, other]), names)
    pd.testing.assert_frame_equal(both, ranks(one, names))
    assert set(both["blocks"]) == {14}, "levels of a fold are not separate blocks"
    six, five = (ranks(one[one["fold"] <= count], names) for count in (6, 5))
    assert six["friedman_p"].iloc[0] == pytest.approx(friedmanchisquare(*DEMSAR[:6].T).pvalue)
    assert six["critical_difference"].notna().all()
    assert (five["blocks"] == 5).all()
    assert five[["friedman_p", "critical_difference"]].isna().all(axis=None)
    assert five["rank"].notna().all()


def test_ranks_need_three_systems_and_complete_blocks():
    names = ["c45", "m", "cf", "both"]
    scores = make_scores(DEMSAR, names)
    assert ranks(scores, names[:2]).empty
    assert ranks(scores[:0], names).empty
    assert set(ranks(scores[scores["fold"] == 1], names)["blocks"]) == {1}
    lacking = scores[~((scores["system"] == "m") & (scores["fold"] < 5))]
    assert set(ranks(lacking, names)["blocks"]) == {10}


def test_the_majority_class_has_no_rank():
    names = ["c45", "m", "cf", "both"]
    scores = make_scores(DEMSAR, names)
    majority = scores[scores["system"] == "m"].assign(system="majority", value=0.0)
    pd.testing.assert_frame_equal(ranks(pd.concat([scores, majority]), [*names, "majority"]), ranks(scores, names))


def test_confusion_counts_equal_those_of_scikit_learn(tmp_path):
    predictions = make_predictions(folds=2, repeats=2, utterances=30)
    found = confusion(read_runs([write_run(tmp_path, predictions, "nmer")]))
    for condition, part in predictions.groupby("condition"):
        guesses = part.filter(like="prob_").to_numpy().argmax(axis=1)
        of_condition = found[found["condition"] == condition]
        assert list(of_condition["label"][:3]) == ["class0"] * 3
        counted = of_condition["count"].to_numpy().reshape(3, 3)
        np.testing.assert_array_equal(counted, confusion_matrix(part["label"], guesses))


def make_store(path: Path, speakers: dict[str, str]) -> Path:
    """Write a feature store of utterances with these speakers and arbitrary features; return its path."""
    everyone = np.arange(len(speakers))
    corpus = Corpus(
        ids=list(speakers),
        labels=everyone % 2,
        speakers=list(speakers.values()),
        classes=["no", "yes"],
        dims={"a": 1, "v": 1, "l": 1},
        lengths={modality: np.ones(len(speakers), np.int64) for modality in "avl"},
        folds={1: {"train": everyone, "val": everyone, "test": everyone}},
        features=lambda _modality, index: np.full((1, 1), index, np.float32),
    )
    write_store(corpus, CorpusSettings("corpus", "npy_folder"), path)
    return path


@pytest.mark.parametrize("known", [True, False])
def test_the_step_reads_speakers_from_the_store(tmp_path, known):
    predictions = make_predictions(folds=1, utterances=40)
    paths = [write_run(tmp_path, predictions, name) for name in ("nmer", "men")]
    names = sorted(set(predictions["utterance"]))
    speakers = {name: f"speaker{number % 10}" if known else name for number, name in enumerate(names)}
    arguments = ("--settings", SETTINGS.to_json(), "--scores", *paths, "--output", tmp_path / "statistics")
    run_step("compare_systems.py", *arguments, "--features", make_store(tmp_path / "corpus.h5", speakers))
    units = set(pd.read_csv(tmp_path / "statistics" / "comparisons.csv")["units"])
    assert units == {"10 speakers or videos" if known else "40 utterances (speakers or videos are unknown)"}


def test_the_step_writes_every_file(tmp_path):
    paths = [
        write_run(tmp_path, make_predictions(utterances=20, seed=s), name, regime)
        for s, (name, regime) in enumerate([("nmer", "incomplete"), ("men", "clean")])
    ]
    output = tmp_path / "statistics"
    run_step("compare_systems.py", "--settings", SETTINGS.to_json(), "--scores", *paths, "--output", output)
    written = {path.name: path for path in output.iterdir()}
    assert set(written) == {"contributions.h5", "intervals.csv", "comparisons.csv", "ranks.csv", "confusion.csv"}
    assert pd.read_csv(written["comparisons.csv"])["metric"].tolist() == ["WA", "UA", "F1", "WF1"]
    assert pd.read_csv(written["ranks.csv"]).empty
    assert len(pd.read_csv(written["intervals.csv"])) == len(measure(read_runs(paths)).cells)
