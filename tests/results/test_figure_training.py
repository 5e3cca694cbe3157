"""Training curves: means and ranges over runs, read from histories."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import assert_inside, assert_same_files, lines
from synthetic_results import draw_figure

from nmer.errors import DataError
from nmer.report_settings import ReportSettings
from nmer.results.figures.training import draw_training, read_histories, training_curves
from nmer.results.labels import SYSTEM_LABELS
from nmer.results.style import system_styles

SETTINGS = ReportSettings.from_mapping(
    {
        "datasets": {"mosi": {"paper_name": None, "synthetic": False}},
        "systems": ["my_system", "nmer", "men"],
        "snr_db": {"impulse": [-10], "gaussian": [-20, -10, -40]},
        "reference_noise": "gaussian",
    }
)
NOISE = ("gaussian_-10dB", "gaussian_-20dB", "gaussian_-40dB", "impulse_-10dB")
EPOCHS = 4


def write_histories(folder, systems=("men", "nmer", "my_system"), noise=NOISE, folds=2, repeats=3, lowest=0.01):
    """Write random histories in the workflow's folders; return their files and the rows of each."""
    generator, rows_of = np.random.default_rng(0), {}
    for system, fold in itertools.product(systems, range(1, folds + 1)):
        places = (
            ["clean"]
            if system == "men"
            else [f"{regime}/{name}" for regime in ("incomplete", "all_noisy") for name in noise]
        )
        for place in places:
            rows = [
                (repeat, epoch, 0.0002, generator.uniform(lowest, 9), 1.0, generator.random(), generator.random())
                for repeat in range(1, repeats + 1)
                for epoch in range(1, EPOCHS + 1)
            ]
            path = folder / f"runs/mosi/{system}/{place}/fold{fold}/history.csv"
            path.parent.mkdir(parents=True)
            names = ["repeat", "epoch", "learning_rate", "loss", "loss_classification", "val_WA", "val_UA"]
            pd.DataFrame(rows, columns=names).to_csv(path, index=False)
            rows_of[path] = rows
    return rows_of


def test_curves_are_the_mean_and_the_range_over_folds_and_repeats(tmp_path):
    rows_of = write_histories(tmp_path)
    curves = training_curves(read_histories(rows_of, SETTINGS), SETTINGS, "mosi")
    assert len(curves) == 2 * 2 * 3 * EPOCHS, "levels, quantities, systems, epochs"
    assert set(curves["n"]) == {6}
    for row in curves.itertuples():
        place = "clean" if row.system == "men" else f"incomplete/gaussian_{row.snr_db}dB"
        column = {"loss": 3, "val_UA": 6}[row.quantity]
        values = [
            run[column]
            for path, rows in rows_of.items()
            for run in rows
            if f"/{row.system}/{place}/" in path.as_posix() and run[1] == row.epoch
        ]
        assert len(values) == 6
        assert (row.mean, row.low, row.high) == pytest.approx((sum(values) / 6, min(values), max(values)))
    order = [("val_UA", -10), ("loss", -10), ("val_UA", -40), ("loss", -40)]
    assert list(dict.fromkeys(zip(curves["quantity"], curves["snr_db"], strict=True))) == order


def test_each_system_has_the_same_colour_in_every_panel(tmp_path):
    figure = draw_training(training_curves(read_histories(write_histories(tmp_path), SETTINGS), SETTINGS, "mosi"))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Gaussian, −10 dB", "Gaussian, −40 dB", "", ""]
    styles = system_styles(["men", "nmer", "my_system"])
    for axis in figure.axes:
        drawn = lines(axis)
        colors = [drawn[label].get_color() for label in ("MEN", "NMER", "my_system")]
        assert colors == [style.color for style in styles.values()]


@pytest.mark.parametrize(("lowest", "scale"), [(0.01, "log"), (-5, "symlog")])
def test_a_negative_loss_is_drawn_on_a_scale_that_also_shows_large_losses(tmp_path, lowest, scale):
    histories = read_histories(write_histories(tmp_path, lowest=lowest), SETTINGS)
    assert (histories["loss"].min() < 0) == (scale == "symlog")
    axes = draw_training(training_curves(histories, SETTINGS, "mosi")).axes
    assert [axis.get_yscale() for axis in axes] == ["linear", "linear", scale, scale]


@pytest.mark.parametrize("systems", [["men"], ["nmer"], [*SYSTEM_LABELS, "a_rather_long_name_of_a_system_of_my_own"]])
@pytest.mark.parametrize("kind", ["gaussian", "zero"])
def test_any_experiment_fits_on_the_page(tmp_path, systems, kind):
    settings = replace(SETTINGS, systems=systems, snr_db={"gaussian": [-10], "zero": []}, reference_noise=kind)
    files = write_histories(tmp_path, systems, ("gaussian_-10dB", "zero"), folds=1, repeats=1)
    figure = draw_training(training_curves(read_histories(files, settings), settings, "mosi"))
    assert_inside(figure)
    assert [len(lines(axis)) for axis in figure.axes] == [len(systems)] * 2


def test_without_a_history_a_sentence_is_drawn():
    curves = training_curves(read_histories([], SETTINGS), SETTINGS, "mosi")
    (text,) = draw_training(curves).texts
    assert text.get_text() == "This experiment has no training of a multimodal system."


@pytest.mark.parametrize(
    "place",
    ["history.csv", "fold1/history.csv", "mosi/nmer/incomplete/gaussian_-11dB/fold1/history.csv", "nmer/clean/fold1/h"],
)
def test_a_history_outside_its_folders_is_refused_by_name(place):
    with pytest.raises(DataError, match=f"^{place}: its folders name no run of these settings"):
        read_histories([place], SETTINGS)


def test_a_file_that_is_not_a_history_is_refused_by_name(tmp_path):
    (path,) = write_histories(tmp_path, ["men"], folds=1)
    path.write_text("repeat,epoch,loss\n1,1,0.5\n")
    with pytest.raises(DataError, match=r"men/clean/fold1/history\.csv: no column val_UA"):
        read_histories([path], SETTINGS)


def test_the_step_writes_the_same_three_files_the_second_time(tmp_path):
    files = list(write_histories(tmp_path))
    for name, order in (("one", files), ("two", files[::-1])):
        draw_figure("training", tmp_path / name, "mosi", SETTINGS, histories=order)
    assert_same_files(tmp_path / "one", tmp_path / "two")
    assert len(pd.read_csv(tmp_path / "one.csv")) == 2 * 2 * 3 * EPOCHS


def test_curves_do_not_depend_on_settings_the_figure_does_not_read(tmp_path):
    files, others = (
        list(write_histories(tmp_path)),
        replace(SETTINGS, metrics=("F1",), conditions=("l",), reference="men"),
    )
    expected, other = (training_curves(read_histories(files, each), each, "mosi") for each in (SETTINGS, others))
    pd.testing.assert_frame_equal(other, expected)
