"""LaTeX tables compile with a real TeX engine, fit the page and contain every number."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import tools
from synthetic_results import make_scores, make_unimodal_scores

from nmer.report_settings import DatasetSettings, UnimodalSettings
from nmer.results.printed import PrintedTable, to_latex
from nmer.results.printed_tables import arrange
from nmer.results.tables import SCORE_TABLES, read_paper, table_1

OVERFULL_POINTS = 1.0
"""Largest overfull width that is not visible (a third of a millimetre)."""
DOCUMENTS = {
    "one column": r"\documentclass[a4paper]{article}",
    "two columns": r"\documentclass[a4paper,twocolumn]{article}",
}
NUMBER = re.compile(r"\d\.\d{4}")

pytestmark = [pytest.mark.slow, pytest.mark.tools]


@pytest.fixture(scope="module")
def printed_tables(paper_settings, reference) -> dict[int, PrintedTable]:
    """All five tables of the paper's full grid, for a real and a synthetic dataset."""
    synthetic = DatasetSettings("CMU-MOSEI", synthetic=True, evaluation="one_condition")
    datasets = {"iemocap": paper_settings.datasets["iemocap"], "my_mosei": synthetic}
    unimodal = UnimodalSettings(["iemocap"], [0, -10, -40], clean_reference=True)
    settings = replace(paper_settings, datasets=datasets, unimodal=unimodal)
    scores = pd.concat([make_scores(settings, folds=1), make_unimodal_scores(settings)], ignore_index=True)
    settings = replace(settings, systems=[*settings.systems, "unimodal_a", "unimodal_v", "unimodal_l"])
    split = {"utterances": 31, "class_counts": {"angry": 14, "happy_or_excited": 17}}
    reports = [
        {
            "dataset": name,
            "classes": ["angry", "happy_or_excited"],
            "class_counts": {"angry": 42, "happy_or_excited": 51},
            "utterances": 93,
            "folds": [{"fold": 1, "train": split, "val": split, "test": split}],
        }
        for name in datasets
    ]
    tables = {number: make(scores, settings, read_paper(reference, number)) for number, make in SCORE_TABLES.items()}
    tables[1] = table_1(reports, settings, read_paper(reference, 1))
    return {number: arrange(number, tables[number], settings) for number in sorted(tables)}


def compiled(source: str, folder: Path) -> tuple[str, str]:
    """Compile a document; return its log and the text of its pages."""
    (folder / "tables.tex").write_text(source, encoding="utf-8")
    command = [tools.program("pdflatex"), "-interaction=batchmode", "-halt-on-error", "tables.tex"]
    # The second run resolves labels.
    finished = [subprocess.run(command, cwd=folder, capture_output=True, check=False) for _ in range(2)]
    log = (folder / "tables.log").read_text(encoding="latin-1")
    assert [process.returncode for process in finished] == [0, 0], log[-2000:]
    command = [tools.program("pdftotext"), "-layout", "tables.pdf", "-"]
    text = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return log, text.stdout.decode()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_table_compiles_fits_the_page_and_shows_all_its_numbers(printed_tables, document, tmp_path):
    body = "\n".join(to_latex(printed) + r"\clearpage" for printed in printed_tables.values())
    packages = r"\usepackage{booktabs,graphicx,xcolor}"
    source = [DOCUMENTS[document], packages, r"\begin{document}", body, r"\end{document}"]
    log, text = compiled("\n".join(source), tmp_path)
    overfull = [float(points) for points in re.findall(r"Overfull \\[hv]box \((.+?)pt", log)]
    assert [points for points in overfull if points > OVERFULL_POINTS] == []
    assert "undefined" not in log
    cells = [cell for printed in printed_tables.values() for g in printed.grids for _, row in g.rows for cell in row]
    stated = " ".join(f"{cell.value} {cell.spread} {cell.paper} {cell.difference}" for cell in cells)
    assert len(NUMBER.findall(stated)) > 1000
    assert sorted(NUMBER.findall(text)) == sorted(NUMBER.findall(stated))
    assert re.search(r"w/o\s+L\s*inv", text)
    assert re.search(r"my.?mosei \(synthetic; in place of CMU-MOSEI\)", re.sub(r"-\n|\s+", " ", text))


def test_a_table_with_many_columns_is_large_enough_to_read(printed_tables, tmp_path):
    # \resizebox scales the type by the ratio of page width to table width.
    latex = to_latex(printed_tables[2])
    tabular = re.search(r"\\begin{tabular}.*?\\end{tabular}", latex, re.DOTALL).group()
    spacing = re.search(r"\\setlength{\\tabcolsep}{.*?}", latex).group()
    source = rf"""\documentclass[a4paper,twocolumn]{{article}}
\usepackage{{booktabs,graphicx,xcolor}}
\newsavebox{{\wide}}
\begin{{document}}
{spacing}\sbox{{\wide}}{{{tabular}}}\typeout{{width=\the\wd\wide\space of \the\textwidth}}x
\end{{document}}
"""
    log, _text = compiled(source, tmp_path)
    width, page = map(float, re.search(r"width=([\d.]+)pt of ([\d.]+)pt", log).groups())
    assert 10 * page / width > 6, "points of the largest type"
