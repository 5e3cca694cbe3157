"""Curves over levels: matrix, mean height and effective robustness match explicit sums."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import assert_labels_apart
from scipy.integrate import trapezoid

from nmer.report_settings import DatasetSettings, ReportSettings
from nmer.results.chance import COLUMNS, read_all_trainings
from nmer.results.figures.levels import draw, draw_levels
from nmer.results.level_curves import area, arrange_curves, curve_points, curve_table, effective_robustness
from nmer.results.printed import to_markdown
from nmer.results.scores import collect, read_all_scores, read_scores

CONDITIONS = ("a", "v", "l", "av", "al", "vl", "none", "avl")
RATES = {"drop_frames": {"drop_frames_0": 0, "drop_frames_0.5": 0.5, "drop_frames_1": 1}}
SETTINGS = ReportSettings(
    {"mosi": DatasetSettings()},
    ["men", "nmer"],
    {"gaussian": [-10, -20, -40], **{name: [] for name in RATES["drop_frames"]}},
    "gaussian",
    rates=RATES,
    metrics=("UA",),
)
NMER = {-10: 0.9, -20: 0.7, -40: 0.5}
MEN = {-10: 0.8, -20: 0.7, -40: 0.3}
LOST = {0: 0.9, 0.5: 0.8, 1: 0.5}


def scores_of(
    system: str, regime: str, noise: str, snr_db: float | None, value: float, trained_at: str
) -> pd.DataFrame:
    rows = [
        ("mosi", system, regime, noise, snr_db, condition, 1, repeat, "UA", value, 9)
        for condition in CONDITIONS
        for repeat in (1, 2)
    ]
    names = ["dataset", "system", "regime", "noise", "snr_db", "condition", "fold", "repeat", "metric", "value", "n"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(trained_at=trained_at) if trained_at else table


@pytest.fixture
def collected(tmp_path):
    """Collected scores: NMER trained on mixed levels and at -10 dB, MEN trained clean."""
    parts = []
    for level in NMER:
        parts += [
            scores_of("nmer", "incomplete", "gaussian", level, NMER[level], "mixed"),
            scores_of("nmer", "incomplete", "gaussian", level, NMER[level] - 0.1, "gaussian_-10dB"),
            scores_of("men", "clean", "gaussian", level, MEN[level], ""),
        ]
    parts += [
        scores_of("nmer", "incomplete", f"drop_frames_{rate}", None, value, "mixed") for rate, value in LOST.items()
    ]
    files = []
    for number, part in enumerate(parts):
        files.append(tmp_path / f"{number}.csv")
        part.to_csv(files[-1], index=False)
    collect(files).to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path / "scores.csv"


@pytest.fixture
def verdicts(collected):
    """Verdicts on the collected trainings: at -40 dB, one of NMER's two trainings on mixed levels is at chance."""
    trainings = read_all_scores(collected).query("condition == 'a'").assign(condition="average")
    is_hard = (
        (trainings["snr_db"] == -40).fillna(False) & (trainings["trained_at"] == "mixed") & (trainings["repeat"] == 2)
    )
    numbers = dict.fromkeys(("wa", "majority", "ua", "ua_low", "most_predicted"), 0.5)
    table = trainings.assign(items=9, classes=2, **numbers, at_chance=is_hard.astype(int), wa_at_majority=0)
    table[[*COLUMNS, "trained_at"]].to_csv(collected.parent / "chance.csv", index=False)
    return collected.parent / "chance.csv"


def test_levels_with_a_training_at_chance_are_counted_and_marked(collected, verdicts):
    scores = read_all_scores(collected)
    points = curve_points(scores, SETTINGS, read_all_trainings(verdicts))
    marked = points[points["at_chance"] > 0]
    assert marked[["system", "trained_at", "level", "at_chance", "trainings"]].values.tolist() == [
        ["nmer", "mixed", -40, 1, 2]
    ]
    table = curve_table(points, SETTINGS)
    counted = table.set_index(["system", "trained_at", "noise"])["levels_at_chance"]
    assert counted.pop(("nmer", "mixed", "gaussian")) == 1
    assert (counted == 0).all()
    printed = to_markdown(arrange_curves(table, SETTINGS))
    assert "| NMER | mixed levels | 0.6667 † 1/3 | +0.0000 |" in printed
    assert "at least one training is at chance" in printed
    plain = curve_table(curve_points(scores, SETTINGS), SETTINGS)
    assert plain["levels_at_chance"].isna().all()
    assert "†" not in to_markdown(arrange_curves(plain, SETTINGS))


def test_areas_equal_those_of_scipy_over_the_range_in_either_direction():
    levels, values = np.array([-10.0, -20, -40]), np.array([0.9, 0.7, 0.5])
    assert area(levels, values) == pytest.approx(-trapezoid(values, levels) / 30)
    assert area(levels[::-1], values[::-1]) == pytest.approx(area(levels, values))
    assert area(np.array([0.0, 1]), np.array([0.4, 0.4])) == pytest.approx(0.4), "a mean height"
    assert np.isnan(area(levels[:1], values[:1]))


def test_effective_robustness_is_the_sum_of_the_differences_in_loss():
    assert effective_robustness(np.array([0.8, 0.7, 0.3]), np.array([0.9, 0.7, 0.5])) == pytest.approx(
        (0.8 - 0.8) + (0.7 - 0.6) + (0.3 - 0.4)
    )


def test_every_curve_has_a_row_with_its_numbers(collected):
    table = curve_table(curve_points(read_all_scores(collected), SETTINGS), SETTINGS)
    found = {(row.system, row.trained_at, row.noise): row for row in table.itertuples()}
    assert set(found) == {
        ("men", "clean", "gaussian"),
        ("nmer", "mixed", "gaussian"),
        ("nmer", "gaussian_-10dB", "gaussian"),
        ("nmer", "mixed", "drop_frames"),
    }
    lost = found["nmer", "mixed", "drop_frames"]
    assert lost.auilc == pytest.approx((0.85 + 0.65) / 2)
    assert (lost.mildest, lost.hardest, lost.effective_robustness) == (0, 1, 0)
    assert found["nmer", "mixed", "gaussian"].auilc == pytest.approx((0.8 * 10 + 0.6 * 20) / 30)
    # NMER has two trainings and none on clean data, so MEN has no unique counterpart.
    assert found["men", "clean", "gaussian"].reference == ""
    printed = to_markdown(arrange_curves(table, SETTINGS))
    assert "| NMER | mixed levels | 0.6667 | +0.0000 |" in printed
    assert "| MEN | clean data |" in printed


def test_tables_read_each_training_at_its_training_level(collected):
    scores = read_scores(collected)
    assert "trained_at" not in scores
    nmer = scores[scores["system"] == "nmer"]
    assert nmer[["noise", "snr_db"]].drop_duplicates().values.tolist() == [["gaussian", -10]]
    assert set(nmer["value"]) == {0.8}
    assert set(scores.loc[scores["system"] == "men", "snr_db"]) == {-10, -20, -40}


def test_the_figure_is_the_matrix_of_trained_at_and_tested_at(collected, verdicts):
    drawn = draw("mosi", collected, verdicts, SETTINGS)
    gaussian = drawn.data[drawn.data["noise"] == "gaussian"]
    matrix = gaussian.pivot(index=["system", "trained_at"], columns="level", values="mean")
    assert matrix.loc[("nmer", "gaussian_-10dB")].tolist() == pytest.approx([0.4, 0.6, 0.8])
    axes = drawn.figure.axes
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["−10", "−20", "−40"]
    assert {tick.get_text() for tick in axes[0].get_yticklabels()} == {
        "MEN: clean data",
        "NMER: mixed levels",
        "NMER: Gaussian, −10 dB",
    }
    assert [tick.get_text() for tick in axes[1].get_xticklabels()] == ["0", "0.5", "1"]
    assert [text.get_text() for text in axes[0].texts if "†" in text.get_text()] == ["0.500†"]


def test_curves_over_other_levels_than_the_longest_are_marked(collected):
    table = curve_table(curve_points(read_all_scores(collected), SETTINGS), SETTINGS)
    equal = to_markdown(arrange_curves(table, SETTINGS))
    assert "| −0.6667 | +0.0000 |" in to_markdown(arrange_curves(table.assign(auilc=-table["auilc"]), SETTINGS))
    assert "not comparable" not in equal
    assert "only" not in equal
    mixed = (table["system"] == "nmer") & (table["trained_at"] == "mixed") & (table["noise"] == "gaussian")
    fewer = table.assign(levels=table["levels"].mask(mixed, 2), hardest=table["hardest"].mask(mixed, -20.0))
    printed = to_markdown(arrange_curves(fewer, SETTINGS))
    assert "| NMER | mixed levels | 0.6667 2 levels, −10 dB to −20 dB | +0.0000 |" in printed
    assert printed.count("2 levels") == len(SETTINGS.metrics)
    assert "not comparable" in printed
    # A curve of a single level keeps its row next to longer ones, without numbers.
    single = fewer.assign(levels=fewer["levels"].mask(mixed, 1), auilc=fewer["auilc"].mask(mixed))
    assert "| NMER | mixed levels | – only −10 dB |" in to_markdown(arrange_curves(single, SETTINGS))


def test_long_names_in_the_figure_do_not_overlap():
    systems = ["nmer_divergence_weight_0.1_layers_1", "nmer_divergence_weight_1_layers_1", "men"]
    point = {"dataset": "mosi", "regime": "incomplete", "trained_at": "own", "noise": "gaussian", "axis": "SNR in dB"}
    points = [
        point
        | {"system": system, "level": -10.0, "metric": SETTINGS.metrics[0], "mean": 0.5, "at_chance": 0, "chance": 0.5}
        for system in systems
    ]
    assert_labels_apart(draw_levels(pd.DataFrame(points), SETTINGS).axes[0])


def test_a_table_of_single_levels_says_why_it_has_no_numbers(collected):
    table = curve_table(curve_points(read_all_scores(collected), SETTINGS), SETTINGS)
    expected = "–: not defined, because every curve has only one level."
    assert expected in arrange_curves(table.assign(levels=1), SETTINGS).note
    assert expected not in arrange_curves(table, SETTINGS).note


def test_a_noise_at_one_level_has_no_grid_next_to_curves(collected):
    table = curve_table(curve_points(read_all_scores(collected), SETTINGS), SETTINGS)
    assert len(arrange_curves(table, SETTINGS).grids) == 2
    single = table.assign(levels=table["levels"].where(table["noise"] == "gaussian", 1))
    (grid,) = arrange_curves(single, SETTINGS).grids
    assert "Gaussian" in grid.title
    assert len(arrange_curves(single.assign(levels=1), SETTINGS).grids) == 2
