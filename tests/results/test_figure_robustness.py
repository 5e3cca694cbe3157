"""Robustness curves show the cells of Table 2 with intervals and are legible for any experiment."""

import itertools
import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from drawn import assert_same_files, lines
from published import published
from synthetic_results import draw_figure, make_intervals, make_scores

from nmer.figures import figures
from nmer.names import PAPER_SYSTEMS
from nmer.results.figures.robustness import draw_robustness, robustness
from nmer.results.labels import system_label
from nmer.results.style import system_styles
from nmer.results.tables import table_2


@pytest.fixture
def intervals(small_scores):
    return make_intervals(small_scores)


def test_the_curves_are_the_cells_of_table_2(small_settings, small_scores, intervals, reference):
    paper = published(reference, 2).astype({"snr_db": "Int64"})
    key = ["dataset", "system", "noise", "snr_db", "metric"]
    table = table_2(small_scores, small_settings, paper).dropna(subset="mean").set_index(key)["mean"]
    curves = robustness(intervals, small_settings).set_index(key)["value"]
    pd.testing.assert_series_equal(curves.sort_index(), table.sort_index(), check_names=False)


def test_a_bar_spans_the_interval_even_where_it_excludes_the_value(small_settings, intervals):
    curves = robustness(intervals, small_settings)
    assert (curves["low"] > curves["value"]).any()
    assert (curves["low"] < curves["value"]).any()
    first = draw_robustness(curves, small_settings).axes[0]
    part = curves[(curves["dataset"] == "iemocap") & (curves["noise"] == "gaussian") & (curves["metric"] == "WA")]
    drawn = [bar.get_segments() for container in first.containers for bar in container.lines[2]]
    for system, segments in zip(["men", "nmer", "my_system"], drawn, strict=True):
        expected = part.loc[part["system"] == system, ["low", "high"]].to_numpy()
        assert [[end[1] for end in segment] for segment in segments] == pytest.approx(expected)


def test_the_step_writes_the_same_three_files_the_second_time(tmp_path, small_settings, intervals):
    settings = replace(small_settings, snr_db={"gaussian": [-10, -40]})
    intervals.to_csv(tmp_path / "intervals.csv", index=False)
    for name in ("one", "two"):
        draw_figure("robustness", tmp_path / name, settings=settings, intervals=tmp_path / "intervals.csv")
    assert_same_files(tmp_path / "one", tmp_path / "two")
    written = pd.read_csv(tmp_path / "one.csv")
    assert len(written) == 3 * 3 * 2 * 2, "datasets, systems, levels, metrics"
    assert {"value", "low", "high"} < set(written)


def test_a_file_without_intervals_is_refused_by_name(tmp_path, small_settings, small_scores, capsys):
    small_scores.to_csv(tmp_path / "scores.csv", index=False)
    for name, message in (("scores.csv", "no column low, high"), ("none.csv", "cannot be read")):
        with pytest.raises(SystemExit):
            draw_figure("robustness", tmp_path / "figure", settings=small_settings, intervals=tmp_path / name)
        error = capsys.readouterr().err
        assert str(tmp_path / name) in error
        assert message in error


def test_without_a_level_the_figure_is_a_sentence(small_settings):
    settings = replace(small_settings, snr_db={"zero": []})
    intervals = make_intervals(make_scores(replace(small_settings, snr_db={"zero": [None]})))
    curves = robustness(intervals, settings)
    assert curves.empty
    figure = draw_robustness(curves, settings)
    assert [text.get_text() for text in figure.texts] == ["This experiment has no scores at an SNR or a rate."]


@pytest.mark.parametrize("name", ["mine", "a_rather_long_name_of_a_system_of_my_own"])
def test_the_legend_names_every_system_inside_the_figure_and_below_its_panels(small_settings, name):
    custom = [f"{name}_{number}" for number in range(4)]
    settings = replace(small_settings, systems=[*custom, *PAPER_SYSTEMS], snr_db={"gaussian": [-10, -40]})
    figure = draw_robustness(robustness(make_intervals(make_scores(settings, folds=1)), settings), settings)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*map(system_label, PAPER_SYSTEMS), *custom]
    box, page = legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 < box.x1 <= page.x1
    assert page.y0 <= box.y0
    assert box.y1 <= min(axis.get_tightbbox().y0 for axis in figure.axes)


def test_points_of_many_systems_stay_at_their_snr(small_settings):
    systems = [f"mine_{number}" for number in range(20)]
    settings = replace(small_settings, systems=systems, snr_db={"gaussian": [-10, -20]})
    figure = draw_robustness(robustness(make_intervals(make_scores(settings, folds=1)), settings), settings)
    drawn = lines(figure.axes[0])
    for system in systems:
        assert drawn[system].get_color() == system_styles(systems)[system].color
        for place, snr_db in zip(drawn[system].get_xdata(), (-10, -20), strict=True):
            assert abs(place - snr_db) <= 1.5 + 1e-9, "less than a sixth of the way to the next level"


def test_a_single_level_is_a_bar_per_system_from_zero(small_settings):
    settings = replace(small_settings, snr_db={"gaussian": [-10]})
    curves = robustness(make_intervals(make_scores(settings)), settings)
    first = draw_robustness(curves, settings).axes[0]
    part = curves[(curves["dataset"] == "iemocap") & (curves["metric"] == "WA")].set_index("system")["value"]
    bars = {bars.get_label(): bars.patches[0] for bars in first.containers}
    assert {name: bar.get_height() for name, bar in bars.items()} == {
        "MEN": part["men"],
        "NMER": part["nmer"],
        "my_system": part["my_system"],
    }
    assert first.get_ylim()[0] == 0
    assert "−10 dB" in first.get_title(loc="left")


@pytest.mark.parametrize("systems", [PAPER_SYSTEMS[:5], (*PAPER_SYSTEMS, "emt_dlfr", "momke", "lnln", "cif_mmin")])
def test_names_of_bars_do_not_overlap(small_settings, systems):
    settings = replace(small_settings, snr_db={"gaussian": [-10]}, systems=list(systems))
    figure = draw_robustness(robustness(make_intervals(make_scores(settings)), settings), settings)
    figure.draw_without_rendering()
    names = figure.axes[0].get_xticklabels()
    assert [name.get_text().replace("\n", " ") for name in names] == list(map(system_label, systems))
    if names[0].get_rotation():
        # Lines at 45 degrees are apart if their ends are by the height of a line times the root of two.
        ends = [figure.axes[0].transData.transform((place, 0))[0] for place in range(len(names))]
        height = names[0].get_fontsize() / 72 * figure.dpi
        assert all(right - left > math.sqrt(2) * height for left, right in itertools.pairwise(ends))
    else:
        assert not any(
            left.get_window_extent().overlaps(right.get_window_extent()) for left, right in itertools.pairwise(names)
        )


def test_a_long_name_of_a_metric_is_no_taller_than_its_panel(small_settings):
    settings = replace(small_settings, snr_db={"gaussian": [-10]})
    curves = robustness(make_intervals(make_scores(settings)), settings)
    curves["metric"] = curves["metric"].map({"WA": "Acc-2-non0", "UA": "F1-non0"})
    figure = draw_robustness(curves, settings)
    figure.draw_without_rendering()
    assert figure.axes[0].get_ylabel() == "Acc-2-non0 (two-class\naccuracy without 0)"
    assert all(axis.yaxis.label.get_window_extent().height <= axis.get_window_extent().height for axis in figure.axes)


def test_only_a_system_trained_clean_has_a_clean_line_at_its_clean_score(small_settings, small_scores, intervals):
    curves = robustness(intervals, small_settings)
    assert set(curves.loc[curves["clean"].notna(), "system"]) == {"men"}
    scored = small_scores.query("dataset == 'iemocap' and system == 'men' and condition == 'avl' and metric == 'WA'")
    expected = scored.groupby(["noise", "snr_db"])["value"].mean().mean()
    first = draw_robustness(curves, small_settings).axes[0]
    (line,) = [line for line in first.lines if line.get_linestyle() == "-."]
    assert list(line.get_ydata()) == pytest.approx([expected, expected])
    assert "MEN, clean" in [text.get_text() for text in first.texts]


def test_lines_without_markers_are_chance_and_clean_scores_even_where_systems_have_the_same_dashes(small_settings):
    """The recent systems are dash-dotted too, and references dotted; the caption must not call them clean or chance."""
    systems = ["men", "nmer", "emt_dlfr", "momke", "lnln", "cif_mmin", "majority", "logistic_regression"]
    settings = replace(small_settings, systems=systems)
    curves = robustness(make_intervals(make_scores(settings)), settings).assign(chance=0.3)
    axis = draw_robustness(curves, settings).axes[0]
    without = [line for line in axis.lines if line.get_marker() == "None"]
    (clean,) = curves.query("dataset == 'iemocap' and metric == 'WA' and system == 'men'")["clean"].unique()
    assert sorted(list(line.get_ydata()) for line in without) == sorted([[0.3, 0.3], [clean, clean]])
    drawn = {line.get_marker() for line in axis.lines}
    assert {system_styles(systems)[system].marker for system in systems} <= drawn
    assert "Horizontal lines without markers: dotted, chance" in figures.declaration("robustness").attributes["caption"]


def test_rates_have_a_separate_axis_and_increase_to_the_right(small_settings):
    names = {"drop_frames_0.6": 0.6, "drop_frames_0": 0.0, "drop_frames_0.3": 0.3}
    rates = {"drop_frames": dict(sorted(names.items(), key=lambda item: item[1])), "missing": {"missing_0.5": 0.5}}
    run = {"gaussian": [-10, -40], **{name: [None] for name in (*names, "missing_0.5", "zero")}}
    scores = make_scores(replace(small_settings, snr_db=run), folds=1)
    levels_by_noise = {noise: levels if levels != [None] else [] for noise, levels in run.items()}
    settings = replace(small_settings, snr_db=levels_by_noise, rates=rates)
    curves = robustness(make_intervals(scores), settings)
    curve = curves.query("dataset == 'iemocap' and noise == 'drop_frames' and metric == 'WA' and system == 'nmer'")
    assert curve["rate"].tolist() == [0, 0.3, 0.6]
    assert curve["snr_db"].isna().all()
    assert set(curves["noise"]) == {"gaussian", "drop_frames", "missing"}, "zero has no level"
    figure = draw_robustness(curves, settings)
    panels = {axis.get_title(loc="left").split(", ", 1)[1]: axis for axis in figure.axes[:6:2]}
    assert set(panels) == {"Gaussian", "drop frames", "missing, rate 0.5"}
    line = lines(panels["drop frames"])["NMER"]
    assert line.get_ydata() == pytest.approx(curve["value"].to_numpy())
    assert line.get_xdata() == pytest.approx([0, 0.3, 0.6], abs=0.05)
    assert [text.get_text() for text in panels["drop frames"].get_xticklabels()] == ["0", "0.3", "0.6"]
    low, high = panels["drop frames"].get_xlim()
    assert low < 0 < 0.6 < high
    assert panels["Gaussian"].get_xlim()[0] > panels["Gaussian"].get_xlim()[1]
    labels = {axis.get_xlabel() for axis in figure.axes} - {""}
    assert labels == {"SNR in dB (more noise to the right)", "rate (more noise to the right)"}


def test_the_caption_names_the_noises_without_a_level(tmp_path, small_settings):
    settings = replace(small_settings, snr_db={"gaussian": [-10], "zero": []})
    intervals = make_intervals(make_scores(replace(settings, snr_db={"gaussian": [-10], "zero": [None]}), folds=1))
    intervals.to_csv(tmp_path / "intervals.csv", index=False)
    draw_figure("robustness", tmp_path / "figure", settings=settings, intervals=tmp_path / "intervals.csv")
    caption = json.loads((tmp_path / "figure.json").read_text())["caption"]
    assert caption.endswith("Not shown because they have no level: zero.")
