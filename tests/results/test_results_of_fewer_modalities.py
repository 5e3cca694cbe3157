"""Tables, statistics and figures of corpora with three, two and one modality together (SPEC 13)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic_predictions import make_predictions, write_run

from nmer.errors import DataError
from nmer.report_settings import DatasetSettings, ReportSettings, UnimodalSettings
from nmer.results.chance import chance_levels, judge_runs
from nmer.results.chance_texts import shown_cells, warnings
from nmer.results.contributions import measure
from nmer.results.figures.calibration import draw_calibration
from nmer.results.figures.conditions import condition_scores, draw_conditions
from nmer.results.predictions import read_runs
from nmer.results.printed import to_markdown
from nmer.results.printed_tables import arrange
from nmer.results.scores import average, collect, incomplete, modalities_of
from nmer.results.tables import read_paper, table_2, table_3, table_4, table_5

TESTED = {
    "three": ("a", "v", "l", "av", "al", "vl", "none", "avl"),
    "two": ("a", "l", "none", "al"),
    "one": ("none", "l"),
}
INCOMPLETE = {"three": TESTED["three"][:6], "two": ("a", "l"), "one": ()}
SETTINGS = ReportSettings(
    datasets={
        "three": DatasetSettings("IEMOCAP"),
        "two": DatasetSettings(modalities=("a", "l")),
        "one": DatasetSettings(modalities=("l",)),
    },
    systems=["men", "nmer", "unimodal_l"],
    snr_db={"gaussian": [-10]},
    reference_noise="gaussian",
    unimodal=UnimodalSettings(["three", "two", "one"], [-10], clean_reference=True),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp("runs"), []
    for seed, (dataset, tested) in enumerate(TESTED.items()):
        runs = [("men", "clean", "gaussian", tested), ("unimodal_l", "all_noisy", "gaussian", ("none",))]
        runs.append(("unimodal_l", "clean", "", (tested[-1],)))
        if dataset != "one":
            runs += [("nmer", regime, "gaussian", tested) for regime in ("incomplete", "all_noisy")]
        for number, (system, regime, noise, conditions) in enumerate(runs):
            made = make_predictions(folds=1, utterances=30, conditions=conditions, seed=10 * seed + number, skill=0.5)
            snr_db = -10 if noise else None
            paths.append(write_run(folder, made, system, regime, noise, snr_db, dataset))
    return paths


@pytest.fixture(scope="module")
def scores(files):
    return collect(files)


@pytest.fixture(scope="module")
def runs(files):
    return read_runs(files)


@pytest.fixture(scope="module")
def paper(reference):
    return {number: read_paper(reference, number) for number in (2, 3, 4, 5)}


def test_the_modalities_of_a_corpus_come_from_its_conditions(scores):
    for dataset, tested in TESTED.items():
        assert "".join(modalities_of(tested)) == tested[-1]
        assert modalities_of([*tested, "average"]) == modalities_of(tested)
        rows = scores[incomplete(scores) & (scores["dataset"] == dataset)]
        assert set(rows["condition"]) == set(INCOMPLETE[dataset])


def test_averages_are_over_the_incomplete_conditions_of_each_corpus(scores):
    cells = average(scores)
    assert set(cells.loc[cells["condition"] == "average", "dataset"]) == {"three", "two"}
    key = ["dataset", "system", "regime", "metric"]
    averages = cells[cells["condition"] == "average"].set_index(key)["mean"]
    for place, mean in averages.items():
        rows = scores.set_index(key).sort_index().loc[place]
        assert mean == pytest.approx(rows.loc[rows["condition"].isin(INCOMPLETE[place[0]]), "value"].mean())


def test_a_missing_condition_of_two_modalities_is_an_error(scores):
    lacking = scores[~((scores["dataset"] == "two") & (scores["system"] == "nmer") & (scores["condition"] == "l"))]
    with pytest.raises(DataError, match=r"each incomplete condition once \(dataset two"):
        average(lacking)


def test_tables_have_the_conditions_of_each_corpus(scores, paper):
    second = table_2(scores, SETTINGS, paper[2])
    assert set(second.loc[second["mean"].notna(), "dataset"]) == {"three", "two"}
    third = table_3(scores, SETTINGS, paper[3])
    measured = third[third["mean"].notna()].groupby("dataset")["condition"].agg(set)
    assert measured.to_dict() == {name: {*INCOMPLETE[name], "average"} for name in ("three", "two")}
    fourth = table_4(scores, SETTINGS, paper[4])
    clean = fourth[fourth["noise"] == ""]
    assert dict(zip(clean["dataset"], clean["condition"], strict=True)) == {"three": "avl", "two": "al", "one": "l"}
    assert clean["mean"].notna().all()
    fifth = table_5(scores, SETTINGS, paper[5])
    assert set(fifth.loc[fifth["dataset"] == "one", "system"]) == {"men"}


def test_print_shows_no_column_of_another_corpus(scores, paper):
    third = to_markdown(arrange(3, table_3(scores, SETTINGS, paper[3]), SETTINGS))
    assert "| SNR | Metric | a | l | Avg. |" in third
    assert "| SNR | Metric | a | v | l | av | al | vl | Avg. |" in third
    fourth = to_markdown(arrange(4, table_4(scores, SETTINGS, paper[4]), SETTINGS))
    assert fourth.count("| clean |") == 3
    assert "Clean: trained and tested without noise" in fourth
    without = replace(SETTINGS, datasets={"two": SETTINGS.datasets["two"]})
    assert "Clean" not in to_markdown(arrange(3, table_3(scores, without, paper[3]), without))


def test_averages_behind_intervals_equal_those_of_the_tables(runs, scores):
    measured = measure(runs)
    cells = measured.cells
    assert all(np.isfinite(each.contributions).any() for each in measured.datasets.values())
    key = ["dataset", "system", "regime", "metric"]
    found = cells[cells["condition"] == "average"].set_index(key)["value"]
    expected = average(scores).query("condition == 'average'").set_index(key)["mean"]
    assert set(found.index) == set(expected.index)
    for place, value in found.items():
        assert value == pytest.approx(expected[place])


def test_chance_is_judged_for_the_average_of_each_corpus(runs):
    trainings = judge_runs(runs)
    assert set(trainings.loc[trainings["condition"] == "average", "dataset"]) == {"three", "two"}
    assert all(chance_levels(trainings)[dataset, "UA"] == pytest.approx(1 / 3) for dataset in TESTED)
    cells = shown_cells(trainings, SETTINGS)
    nmer = cells[(cells["dataset"] == "two") & (cells["system"] == "nmer")]
    assert set(nmer["condition"]) == {"a", "l", "average", "none"}
    assert len(cells.query("dataset == 'two' and noise == '' and condition == 'al'")) == 1
    lost = trainings.assign(at_chance=1)
    assert any("on two, without noise: clean: lexical only" in sentence for sentence in warnings(lost, SETTINGS))


def test_heat_maps_have_the_incomplete_conditions_of_their_corpus(scores):
    for dataset in ("three", "two"):
        cells = condition_scores(scores, SETTINGS, dataset)
        assert set(cells["condition"]) == {*INCOMPLETE[dataset], "average", "none"}
        draw_conditions(cells)
    assert set(condition_scores(scores, SETTINGS, "one")["condition"]) == {"none"}


def test_the_calibration_figure_names_only_existing_modalities():
    rows = [("two", m, part, "gaussian", -10, 3.0, -10.0) for m in "al" for part in ("curve", "chosen")]
    columns = ["dataset", "modality", "part", "noise", "snr_db", "T", "attained_db"]
    (axis,) = draw_calibration(pd.DataFrame(rows, columns=columns)).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["acoustic", "lexical"]
