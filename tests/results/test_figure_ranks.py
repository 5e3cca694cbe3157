"""Critical-difference diagrams join the right systems and are legible."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import assert_inside, assert_same_files
from matplotlib.colors import same_color
from synthetic_results import draw_figure

from nmer.names import PAPER_SYSTEMS
from nmer.results.figures.ranks import COLUMNS, draw_ranks, joined, with_bars
from nmer.results.labels import SYSTEM_LABELS, system_label
from nmer.results.style import system_styles


def make_ranks(systems, rank_of, critical_difference=1.0, p=0.0004, blocks=24):
    rows = [
        (metric, system, rank, blocks, p, critical_difference)
        for metric in ("WA", "UA")
        for system, rank in zip(systems, rank_of, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS[:-1])).astype({"blocks": "Int64"})


def largest_groups(ordered, critical_difference):
    """Return the maximal sets of two or more systems whose ranks all differ by less, by exhaustive search."""
    close = [
        set(chosen)
        for size in range(2, len(ordered) + 1)
        for chosen in itertools.combinations(range(len(ordered)), size)
        if all(abs(ordered[i] - ordered[j]) < critical_difference for i, j in itertools.combinations(chosen, 2))
    ]
    return sorted((min(group), max(group)) for group in close if not any(group < other for other in close))


def test_bars_join_the_largest_groups_that_differ_by_less_than_the_critical_difference():
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        ordered = np.sort(generator.uniform(1, 7, generator.integers(3, 8))).tolist()
        groups = joined(ordered, 1.5)
        assert groups == largest_groups(ordered, 1.5)
        found += len(groups) > 1
    assert found > 20, "overlapping bars are among them"


def test_a_difference_equal_to_the_critical_difference_is_significant():
    assert joined([1.0, 2.0, 3.0], 1.0) == []
    assert joined([1.0, 2.0, 2.0], 1.0) == [(1, 2)]


def test_the_data_name_the_bars_of_each_system_with_the_best_first():
    ranks = with_bars(make_ranks(["men", "mctn", "mmin", "nmer"], [4.0, 2.1, 1.8, 1.2]))
    wa = ranks[ranks["metric"] == "WA"]
    assert list(zip(wa["system"], wa["bars"], strict=True)) == [
        ("nmer", "1"),
        ("mmin", "1"),
        ("mctn", "1"),
        ("men", ""),
    ]
    wider = with_bars(make_ranks(["men", "mctn", "mmin", "nmer"], [3.0, 2.1, 1.8, 1.2]))
    assert wider["bars"].tolist() == ["1", "1", "1 2", "2"] * 2


def test_every_system_is_named_with_its_rank_in_its_colour():
    systems = [*PAPER_SYSTEMS]
    rank_of = [6.5, 2.25, 5.5, 3.5, 1.25, 4.5, 4.5]
    figure = draw_ranks(with_bars(make_ranks(systems, rank_of)))
    styles = system_styles(systems)
    assert len(figure.axes) == 2
    for axis, metric in zip(figure.axes, ("WA", "UA"), strict=True):
        texts = [text.get_text() for text in axis.texts]
        assert f"{metric}: Friedman test over 24 blocks, p < 0.001" in texts
        for system, rank in zip(systems, rank_of, strict=True):
            name = system_label(system)
            assert f"{name}  {rank:.2f}" in texts or f"{rank:.2f}  {name}" in texts
            style = styles[system]
            assert any(same_color(x.get_color(), style.color) and x.get_marker() == style.marker for x in axis.lines)


def test_markers_are_at_their_ticks():
    axis = draw_ranks(with_bars(make_ranks(["men", "mctn", "nmer"], [1.5, 1.5, 3.0]))).axes[0]
    ticks = {text.get_text(): text.get_position()[0] for text in axis.texts if text.get_text() in "123"}
    markers = {line.get_marker(): line.get_xdata()[0] for line in axis.lines if line.get_marker() != "None"}
    assert markers["D"] == pytest.approx(ticks["3"])
    assert markers["o"] == markers["v"] == pytest.approx((ticks["1"] + ticks["2"]) / 2)


def test_systems_of_equal_rank_each_have_a_marker_at_their_name():
    axis = draw_ranks(with_bars(make_ranks(["men", "mctn", "mmin", "nmer"], [1.5, 1.5, 3.5, 3.5]))).axes[0]
    ends = [tuple(line.get_xydata()[-1]) for line in axis.lines if line.get_marker() != "None"]
    assert len(set(ends)) == 4
    names = [text.get_window_extent() for text in axis.texts]
    assert not any(box.contains(*axis.transData.transform(end)) for box in names for end in ends)


def test_metrics_are_in_the_order_of_the_experiment(tmp_path, small_settings):
    make_ranks(["men", "mctn", "nmer"], [1.0, 2.0, 3.0]).to_csv(tmp_path / "ranks.csv", index=False)
    settings = replace(small_settings, metrics=("UA", "WA"))
    draw_figure("ranks", tmp_path / "figure", settings=settings, ranks=tmp_path / "ranks.csv")
    assert pd.read_csv(tmp_path / "figure.csv")["metric"].unique().tolist() == ["UA", "WA"]


def test_an_insignificant_friedman_test_is_stated():
    axis = draw_ranks(with_bars(make_ranks(["men", "mctn", "nmer"], [1.8, 2.0, 2.2], 2.34, p=0.213))).axes[0]
    title = "WA: Friedman test over 24 blocks, p = 0.213: no significant difference between the systems"
    assert title in [text.get_text() for text in axis.texts]


def test_too_few_blocks_have_ranks_and_a_sentence_instead_of_a_test():
    one = make_ranks(["men", "mctn", "nmer"], [1, 2, 3], critical_difference=np.nan, p=np.nan, blocks=1)
    assert "WA: 1 block (datasets" in draw_ranks(with_bars(one)).axes[0].texts[0].get_text()
    table = make_ranks(["men", "mctn", "nmer"], [1.5, 1.6, 2.9], critical_difference=np.nan, p=np.nan, blocks=5)
    ranks = with_bars(table)
    assert set(ranks["bars"]) == {""}, "no bar joins systems without a test"
    texts = [text.get_text() for text in draw_ranks(ranks).axes[0].texts]
    assert "WA: 5 blocks (datasets and folds), too few for a test: 6 are needed" in texts
    assert not any("critical difference" in text for text in texts)


@pytest.mark.parametrize(
    ("systems", "critical_difference"),
    [(["men", "nmer", "mine"], 2.34), ([*SYSTEM_LABELS, *(f"a_rather_long_name_of_system_{n}" for n in range(5))], 14)],
)
def test_names_and_the_critical_difference_stay_on_the_page(systems, critical_difference):
    rank_of = np.linspace(1, len(systems), len(systems))
    figure = draw_ranks(with_bars(make_ranks(systems, rank_of, critical_difference)))
    assert_inside(figure)
    for axis in figure.axes:
        boxes = [text.get_window_extent() for text in axis.texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_too_few_systems_have_a_sentence_and_a_table_with_only_a_header(tmp_path, small_settings):
    (tmp_path / "ranks.csv").write_text(",".join(COLUMNS[:-1]) + "\n")
    draw_figure("ranks", tmp_path / "figure", settings=small_settings, ranks=tmp_path / "ranks.csv")
    assert list(pd.read_csv(tmp_path / "figure.csv")) == list(COLUMNS)
    (text,) = draw_ranks(with_bars(make_ranks([], []))).texts
    assert text.get_text() == "Ranks need at least three systems that were tested on the same data."


def test_the_step_writes_the_same_three_files_the_second_time(tmp_path, small_settings):
    table = make_ranks(["men", "mctn", "nmer"], [1.5, 1.5, 3.0], p=1e-20)
    table.to_csv(tmp_path / "ranks.csv", index=False)
    for name in ("one", "two"):
        draw_figure("ranks", tmp_path / name, settings=small_settings, ranks=tmp_path / "ranks.csv")
    assert_same_files(tmp_path / "one", tmp_path / "two")
    written = pd.read_csv(tmp_path / "one.csv")
    pd.testing.assert_frame_equal(written.drop(columns="bars"), table, check_dtype=False)


def test_only_the_metrics_of_the_settings_are_shown(tmp_path, small_settings):
    table = make_ranks(["men", "mctn", "nmer"], [1.5, 1.5, 3.0])
    pd.concat([table, table.assign(metric="WF1")]).to_csv(tmp_path / "ranks.csv", index=False)
    draw_figure(
        "ranks", tmp_path / "f", settings=replace(small_settings, metrics=("WF1",)), ranks=tmp_path / "ranks.csv"
    )
    assert set(pd.read_csv(tmp_path / "f.csv")["metric"]) == {"WF1"}
