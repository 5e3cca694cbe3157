"""Printed tables contain the right texts and marks and are well formed."""

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from synthetic_results import ROOT, make_scores, run_step

from nmer.results.printed import latex_text, to_html, to_latex, to_markdown
from nmer.results.printed_tables import arrange
from nmer.results.tables import SCORE_TABLES, read_paper, table_2, table_3, table_4, table_5
from nmer.results.wording import decibels


@pytest.fixture
def second(reference, small_settings, small_scores):
    return table_2(small_scores, small_settings, read_paper(reference, 2))


def test_the_best_of_each_column_is_marked(second, small_settings):
    printed = arrange(2, second, small_settings)
    for grid in printed.grids:
        for column in range(len(grid.rows[0][1])):
            values = [float(cells[column].value) for _, cells in grid.rows]
            marked = [cells[column].best for _, cells in grid.rows]
            assert marked == [value == max(values) for value in values]


def test_a_single_system_is_not_marked_best(reference, small_settings):
    settings = replace(small_settings, systems=["nmer"])
    table = table_2(make_scores(settings), settings, read_paper(reference, 2))
    assert "**0" not in to_markdown(arrange(2, table, settings))


def test_columns_are_ordered_as_in_the_paper(second, small_settings):
    grid = arrange(2, second, small_settings).grids[0]
    assert grid.header[0] == (("−10 dB", 4), ("−40 dB", 2))
    assert grid.header[1] == (("Gaussian", 2), ("Impulse", 2), ("Gaussian", 2))
    assert [labels for labels, _ in grid.rows] == [("MEN",), ("NMER",), ("my_system",)]


def test_rows_of_table_3_are_levels_and_metrics(reference, small_settings, small_scores):
    table = table_3(small_scores, small_settings, read_paper(reference, 3))
    grid = arrange(3, table, small_settings).grids[0]
    assert [labels for labels, _ in grid.rows] == [
        ("−10 dB", "WA"),
        ("−10 dB", "UA"),
        ("−40 dB", "WA"),
        ("−40 dB", "UA"),
    ]
    assert [text for text, _ in grid.header[-1]] == ["a", "v", "l", "av", "al", "vl", "Avg."]
    assert grid.rows[0][1][0].paper == "0.7275"


@pytest.fixture
def fourth(reference, unimodal_settings, unimodal_scores):
    table = table_4(unimodal_scores, unimodal_settings, read_paper(reference, 4))
    return arrange(4, table, unimodal_settings)


def test_rows_of_table_4_are_levels_and_columns_modalities(fourth):
    grid = fourth.grids[0]
    assert [labels for labels, _ in grid.rows] == [("clean",), ("0 dB",), ("−10 dB",), ("−40 dB",)]
    assert grid.header[0] == (("acoustic", 2), ("visual", 2), ("lexical", 2))
    assert [text for text, _ in grid.header[1]] == ["WA", "UA"] * 3
    assert [cell.paper for cell in grid.rows[0][1]] == [""] * 6
    assert [cell.paper for cell in grid.rows[1][1]] == ["0.6693", "0.6776", "0.5723", "0.5560", "0.6484", "0.6592"]
    assert len(fourth.grids) == 2, "the third dataset was neither run nor published"


def test_table_4_marks_the_best_modality_of_each_level_and_explains_it(fourth):
    for grid in fourth.grids:
        for _, cells in grid.rows:
            for metric in (0, 1):
                values = [float(cell.value) for cell in cells[metric::2]]
                assert [cell.best for cell in cells[metric::2]] == [value == max(values) for value in values]
    assert "best modality of its row and metric" in fourth.note
    assert "best of its column" not in fourth.note


def test_the_note_of_table_4_mentions_the_clean_row_only_if_there_is_one(
    fourth, reference, unimodal_settings, unimodal_scores
):
    assert "Clean: trained and tested without noise" in fourth.note
    noisy = unimodal_scores[unimodal_scores["condition"] == "none"]
    printed = arrange(4, table_4(noisy, unimodal_settings, read_paper(reference, 4)), unimodal_settings)
    assert "Clean" not in printed.note
    assert [labels for labels, _ in printed.grids[0].rows] == [("0 dB",), ("−10 dB",), ("−40 dB",)]


def test_table_4_has_the_same_content_in_all_three_formats(fourth):
    markdown, latex, page = to_markdown(fourth), to_latex(fourth), to_html(fourth)
    for text in (markdown, latex, page):
        values = [cell.value for grid in fourth.grids for _, cells in grid.rows for cell in cells]
        places = [text.index(value) for value in values]
        assert places == sorted(places), "cells are in the order of the arrangement"
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert rows[0] == "| SNR | acoustic WA | acoustic UA | visual WA | visual UA | lexical WA | lexical UA |"
    assert [row.split(" | ")[0] for row in rows[2:6]] == ["| clean", "| 0 dB", "| −10 dB", "| −40 dB"]
    assert " & \\multicolumn{2}{c}{acoustic} & \\multicolumn{2}{c}{visual} & \\multicolumn{2}{c}{lexical}" in latex
    assert_latex_is_whole(latex, columns=7)
    parser = Scopes()
    parser.feed(page)
    assert parser.count == {"table": 2, "caption": 2, "bare": 0}


def test_a_modality_that_was_not_run_at_a_level_is_a_dash_with_the_papers_value(
    reference, unimodal_settings, unimodal_scores
):
    not_run = (unimodal_scores["system"] == "unimodal_v") & (unimodal_scores["snr_db"] == 0).fillna(False)
    table = table_4(unimodal_scores[~not_run], unimodal_settings, read_paper(reference, 4))
    printed = arrange(4, table, unimodal_settings)
    cells = dict(printed.grids[0].rows)[("0 dB",)]
    assert [(cell.value, cell.paper, cell.difference) for cell in cells[2:4]] == [
        ("–", "0.5723", ""),
        ("–", "0.5560", ""),
    ]
    assert "0.0000" not in to_markdown(printed) + to_latex(printed) + to_html(printed)


def test_our_and_the_papers_values_are_printed_with_four_decimals(second, small_settings):
    text = to_markdown(arrange(2, second, small_settings))
    assert re.search(r"0\.\d{4} ± 0\.\d{4}(\*\*)? \(0\.7120, [+−]0\.\d{4}\)", text)
    assert "in place of IEMOCAP" in text
    assert re.search(r"0\.\d{4} ± 0\.\d{4}(\*\*)? \(0\.7120\) ", text), "synthetic: no difference"


def test_a_cell_that_was_not_run_is_a_dash(reference, small_settings, small_scores):
    scores = small_scores[(small_scores["system"] != "nmer") | (small_scores["snr_db"] != -40)]
    printed = arrange(2, table_2(scores, small_settings, read_paper(reference, 2)), small_settings)
    nmer = dict(printed.grids[0].rows)[("NMER",)]
    assert [cell.value for cell in nmer[-2:]] == ["–", "–"]
    assert "0.0000" not in to_markdown(printed) + to_latex(printed) + to_html(printed)


def test_an_empty_table_has_a_sentence(reference, small_settings, small_scores):
    settings = replace(small_settings, systems=[])
    printed = arrange(5, table_5(small_scores, settings, read_paper(reference, 5)), settings)
    without = arrange(4, table_4(small_scores, small_settings, read_paper(reference, 4)), small_settings)
    for render in (to_markdown, to_latex, to_html):
        assert "no cell of this table was run" in render(printed)
        assert "Table 4: no cell of this table was run" in render(without)


def test_latex_escapes_special_characters():
    assert latex_text("w/o L_inv & 50% −10") == r"w/o $L_{\mathrm{inv}}$ \& 50\% $-$10"
    assert latex_text("my_L_inv") == r"my\_L\_inv", "a user-defined name is not a formula"
    assert latex_text("a\\b{c}~^#$") == r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}\#\$"


def assert_latex_is_whole(text, columns):
    assert re.sub(r"\\[{}]", "", text).count("{") == re.sub(r"\\[{}]", "", text).count("}")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert text.isascii()
    for block in re.findall(r"\\midrule(.*?)\\bottomrule", text, re.DOTALL):
        for row in block.strip().split(r"\\")[:-1]:
            assert len(re.findall(r"(?<!\\)&", row)) == columns - 1


def test_latex_is_balanced_and_every_row_is_complete(second, small_settings):
    assert_latex_is_whole(to_latex(arrange(2, second, small_settings)), columns=7)


def test_markdown_rows_have_as_many_cells_as_their_head(second, small_settings):
    rows = [line for line in to_markdown(arrange(2, second, small_settings)).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {8}


class Scopes(HTMLParser):
    """Counts tables, captions and heads without a scope."""

    def __init__(self):
        super().__init__()
        self.count = {"table": 0, "caption": 0, "bare": 0}

    def handle_starttag(self, tag, attributes):
        if tag in self.count:
            self.count[tag] += 1
        if tag == "th" and "scope" not in dict(attributes):
            self.count["bare"] += 1


def test_html_tables_have_captions_and_scoped_heads_and_escape_names(second, small_settings):
    table = second.assign(system=second["system"].replace("my_system", "a<b>&c"))
    settings = replace(small_settings, systems=["men", "nmer", "a<b>&c"])
    text = to_html(arrange(2, table, settings))
    parser = Scopes()
    parser.feed(text)
    assert parser.count == {"table": 3, "caption": 3, "bare": 0}
    assert "a&lt;b&gt;&amp;c" in text


def test_levels_are_printed_with_a_minus_sign():
    assert [decibels(-10), decibels(0), decibels(None)] == ["−10 dB", "0 dB", "no SNR"]


def test_the_step_writes_four_files_that_are_equal_the_second_time(tmp_path, small_settings, small_scores):
    small_scores.to_csv(tmp_path / "scores.csv", index=False)
    settings = small_settings.to_json()
    for folder in ("one", "two"):
        stem = tmp_path / folder / "table2"
        arguments = ("--table", 2, "--settings", settings, "--scores", tmp_path / "scores.csv", "--output-stem", stem)
        run_step("make_table.py", *arguments)
    for suffix in (".csv", ".md", ".tex", ".html"):
        one, two = ((tmp_path / folder / f"table2{suffix}").read_bytes() for folder in ("one", "two"))
        assert one == two
    columns = ["mean", "std", "n", "paper", "difference", "trainings", "at_chance", "wa_at_majority"]
    assert list(pd.read_csv(tmp_path / "one" / "table2.csv"))[-8:] == columns


def test_the_step_needs_no_plotting_library():
    code = "import sys, make_table, collect_scores; assert not {'matplotlib', 'openTSNE', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "scripts")


def test_other_metrics_are_shown_instead_of_wa_and_ua(small_settings, small_scores, reference):
    scores = pd.concat([small_scores, small_scores[small_scores["metric"] == "F1"].assign(metric="WF1")])
    settings = replace(small_settings, metrics=("WF1",))
    for number, make in SCORE_TABLES.items():
        table = make(scores, settings, read_paper(reference, number))
        measured = table[table["mean"].notna()]
        assert set(measured["metric"]) <= {"WF1"}
        if number == 2:
            assert len(measured) == 3 * 3 * 3, "datasets, systems, noise kinds and levels"
            text = to_markdown(arrange(2, table, settings))
            assert text.startswith("**Table 2. Weighted F1 (WF1), averaged over the incomplete conditions.**")
            assert "UA" not in text


def test_a_reference_row_has_one_training_and_no_standard_deviation(reference, small_settings, small_scores):
    settings = replace(small_settings, systems=[*small_settings.systems, "majority"])
    rows = small_scores[(small_scores["system"] == "nmer") & (small_scores["repeat"] == 1)].assign(system="majority")
    table = table_2(pd.concat([small_scores, rows]), settings, read_paper(reference, 2))
    printed = arrange(2, table, settings)
    assert {cell.spread for cell in dict(printed.grids[0].rows)[("majority class (reference)",)]} == {""}
    assert "standard deviation over 3 repeats. References are deterministic and trained once." in printed.note
