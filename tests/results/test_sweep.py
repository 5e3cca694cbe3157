"""The table of a sweep for hand-written scores and histories."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest
from drawn import assert_inside

from nmer.report_settings import DatasetSettings, ReportSettings
from nmer.results.figures.sweep import COLUMNS, draw
from nmer.results.histories import read_histories
from nmer.results.printed import to_markdown
from nmer.results.sweep import SweepSettings, arrange_sweep, choices, sweep_table

SETTINGS = ReportSettings({"mosi": DatasetSettings()}, ["nmer", "low", "high"], {"gaussian": [-10]}, "gaussian")
ABOUT = SweepSettings(
    SETTINGS,
    "nmer",
    {"low": {"latent": 8}, "high": {"latent": 64}},
    {"low": "low", "high": "nmer"},
    {"low": "UA", "high": "UA"},
)
CONDITIONS = ("a", "v", "l", "av", "al", "vl", "none", "avl")
VALIDATION = {"low": {1: [0.5, 0.8, 0.6], 2: [0.6, 0.6, 0.7]}, "nmer": {1: [0.7, 0.6, 0.7], 2: [0.5, 0.9, 0.4]}}
"""Validation UA per epoch by training and repeat; WA is UA minus 0.1 times the epoch."""


def written_histories(folder: Path) -> list[Path]:
    files = []
    for system, repeats in VALIDATION.items():
        rows = [
            {"repeat": repeat, "epoch": epoch, "val_UA": score, "val_WA": round(score - 0.1 * epoch, 3)}
            for repeat, scores in repeats.items()
            for epoch, score in enumerate(scores, start=1)
        ]
        path = folder / "mosi" / system / "incomplete" / "gaussian_-10dB" / "fold1" / "history.csv"
        path.parent.mkdir(parents=True)
        pd.DataFrame(rows).to_csv(path, index=False)
        files.append(path)
    return files


def scores() -> pd.DataFrame:
    """Test scores: ``low`` is better by 0.1 than the others."""
    rows = [
        ("mosi", system, "incomplete", "gaussian", -10, condition, 1, repeat, metric, 0.5 + 0.1 * (system == "low"), 9)
        for system in ("nmer", "low", "high")
        for condition in CONDITIONS
        for repeat in (1, 2)
        for metric in ("WA", "UA")
    ]
    names = ["dataset", "system", "regime", "noise", "snr_db", "condition", "fold", "repeat", "metric", "value", "n"]
    return pd.DataFrame(rows, columns=names).astype({"snr_db": "Int64"})


@pytest.fixture
def table(tmp_path):
    return sweep_table(scores(), read_histories(written_histories(tmp_path), SETTINGS, ABOUT.history_columns()), ABOUT)


def test_validation_scores_are_those_of_the_selected_epochs(table):
    found = table.set_index(["value", "metric"])["validation"]
    assert found["8", "UA"] == pytest.approx((0.8 + 0.7) / 2)
    assert found["64", "UA"] == pytest.approx((0.7 + 0.9) / 2)
    # The earliest of equal epochs is kept: epoch 1 of repeat 1.
    assert found["64", "WA"] == pytest.approx((0.6 + 0.7) / 2)


def test_validation_chooses_and_the_test_scores_do_not(table):
    assert set(table.loc[table["chosen"], "value"]) == {"64"}
    (row,) = choices(table, "UA").itertuples()
    assert (row.chosen, row.best) == ("64", "8")
    printed = to_markdown(arrange_sweep(table, ABOUT))
    assert "| 64 | **0.5000" in printed
    assert "**NMER over latent.**" in printed


def test_the_figure_shows_both_lines_and_names_the_choice(table, tmp_path):
    table.to_csv(tmp_path / "sweep.csv", index=False)
    drawn = draw(tmp_path / "sweep.csv", SETTINGS)
    assert drawn.note == "Best validation score: 64 on mosi, Gaussian, −10 dB (best test WA: 8)."
    lines = {line.get_label(): line.get_ydata().tolist() for line in drawn.figure.axes[1].lines}
    assert lines["test"] == pytest.approx([0.6, 0.5])
    assert lines["validation"] == pytest.approx([0.75, 0.8])


def test_the_figure_of_a_sweep_over_two_keys_with_three_metrics_is_legible(tmp_path):
    values = [f"{first}, training.learning_rate {rate}" for first in ("latent 8", "latent 16") for rate in (1e-4, 0.02)]
    rows = [
        ("mosi", "incomplete", "gaussian", -10, "latent, training.learning_rate", value, metric, 0.5, 0, 0.6, 0, False)
        for value in values
        for metric in ("Corr", "MAE", "SIMS-Acc-3")
    ]
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(tmp_path / "sweep.csv", index=False)
    figure = draw(tmp_path / "sweep.csv", SETTINGS).figure
    assert_inside(figure)
    panels = [axis for axis in figure.axes if axis.lines]
    assert len(panels) == 3
    for axis in panels:
        box, width = axis.get_window_extent(), figure.get_size_inches()[0] * figure.dpi
        assert box.width > width / 3
        assert axis.yaxis.label.get_window_extent().height < 1.4 * box.height
        names = axis.get_xticklabels()
        assert [name.get_text() for name in names] == ["8, 0.0001", "8, 0.02", "16, 0.0001", "16, 0.02"]
        boxes = [name.get_window_extent() for name in names]
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_the_figure_names_no_choice_if_the_chosen_value_is_not_shown(table, tmp_path):
    table[table["value"] == "8"].to_csv(tmp_path / "sweep.csv", index=False)
    assert draw(tmp_path / "sweep.csv", SETTINGS).note == ""


def test_a_value_without_scores_is_left_out_and_changes_no_other(table, tmp_path):
    tested = scores().query("system != 'low'")
    files = [path for path in tmp_path.rglob("history.csv") if "low" not in path.parts]
    part = sweep_table(tested, read_histories(files, SETTINGS, ABOUT.history_columns()), ABOUT)
    whole = table[table["value"] == "64"].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, whole)
    assert "| 64 | **0.5000" in to_markdown(arrange_sweep(part, ABOUT))
    trained = read_histories(tmp_path.rglob("history.csv"), SETTINGS, ABOUT.history_columns())
    pd.testing.assert_frame_equal(sweep_table(tested, trained, ABOUT), whole)
