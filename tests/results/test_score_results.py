"""Predicted scores in tables, statistics and figures: lower MAE is better, undefined values are marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nmer.errors import DataError
from nmer.plan.settings import EvaluationSettings
from nmer.report_settings import DatasetSettings, ReportSettings
from nmer.results import statistics
from nmer.results.chance import chance_levels, judge_runs, judge_scores, read_trainings
from nmer.results.contrasts import UNDEFINED, Contrasts
from nmer.results.contributions import measure
from nmer.results.experiments import compare_experiments, to_markdown
from nmer.results.figures.conditions import condition_scores, draw_conditions
from nmer.results.figures.robustness import draw_robustness, robustness
from nmer.results.predictions import FoldPredictions, Run, read_runs
from nmer.results.printed import to_markdown as printed_markdown
from nmer.results.printed_comparisons import arrange_comparisons, summary
from nmer.results.printed_tables import arrange
from nmer.results.report import headlines
from nmer.results.scores import average, collect, read_scores
from nmer.results.tables import read_paper, table_2
from nmer.training.evaluation_files import write_evaluation

SIX = ("a", "v", "l", "av", "al", "vl")
ERRORS = {"men": 1.5, "nmer": 0.4, "mmin": 0.9, "median": 0.0}
"""Standard deviation of each system's errors; the reference always predicts the median."""

REFERENCE = Path(__file__).resolve().parents[2] / "workflow" / "reference"
METRICS = ("MAE", "Corr", "Acc-2-non0", "Acc-7")


def predictions(system: str, repeats: int = 2, utterances: int = 60, seed: int = 0) -> pd.DataFrame:
    """Return predictions of one fold; those of ``mmin`` under condition v are constant in the last repeat."""
    labels = np.round(np.random.default_rng(5).uniform(-3, 3, utterances), 1)
    median, rows = 0.2, []
    for repeat in range(1, (1 if system == "median" else repeats) + 1):
        random = np.random.default_rng([seed, repeat, len(system)])
        for condition in (*SIX, "none", "avl"):
            found = labels + ERRORS[system] * random.standard_normal(utterances)
            if system == "median" or (system == "mmin" and condition == "v" and repeat == repeats):
                found = np.full(utterances, median)
            named = (f"u{row:02d}" for row in range(utterances))
            rows += [
                (name, condition, 1, repeat, label, value, median)
                for name, label, value in zip(named, labels, found.astype(np.float32), strict=True)
            ]
    columns = ["utterance", "condition", "fold", "repeat", "label", "prediction", "training_median"]
    return pd.DataFrame(rows, columns=columns)


def write(folder: Path, system: str, snr_db: int = -10, **options: int) -> Path:
    path = folder / "scores" / "corpus" / system / "incomplete" / f"gaussian_{snr_db}dB.csv"
    settings = EvaluationSettings("corpus", system, "incomplete", [1], 2, "gaussian", snr_db)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_evaluation(predictions(system, **options), settings, path, path.with_name(f"{path.stem}_predictions.csv.gz"))
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scores")
    return [write(folder, system) for system in ERRORS]


@pytest.fixture(scope="module")
def contrasts(paths) -> Contrasts:
    return Contrasts(measure(read_runs(paths), deterministic=("median",)))


@pytest.fixture
def settings() -> ReportSettings:
    return ReportSettings({"corpus": DatasetSettings()}, list(ERRORS), {"gaussian": [-10]}, "gaussian", metrics=METRICS)


def cell(table: pd.DataFrame, **where: str) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_predictions_are_unchanged_by_writing_and_reading(paths):
    (run,) = (run for run in read_runs(paths) if run.key[1] == "nmer")
    written = predictions("nmer")
    part = written[(written["condition"] == "al") & (written["repeat"] == 2)]
    fold = run.folds[1]
    np.testing.assert_array_equal(fold.labels, part["label"])
    np.testing.assert_array_equal(fold.predicted[1, run.conditions.index("al")], part["prediction"].astype(np.float64))
    assert (run.target, fold.training_median) == ("score", 0.2)


def test_the_values_of_the_contributions_equal_those_of_the_tables(paths, contrasts):
    printed = average(collect(paths)).astype({"snr_db": "Int64"})
    key = ["system", "condition", "metric"]
    both = contrasts.cells.merge(printed, on=key)
    assert len(both) == len(contrasts.cells) == len(printed)
    np.testing.assert_allclose(both["value"], both["mean"], atol=1e-12)
    assert both.loc[both["value"].isna(), "metric"].isin(["Corr", "SIMS-Corr"]).all()


def test_a_mean_over_partly_undefined_values_is_undefined(paths, contrasts):
    means = average(collect(paths))
    for condition in ("v", "average"):
        found = cell(means, system="mmin", condition=condition, metric="Corr")
        assert np.isnan(found["mean"])
        assert np.isnan(found["std"])
        assert found["n"] == 2
    assert cell(means, system="mmin", condition="a", metric="Corr")["mean"] > 0.5
    row = contrasts.cells.query("system == 'mmin' and condition == 'average' and metric == 'Corr'").index[0]
    contrast = contrasts.of({row: 1.0})
    assert contrast.untested == UNDEFINED
    assert np.isnan(contrast.p_value())


def test_a_training_is_at_chance_if_the_median_is_not_worse_or_its_predictions_are_constant(paths, tmp_path):
    trainings = judge_runs(read_runs(paths))
    assert "median" not in set(trainings["system"])
    written = predictions("nmer")
    part = written[(written["condition"] == "a") & (written["repeat"] == 1)]
    found = cell(trainings, system="nmer", condition="a", repeat=1)
    assert found["mae"] == pytest.approx(np.abs(part["prediction"] - part["label"]).mean())
    assert found["corr"] == pytest.approx(stats.pearsonr(part["prediction"], part["label"]).statistic)
    assert found["median_mae"] == pytest.approx(np.abs(part["label"] - 0.2).mean())
    assert not trainings.loc[trainings["system"] == "nmer", "at_chance"].any()
    assert cell(trainings, system="mmin", condition="v", repeat=2)["at_chance"] == 1
    assert cell(trainings, system="mmin", condition="average", repeat=2)["at_chance"] == 1
    assert cell(trainings, system="mmin", condition="v", repeat=1)["at_chance"] == 0
    assert chance_levels(trainings) == {("corpus", "MAE"): pytest.approx(found["median_mae"])}
    trainings.to_csv(tmp_path / "chance.csv", index=False)
    pd.testing.assert_frame_equal(read_trainings(tmp_path / "chance.csv"), trainings, check_dtype=False)


def test_guesses_around_the_median_are_at_chance_and_six_conditions_of_an_utterance_are_one_item():
    random = np.random.default_rng(0)
    labels = random.uniform(-3, 3, 80)
    assert judge_scores(labels, random.standard_normal((1, 80)), float(np.median(labels))).at_chance
    predicted = np.full((6, 80), np.nan)
    predicted[np.arange(80) % 6, np.arange(80)] = labels + 0.1
    verdict = judge_scores(labels, predicted, 0.0)
    assert (verdict.items, verdict.at_chance) == (80, False)
    assert verdict.mae == pytest.approx(0.1)


def test_the_lowest_error_is_bold_and_undefined_values_are_marked(paths, settings):
    table = table_2(collect(paths), settings, read_paper(REFERENCE, 2), judge_runs(read_runs(paths)))
    text = printed_markdown(arrange(2, table, settings))
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert rows["NMER"].count("**") == 2 * len(METRICS)
    assert "– undefined † 1/2" in rows["MMIN"]
    assert "– undefined" in rows["training median (reference)"]
    assert "Lower is better for MAE." in text
    assert "the median of the training scores" in text


def test_a_lower_error_wins_comparisons_and_ranks(paths, contrasts, settings):
    systems = settings.multimodal_systems
    table = statistics.comparisons(contrasts, systems, judge_runs(read_runs(paths)), "nmer")
    mae = cell(table, system="men", metric="MAE", condition="average")
    assert mae["difference"] < 0
    assert mae["high"] < 0
    assert np.isnan(mae["effect"])
    assert cell(table, system="men", metric="Acc-7", condition="average")["effect"] > 0
    printed = printed_markdown(arrange_comparisons(table, settings))
    assert "nan" not in printed
    assert "undefined" in printed
    assert "a negative difference favours NMER" in printed
    assert "1 are won and 0 lost" in summary(table[table["system"] == "men"], settings)[0]
    ranks = statistics.ranks(collect(paths), systems)
    for metric in ("MAE", "Acc-7"):
        assert ranks[ranks["metric"] == metric].iloc[0]["system"] == "nmer"
    assert set(ranks["system"]) == {"men", "nmer", "mmin"}
    assert "Corr" not in set(ranks["metric"]), "undefined for one system, which leaves two, and ranks need three"
    assert statistics.confusion(read_runs(paths)).empty


def test_the_headline_names_the_lowest_error(paths, settings):
    (sentence,) = headlines(collect(paths), settings, judge_runs(read_runs(paths)))
    assert "the best of 2 systems is NMER with MAE" in sentence  # one of MMIN's trainings is at chance


def test_intervals_are_cut_at_the_range_of_each_metric(contrasts):
    table = statistics.intervals(contrasts)
    assert (table.loc[table["metric"] == "MAE", "high"] > 1).any()
    assert table.loc[table["metric"] == "Acc-7", "high"].max() <= 1
    assert table.loc[table["metric"] == "Corr", "low"].min() >= -1


def test_figures_show_the_metrics_chosen(paths, contrasts, settings):
    trainings, scores = judge_runs(read_runs(paths)), collect(paths)
    curves = robustness(statistics.intervals(contrasts).astype({"snr_db": "Int64"}), settings, trainings)
    assert list(dict.fromkeys(curves["metric"])) == list(METRICS)
    assert curves.loc[curves["metric"] == "MAE", "chance"].notna().all()
    figure = draw_robustness(curves, settings)
    assert len(figure.axes) == 4
    assert figure.axes[0].get_ylabel() == "MAE (mean absolute error)"
    texts = [text.get_text() for text in draw_conditions(condition_scores(scores, settings, "corpus")).axes[0].texts]
    assert any("–" in text.split("\n") for text in texts)


def test_experiments_on_scores_are_compared_in_plain_numbers(tmp_path):
    for name, seed in (("one", 0), ("two", 1)):
        paths = [write(tmp_path / name, system, seed=seed) for system in ("nmer", "median")]
        collect(paths).to_csv(tmp_path / name / "scores.csv", index=False)
    table, only = compare_experiments(tmp_path, "one", "two")
    text = to_markdown(table, only)
    assert "(MAE, Corr: plain numbers)" in text
    row = next(line for line in text.splitlines() if "| nmer |" in line and "| MAE |" in line)
    mean = cell(average(read_scores(tmp_path / "one/scores.csv")), system="nmer", condition="average", metric="MAE")
    assert f"| {mean['mean']:.4f} ± " in row
    assert "| undefined | undefined | undefined |" in text
    write(tmp_path / "two", "nmer", utterances=61)
    with pytest.raises(DataError, match="not scored on the same utterances"):
        compare_experiments(tmp_path, "one", "two")


@pytest.mark.parametrize("value", ["-0.1", "inf", ""])
def test_an_impossible_value_is_refused(tmp_path, value):
    table = pd.DataFrame([["c", "s", "clean", "", "", "avl", 1, 1, "MAE" if value else "WA", value, 3]])
    table.columns = [
        *("dataset", "system", "regime", "noise", "snr_db", "condition", "fold", "repeat", "metric", "value", "n")
    ]
    table.to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(DataError, match="scores must be"):
        read_scores(tmp_path / "s.csv")


def simulated_run(random: np.random.Generator, utterances: int, training_sd: float) -> Run:
    """Return three trainings on one test set, each with its own bias; every utterance has its own difficulty."""
    labels = random.normal(0, 1.3, utterances).clip(-3, 3)
    shared = 0.5 * labels + 0.5 * random.standard_normal(utterances)
    individual = training_sd * random.standard_normal((3, 1)) + 0.3 * random.standard_normal((3, utterances))
    names = np.array([f"u{row:04d}" for row in range(utterances)])
    fold = FoldPredictions(names, labels, (shared + individual)[:, None, :], 0.0)
    return Run(("corpus", "nmer", "all_noisy", "gaussian", -10), (), ("none",), {1: fold})


@pytest.mark.slow
@pytest.mark.parametrize("training_sd", [0.05, 0.3])
def test_intervals_of_scores_have_nominal_coverage(training_sd):
    many = [simulated_run(np.random.default_rng([9, seed]), 40_000, training_sd) for seed in range(60)]
    names = ("MAE", "Corr", "Acc-7", "F1-non0")
    found = [measure([run]).cells.set_index("metric").loc[list(names), "value"] for run in many]
    truth = pd.concat(found, axis=1).mean(axis=1)
    inside = dict.fromkeys(names, 0)
    for seed in range(2000):
        contrasts = Contrasts(measure([simulated_run(np.random.default_rng([1, seed]), 300, training_sd)]))
        rows = contrasts.cells.reset_index().set_index("metric")["index"]
        for name in names:
            low, high = contrasts.of({int(rows[name]): 1.0}).interval()
            inside[name] += low <= truth[name] <= high
    assert min(inside.values()) / 2000 >= 0.93, inside
