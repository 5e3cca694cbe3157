"""Names stay text in tables and their readers, Markdown, LaTeX and figures."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from drawn import assert_inside
from matplotlib import ft2font
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from synthetic_results import draw_figure

from nmer.names import SIX_CONDITIONS
from nmer.report_settings import ReportSettings
from nmer.results.class_labels import drawn_labels, legend
from nmer.results.drawn_text import drawn_system
from nmer.results.figures.confusion import draw_confusion
from nmer.results.figures.figure3 import read_panels
from nmer.results.figures.ranks import draw_ranks, with_bars
from nmer.results.figures.recall import draw_recall
from nmer.results.labels import use_labels
from nmer.results.printed import Cell, Grid, PrintedTable, latex_text, markdown_text, to_html, to_latex, to_markdown
from nmer.results.reading import read_csv
from nmer.results.report import read_calibration
from nmer.results.style import legend_below, read_curves, wrapped

LOOKALIKES = ["null", "nan", "NA", "None", "inf", "true", "True", "007", "1e5", "N/A", "-", "<NA>"]
SPECIAL = ["a|b", "a<b", "a>b", "a&b", "*a*", "_a_", "a_b_c", "`a`", "[a](b)", "a\\b", "a\\|b", "~a~", "$x$", "&lt;"]
DRAWN = ["happy", "fröhlich", "žlutý", "радость", "χαρά", "ANGER!", "50 %"]
NOT_DRAWN = ["高兴", "うれしい", "기쁨", "आनंद", "שמחה", "سعيد", "สุข", "\U0001fae0"]
NOT_DRAWN += ["e\u0301", "zero\u200bwidth", "a" * 41]


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_name_that_looks_like_another_value_stays_text_in_tables(tmp_path, name):
    path = tmp_path / "x.csv"
    columns = {"dataset": [name, "d"], "noise": [name, ""], "label": name, "value": [1.5, None], "n": [3, 4]}
    pd.DataFrame(columns).to_csv(path, index=False)
    table = read_csv(path)
    assert table["dataset"].tolist() == [name, "d"]
    assert table["noise"][0] == name
    assert pd.isna(table["noise"][1])
    assert table["label"].tolist() == [name, name]
    assert table["value"][0] == 1.5
    assert np.isnan(table["value"][1])
    assert table["n"].tolist() == [3, 4]


def test_columns_of_numbers_are_read_as_by_pandas(tmp_path):
    path = tmp_path / "x.csv"
    random = np.random.default_rng(0)
    written = pd.DataFrame(
        {
            "float": random.normal(size=20) * 10.0 ** random.integers(-300, 300, 20),
            "missing": [np.nan, *random.normal(size=19)],
            "text nan": ["nan", *map(str, range(19))],
            "whole": random.integers(-(2**40), 2**40, 20),
            "flag": [True, False] * 10,
            "nothing": [None] * 20,
            "remark": ["a", *map(str, range(19))],
        }
    )
    written.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_csv(path), pd.read_csv(path), check_dtype=False, check_exact=True)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_the_calibration_and_figure_3_keep_such_names(tmp_path, name):
    path = tmp_path / "c.csv"
    path.write_text(
        "dataset,modality,noise,snr_db,variance,T,alpha_bar,attained_db,effective_db,target_db\n"
        f"{name},a,{name},-10,1,46,0.09,-10,-10,-10\n"
    )
    (row,) = read_calibration([str(path)])
    assert row["dataset"] == name
    assert row["noise"] == name
    path.write_text(f"noise,snr_db,modality,kind\n{name},-20,a,x\n{name},-10,a,x\n")
    assert read_panels([str(path)], ["noise", "snr_db"])["noise"].tolist() == [name, name]


# Markdown and LaTeX


def printed(name: str) -> PrintedTable:
    grid = Grid(name, ("Quantity",), (((name, 1), ("Paper", 1)),), (((name,), (Cell("1"), Cell("2"))),))
    return PrintedTable(1, "Table 1.", "", (grid,))


def split(line: str) -> list[str]:
    """Return the cells of a row, split like GitHub at pipes without a backslash."""
    found, escaped = [""], False
    for character in line:
        if character == "|" and not escaped:
            found.append("")
        else:
            found[-1] += character
        escaped = character == "\\" and not escaped
    return [cell.strip() for cell in found[1:-1]]


def rendered(text: str) -> str:
    """Return a text as Markdown renders it, with escapes resolved. Fails if unescaped markup remains."""
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", text)
    assert not re.search(r"[*_`<>\[\]&~$|\\]", bare), text
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


@pytest.mark.parametrize("name", SPECIAL)
def test_names_are_escaped_in_every_place_of_a_markdown_table(name):
    assert rendered(markdown_text(name)) == name
    lines = to_markdown(printed(name)).splitlines()
    rows = [split(line) for line in lines if line.startswith("|")]
    assert {len(row) for row in rows} == {3}
    head, _rule, body = rows
    assert rendered(head[1]) == name
    assert rendered(body[0]) == name
    (title,) = [line for line in lines if line.startswith("*") and not line.startswith("**")]
    assert rendered(title[1:-1]) == name


@pytest.mark.parametrize("name", ["a<b", "a&b", "<script>alert(1)</script>"])
def test_names_are_escaped_in_html(name):
    assert name not in to_html(printed(name))


def test_marks_and_captions_are_escaped_as_names_are():
    grid = Grid("d", ("System",), ((("WA", 1),),), ((("x",), (Cell("1", mark="† <i>*a* 1/2"),)),))
    table = PrintedTable(0, "<i>*a* minus each other system.", "<i>*a*", (grid,))
    assert "<i>" not in to_html(table)
    assert to_markdown(table).count(r"\<i\>\*a\*") == 3


@pytest.mark.parametrize("name", ["[ours] x", "*ours"])
def test_a_latex_row_does_not_begin_with_what_reads_as_an_argument(name):
    rows = to_latex(printed(name)).splitlines()
    (row,) = [line.strip() for line in rows if "ours" in line and "multicolumn" not in line and "caption" not in line]
    assert row.startswith(f"{{{name[0]}}}{name[1:]} &")


def test_latex_names_the_engine_for_other_scripts():
    assert "XeLaTeX" not in to_latex(printed("fröhlich “–”"))
    assert to_latex(printed("高兴")).splitlines()[1].startswith("% needs XeLaTeX or LuaLaTeX")
    assert latex_text("50 % & more_of#it|x") == r"50 \% \& more\_of\#it\textbar{}x"


# Figures


@pytest.mark.parametrize("name", DRAWN)
def test_names_with_glyphs_in_the_font_are_drawn(name):
    font = ft2font.FT2Font(findfont("DejaVu Sans"))
    assert all(font.get_char_index(ord(character)) for character in name)
    assert drawn_labels([name, "x"]) == {name: name, "x": "x"}
    assert legend([name]) == ""


@pytest.mark.parametrize("name", NOT_DRAWN)
def test_other_names_are_numbered_with_a_legend(name):
    assert drawn_labels(["sad", name]) == {"sad": "sad", name: "#2"}
    assert f"#2 is {name}." in legend(["sad", name])


def test_a_number_is_never_the_name_of_another_class():
    assert drawn_labels(["高兴", "#1", "x"]) == {"高兴": "##1", "#1": "#1", "x": "x"}


@pytest.mark.parametrize(
    ("title", "drawn"),
    [("Ours, #2 (50%)", "Ours, #2 (50%)"), ("$a$ $\\b$", r"\$a\$ \$\b\$"), ("我的", "mine"), ("_mine", "mine")],
)
@pytest.mark.filterwarnings("error")  # missing glyphs and failing layouts
def test_the_title_of_a_system_is_drawn_as_it_is_or_replaced_by_the_name(title, drawn, tmp_path):
    use_labels({"mine": title})
    try:
        assert drawn_system("mine") == drawn
        ranks = {"metric": "WA", "system": ["mine", "men", "nmer"], "rank": [1.0, 2.0, 3.0], "blocks": 6}
        table = pd.DataFrame(ranks | {"friedman_p": 0.5, "critical_difference": 1.0})
        draw_ranks(with_bars(table)).savefig(tmp_path / "x.png", dpi=50)
        figure = Figure()
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], label=drawn_system("mine"))
        legend_below(figure, ["mine"])
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [drawn]
        assert [curve["label"] for curve in read_curves(figure)] == [title if "$" in title else drawn]
    finally:
        use_labels({})


def test_a_title_is_not_wrapped_within_an_escape():
    assert wrapped(r"abc\$\$\$\$", 6).split("\n") == [r"abc\$\$", r"\$\$"]


def recalls(classes: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"noise": "gaussian", "snr_db": level, "rate": None, "system": "nmer", "label": name, "recall": 0.5}
            for name in classes
            for level in (-10, -20)
        ]
    )


def shares(classes: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"noise": "gaussian", "snr_db": -10, "system": "nmer", "label": name, "predicted": other, "share": 0.5}
            for name in classes
            for other in classes
        ]
    )


@pytest.mark.parametrize("classes", [["高兴", "悲伤"], ["$a$", r"$\frac{1}$"], ["سعيد", "b" * 200], ["x_1^2", "50 %"]])
@pytest.mark.filterwarnings("error")  # missing glyphs and failing layouts
def test_figures_are_drawn_with_any_class_names(classes, tmp_path):
    for figure in (draw_recall(recalls(classes)), draw_confusion(shares(classes))):
        figure.savefig(tmp_path / "x.png", dpi=50)
        figure.savefig(tmp_path / "x.pdf")


def test_long_titles_of_neighbouring_panels_do_not_overlap():
    named = recalls(["anger & disgust", "a class of forty letters, to be precise"] * 2 + ["calm", "x" * 40])
    drawn = pd.concat([named, named.assign(noise="autoregressive")])
    figure = draw_recall(drawn[~drawn.duplicated()])
    figure.draw_without_rendering()
    titles = [axis._left_title.get_window_extent() for axis in figure.axes if axis._left_title.get_text()]
    assert len(titles) == 8
    assert not any(one.overlaps(other) for one, other in itertools.combinations(titles, 2))
    assert_inside(figure)


@pytest.mark.parametrize("figure", ["recall", "confusion"])
def test_the_caption_has_the_legend_and_the_step_prints_it(tmp_path, figure, capsys):
    settings = ReportSettings.from_mapping(
        {
            "datasets": {"d": {}},
            "systems": ["nmer"],
            "snr_db": {"gaussian": [-10]},
            "reference_noise": "gaussian",
        }
    )
    for first in ("高兴", "glad"):
        rows = [
            ("d", "nmer", "incomplete", "gaussian", -10, condition, label, predicted, 5)
            for condition in SIX_CONDITIONS
            for label in (first, "sad")
            for predicted in (first, "sad")
        ]
        names = ["dataset", "system", "regime", "noise", "snr_db", "condition", "label", "predicted", "count"]
        pd.DataFrame(rows, columns=names).to_csv(tmp_path / "counts.csv", index=False)
        draw_figure(figure, tmp_path / "figure_d", "d", settings, confusion=tmp_path / "counts.csv")
        caption, printed = json.loads((tmp_path / "figure_d.json").read_text())["caption"], capsys.readouterr().err
        assert ("#1 is 高兴." in caption) == (first == "高兴")
        assert ("figure_d: Class names that the figure's font cannot draw" in printed) == (first == "高兴")
