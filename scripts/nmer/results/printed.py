"""Tables in the paper's own arrangement, as Markdown, LaTeX (booktabs) and HTML. Not for computing a number."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from nmer.names import ALL_CLEAN, ALL_NOISY, AVERAGE, SIX_CONDITIONS, UNIMODAL_SYSTEMS
from nmer.results.labels import MODALITY_LABELS, noise_label, system_label
from nmer.results.reading import rows_of
from nmer.results.tables import (
    KEY,
    TABLE_3_SYSTEM,
    TABLE_METRICS,
    levels,
    systems_of,
    unimodal_places,
    unimodal_systems,
)
from nmer.results.wording import ABSENT, AT_CHANCE, WA_AT_MAJORITY, dataset_title, decibels, signed

CAPTIONS = {
    1: "Table 1. Classes and sizes of the datasets.",
    2: "Table 2. Weighted (WA) and unweighted (UA) accuracy, averaged over the six conditions.",
    3: "Table 3. NMER in each condition, named by its clean modalities (a acoustic, v visual, l lexical).",
    4: "Table 4. One modality alone, under noise: weighted (WA) and unweighted (UA) accuracy.",
    5: "Table 5. Weighted (WA) and unweighted (UA) accuracy with all modalities noisy.",
}
STACKED_COLUMNS = 10
"""With more columns than this, a LaTeX cell is set in lines: shrunk to the page in one line, nobody could read it."""
CHANCE_NOTE = (
    f"{AT_CHANCE} k/n: k of n trainings are at chance (at least 99 % of the predictions are one class, or the 95 % "
    "interval of UA reaches 1 / classes). Under strong noise this can be the right answer."
)
MAJORITY_NOTE = f"{WA_AT_MAJORITY} k/n: in k of n trainings WA is not above the share of the largest class."
SIZES_NOTE = (
    "Classes are counted over all data, or over train and test of a fixed split. Sizes are those of fold 1; "
    "a test utterance counts once per condition under which it is tested."
)


@dataclass(frozen=True)
class Cell:
    """One printed cell, as text; empty parts are not printed."""

    value: str = ABSENT
    spread: str = ""
    paper: str = ""
    difference: str = ""
    best: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """One block of a table: heading rows of (text, columns spanned), body rows of (stub texts, cells)."""

    title: str
    stubs: tuple[str, ...]
    header: tuple[tuple[tuple[str, int], ...], ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class PrintedTable:
    """A table ready to print: caption, a note on how to read it, one grid per dataset."""

    number: int
    caption: str
    note: str
    grids: tuple[Grid, ...]


def arrange(number: int, table: pd.DataFrame, settings: dict[str, Any]) -> PrintedTable:
    """Lay out a tidy table as the paper prints it.

    number: 1 to 5. table: of the function of the same number in ``nmer.results.tables``.
    Datasets without a cell are left out.
    """
    if number == 1:
        grids, note = _sizes(table, settings), SIZES_NOTE
    else:
        layout = {2: _layout_2, 3: _layout_3, 4: _layout_4, 5: _layout_5}[number]
        grids, note = _score_grids(table, settings, layout(settings)), " ".join(_score_notes(number, table))
    note = " ".join(part for part in (note, *_paper_notes(table, settings)) if part)
    return PrintedTable(number, CAPTIONS[number], note, tuple(grids))


def to_markdown(printed: PrintedTable) -> str:
    """GitHub-flavoured Markdown; spanning heads are written out in every column."""
    lines = [f"**{printed.caption}**", ""]
    for grid in printed.grids:
        heads = [*grid.stubs, *_column_heads(grid)]
        lines += [f"*{markdown_text(grid.title)}*", "", markdown_row(list(map(markdown_text, heads)))]
        lines += [markdown_row([":--"] * len(grid.stubs) + ["--:"] * (len(heads) - len(grid.stubs)))]
        lines += [markdown_row([*map(markdown_text, stubs), *map(_markdown_cell, cells)]) for stubs, cells in grid.rows]
        lines += [""]
    return "\n".join([*lines, printed.note or "", ""]) if printed.grids else "\n".join([*lines, _nothing(printed), ""])


def to_latex(printed: PrintedTable) -> str:
    """One floating LaTeX table per grid; needs the packages booktabs, graphicx and xcolor."""
    if not printed.grids:
        return f"% {_nothing(printed)}\n"
    floats = [_latex_float(printed, grid, position) for position, grid in enumerate(printed.grids, start=1)]
    source = "\n".join(floats)
    engine = "" if all(_in_latin_fonts(character) for character in source) else _OTHER_ENGINE
    return "% needs \\usepackage{booktabs,graphicx,xcolor}\n" + engine + source


_OTHER_ENGINE = "% needs XeLaTeX or LuaLaTeX and a font with the characters of the class names\n"


def _in_latin_fonts(character: str) -> bool:
    """Whether pdfLaTeX has a character without further packages: letters of Latin alphabets, quotation marks."""
    return ord(character) < 0x180 or character in "‘’“”–—…"


def to_html(printed: PrintedTable) -> str:
    """An HTML fragment: one table per grid, with caption and scoped heads; styled by the page that takes it in."""
    if not printed.grids:
        return f"<p>{html.escape(_nothing(printed))}</p>\n"
    parts = [_html_grid(printed, grid) for grid in printed.grids]
    note = f'<p class="note">{html.escape(printed.note)}</p>\n' if printed.note else ""
    return "".join(parts) + note


def markdown_text(text: str) -> str:
    """Text with Markdown's special characters escaped."""
    return re.sub(r"([\\|*_`<>\[\]&~$])", r"\\\1", text)


def markdown_row(texts: list[str]) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(texts) + " |"


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped, signs and the name of a loss in mathematics."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    special |= {
        "−": "$-$",
        "±": "$\\pm$",
        "–": "--",
        "×": "$\\times$",
        "†": "$\\dagger$",
        "‡": "$\\ddagger$",
        "<": "$<$",
        ">": "$>$",
    }
    escaped = "".join(special.get(character, character) for character in text)
    return re.sub(r"\bL\\_inv\b", r"$L_{\\mathrm{inv}}$", escaped)


FORMATS: dict[str, Callable[[PrintedTable], str]] = {".md": to_markdown, ".tex": to_latex, ".html": to_html}


# Arrangement -------------------------------------------------------------------------------------------------


def _sizes(table: pd.DataFrame, settings: dict[str, Any]) -> list[Grid]:
    grids = []
    for dataset, rows in table.groupby("dataset", sort=False):
        cells = []
        for row in rows_of(rows):
            paper = ABSENT if pd.isna(row.paper) else f"{row.paper:,}"
            difference = ABSENT if pd.isna(row.difference) else signed(row.difference, digits=0)
            cells.append(((row.quantity,), (Cell(f"{row.value:,}"), Cell(paper), Cell(difference))))
        heads = (("Here", 1), ("Paper", 1), ("Difference", 1))
        grids.append(
            Grid(dataset_title(str(dataset), settings["datasets"][dataset]), ("Quantity",), (heads,), tuple(cells))
        )
    return grids


class Arrangement(NamedTuple):
    """How a table is laid out. stubs, header: as in Grid. rows: stub texts and key of each; columns: keys.

    A key is a part of KEY with its values; those of a row and a column make a whole one, but for the dataset.
    """

    stubs: tuple[str, ...]
    header: tuple[tuple[tuple[str, int], ...], ...]
    rows: Sequence[tuple[tuple[str, ...], dict[str, Any]]]
    columns: Sequence[dict[str, Any]]


def _layout_2(settings: dict[str, Any]) -> Arrangement:
    by_level: dict[int | None, list[str]] = {}
    for noise in settings["snr_db"]:
        for snr_db in levels(settings, noise):
            by_level.setdefault(snr_db, []).append(noise)
    order = sorted(by_level, key=lambda snr_db: (snr_db is None, 0 if snr_db is None else -snr_db))
    pairs = [(snr_db, noise) for snr_db in order for noise in by_level[snr_db]]
    header = (
        tuple((decibels(snr_db), len(by_level[snr_db]) * len(TABLE_METRICS)) for snr_db in order),
        tuple((noise_label(noise), len(TABLE_METRICS)) for _, noise in pairs),
        tuple((metric, 1) for _ in pairs for metric in TABLE_METRICS),
    )
    columns = [
        {"snr_db": snr_db, "noise": noise, "metric": metric, "condition": AVERAGE}
        for snr_db, noise in pairs
        for metric in TABLE_METRICS
    ]
    return Arrangement(("System",), header, _system_rows(settings), columns)


def _layout_3(settings: dict[str, Any]) -> Arrangement:
    noise = settings["reference_noise"]
    header = ((*((condition, 1) for condition in SIX_CONDITIONS), ("Avg.", 1)),)
    rows = [
        ((decibels(snr_db), metric), {"system": TABLE_3_SYSTEM, "noise": noise, "snr_db": snr_db, "metric": metric})
        for snr_db in levels(settings, noise)
        for metric in TABLE_METRICS
    ]
    columns = [{"condition": condition} for condition in (*SIX_CONDITIONS, AVERAGE)]
    return Arrangement(("SNR", "Metric"), header, rows, columns)


def _layout_4(settings: dict[str, Any]) -> Arrangement:
    systems = unimodal_systems(settings)
    header = (
        tuple((MODALITY_LABELS[UNIMODAL_SYSTEMS[system]], len(TABLE_METRICS)) for system in systems),
        tuple((metric, 1) for _ in systems for metric in TABLE_METRICS),
    )
    rows = [
        (
            ("clean" if condition == ALL_CLEAN else decibels(snr_db),),
            {"noise": noise, "snr_db": snr_db, "condition": condition},
        )
        for noise, snr_db, condition in unimodal_places(settings)
    ]
    columns = [{"system": system, "metric": metric} for system in systems for metric in TABLE_METRICS]
    return Arrangement(("SNR",), header, rows, columns)


def _layout_5(settings: dict[str, Any]) -> Arrangement:
    noise = settings["reference_noise"]
    snrs = levels(settings, noise)
    header = (
        tuple((decibels(snr_db), len(TABLE_METRICS)) for snr_db in snrs),
        tuple((metric, 1) for _ in snrs for metric in TABLE_METRICS),
    )
    columns = [
        {"snr_db": snr_db, "noise": noise, "metric": metric, "condition": ALL_NOISY}
        for snr_db in snrs
        for metric in TABLE_METRICS
    ]
    return Arrangement(("System",), header, _system_rows(settings), columns)


def _system_rows(settings: dict[str, Any]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    return [((system_label(system),), {"system": system}) for system in systems_of(settings)]


def _score_grids(table: pd.DataFrame, settings: dict[str, Any], arrangement: Arrangement) -> list[Grid]:
    stubs, header, rows, columns = arrangement
    best = _best(table)
    cells = {_place(row): _score_cell(row, best=row.Index in best) for row in rows_of(table)}
    grids = []
    for dataset, about in settings["datasets"].items():
        body = []
        for labels, row in rows:
            places = [tuple(({"dataset": dataset} | row | column)[name] for name in KEY) for column in columns]
            if any(place in cells for place in places):
                body.append((labels, tuple(cells.get(place, Cell()) for place in places)))
        if body:
            grids.append(Grid(dataset_title(dataset, about), stubs, header, tuple(body)))
    return grids


def _place(row: Any) -> tuple[Any, ...]:
    return tuple(None if pd.isna(getattr(row, name)) else getattr(row, name) for name in KEY)


def _best(table: pd.DataFrame) -> set[int]:
    """Rows that hold the highest mean, as printed, among the systems compared at their level.

    Systems stand in rows, so that this is the best of a column; only in Table 4 they stand in columns. A cell with a
    training at chance is never the best: the highest of the others is.
    """
    run = table[table["mean"].notna()]
    printed = run["mean"].round(4)
    column = [run[name] for name in KEY if name != "system"]
    learnt = ~_at_chance(run)
    highest = printed.where(learnt).groupby(column, dropna=False).transform("max")
    compared = run.groupby([name for name in KEY if name != "system"], dropna=False)["system"].transform("size")
    return set(run.index[(printed == highest) & (compared > 1)])


def _score_cell(row: Any, *, best: bool) -> Cell:
    return Cell(
        value=ABSENT if pd.isna(row.mean) else f"{row.mean:.4f}",
        spread="" if pd.isna(row.std) else f"± {row.std:.4f}",
        paper="" if pd.isna(row.paper) else f"{row.paper:.4f}",
        difference="" if pd.isna(row.difference) else signed(row.difference),
        best=best,
        mark=_mark(row),
    )


def _at_chance(table: pd.DataFrame) -> pd.Series:
    """Rows of a score table whose cell has a training at chance."""
    return (table["at_chance"].fillna(0) > 0).astype(bool)


def _mark(row: Any) -> str:
    """The signs of a cell with the trainings they stand for, e.g. ``† 1/2``; the second sign is one of WA alone."""
    signs = [(AT_CHANCE, row.at_chance)] + [(WA_AT_MAJORITY, row.wa_at_majority)] * (row.metric == "WA")
    return " ".join(f"{sign} {count}/{row.trainings}" for sign, count in signs if not pd.isna(count) and count > 0)


def _score_notes(number: int, table: pd.DataFrame) -> list[str]:
    notes = [_spread_note(table)]
    if (table["condition"] == ALL_CLEAN).any():
        notes.append("Clean: trained and tested without noise, for reference; the paper has no such row.")
    marked = _at_chance(table[table["mean"].notna()]).any()
    if _best(table):
        best = "best modality of its row and metric" if number == 4 else "best of its column"
        notes.append(f"Bold: {best}{f' among the cells without {AT_CHANCE}' if marked else ''}.")
    if marked:
        notes.append(CHANCE_NOTE)
    if (table["wa_at_majority"].fillna(0) > 0).any():
        notes.append(MAJORITY_NOTE)
    return notes


def _spread_note(table: pd.DataFrame) -> str:
    repeats = sorted({int(n) for n in table["n"].dropna()})
    if not repeats:
        return ""
    if repeats == [1]:
        return "One repeat, so no standard deviation."
    return f"Mean ± standard deviation over {' or '.join(map(str, repeats))} repeats."


def _paper_notes(table: pd.DataFrame, settings: dict[str, Any]) -> list[str]:
    shown = set(table.loc[table["paper"].notna(), "dataset"])
    synthetic = {name for name in shown if settings["datasets"][name].get("synthetic")}
    notes = []
    if shown and "mean" in table:
        notes.append("In parentheses: the paper's value" + (", difference." if shown - synthetic else "."))
    if synthetic:
        notes.append("Synthetic data cannot be compared with the paper, so no difference is given for them.")
    return notes


def _nothing(printed: PrintedTable) -> str:
    return f"Table {printed.number}: no cell of this table was run in this experiment."


# Output ------------------------------------------------------------------------------------------------------


def _beside(cell: Cell) -> str:
    """The paper's value and the difference, e.g. ``(0.7598, −0.0323)``."""
    inside = ", ".join(part for part in (cell.paper, cell.difference) if part)
    return f"({inside})" if inside else ""


def _own(cell: Cell) -> str:
    return f"{cell.value} {cell.spread}".strip()


def _column_heads(grid: Grid) -> list[str]:
    expanded = [[text for text, span in row for _ in range(span)] for row in grid.header]
    return [" ".join(texts) for texts in zip(*expanded, strict=True)]


def _markdown_cell(cell: Cell) -> str:
    own = f"**{_own(cell)}**" if cell.best else _own(cell)
    return " ".join(part for part in (own, cell.mark, _beside(cell)) if part)


def _latex_float(printed: PrintedTable, grid: Grid, position: int) -> str:
    # The document class numbers its floats itself, so the leading "Table k." goes.
    caption = re.sub(r"^Table \d+\. ", "", f"{printed.caption} {grid.title}. {printed.note}".strip())
    numbers = sum(span for _, span in grid.header[-1])
    stacked = numbers > STACKED_COLUMNS
    lines = [
        r"\begin{table*}",
        r"  \centering",
        # Many classes set a caption below its table and so leave no room under it.
        r"  \setlength{\belowcaptionskip}{6pt}",
        *([r"  \setlength{\tabcolsep}{3pt}"] if stacked else []),
        f"  \\caption{{{latex_text(caption)}}}",
        f"  \\label{{tab:{printed.number}-{position}}}",
        # Shrinks a table that is wider than the page and leaves the others as they are.
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"  \\begin{{tabular}}{{{'l' * len(grid.stubs)}{'r' * numbers}}}",
        r"  \toprule",
        *(f"  {line}" for line in _latex_header(grid)),
        *(f"  {line}" for line in _latex_body(grid, stacked)),
        r"  \bottomrule",
        r"  \end{tabular}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _latex_header(grid: Grid) -> list[str]:
    lines = []
    for level, row in enumerate(grid.header, start=1):
        last = level == len(grid.header)
        stubs = [latex_text(stub) if last else "" for stub in grid.stubs]
        heads = [rf"\multicolumn{{{span}}}{{c}}{{{latex_text(text)}}}" for text, span in row]
        lines.append(" & ".join([*stubs, *heads]) + r" \\")
        lines.append("\\midrule" if last else _latex_rules(row, first=len(grid.stubs) + 1))
    return lines


def _latex_rules(row: tuple[tuple[str, int], ...], first: int) -> str:
    rules = []
    for _, span in row:
        rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
        first += span
    return " ".join(rules)


def _latex_body(grid: Grid, stacked: bool) -> list[str]:
    """Rows of lines; a row of several lines stands apart from the next, and a level is named once."""
    rows: list[list[str]] = []
    above: tuple[str, ...] = ()
    for stubs, cells in grid.rows:
        repeated = len(stubs) > 1 and above[:1] == stubs[:1]
        rows.append(_latex_row(("", *stubs[1:]) if repeated else stubs, cells, stacked))
        above = stubs
    gap = [r"\addlinespace"] if any(len(lines) > 1 for lines in rows) else []
    return [line for row in rows for line in (*gap, *row)][len(gap) :]


def _latex_row(stubs: tuple[str, ...], cells: tuple[Cell, ...], stacked: bool) -> list[str]:
    """The lines of one row: the value, and what stands under it, each in a line of its own where room is scarce."""
    if stacked:
        first = [cell.value for cell in cells]
        under = [[cell.spread for cell in cells], [cell.paper and f"({cell.paper})" for cell in cells]]
        under += [[cell.difference for cell in cells]]
    else:
        first, under = [_own(cell) for cell in cells], [[cell.paper and _beside(cell) for cell in cells]]
    under = [[cell.mark for cell in cells], *under]
    values = [
        rf"\textbf{{{latex_text(text)}}}" if cell.best else latex_text(text)
        for text, cell in zip(first, cells, strict=True)
    ]
    lines = [" & ".join([*map(latex_text, stubs), *values]) + r" \\"]
    for position, texts in enumerate(under, start=1):
        colour = "" if position == 1 or (stacked and position == 2) else r"\color{darkgray}"
        small = [rf"{{{colour}\footnotesize {latex_text(text)}}}" if text else "" for text in texts]
        if any(texts):
            lines.append(" & ".join([""] * len(stubs) + small).strip() + r" \\")
    return lines


def _html_grid(printed: PrintedTable, grid: Grid) -> str:
    title = html.escape(f"{printed.caption} {grid.title}")
    lines = [f'<div class="scroll" role="region" tabindex="0" aria-label="{title}">', '<table class="numbers">']
    lines += [
        f"<caption>{html.escape(printed.caption)} <strong>{html.escape(grid.title)}</strong></caption>",
        "<thead>",
    ]
    for level, row in enumerate(grid.header):
        rowspan = f' rowspan="{len(grid.header)}"' if len(grid.header) > 1 else ""
        stubs = [f'<th scope="col"{rowspan}>{html.escape(stub)}</th>' for stub in grid.stubs] if level == 0 else []
        lines.append("<tr>" + "".join([*stubs, *(_html_head(text, span) for text, span in row)]) + "</tr>")
    lines += ["</thead>", "<tbody>"]
    for row_stubs, cells in grid.rows:
        heads = "".join(f'<th scope="row">{html.escape(stub)}</th>' for stub in row_stubs)
        lines.append(f"<tr>{heads}{''.join(map(_html_cell, cells))}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>", "</div>", ""])


def _html_head(text: str, span: int) -> str:
    scope = f'scope="colgroup" colspan="{span}"' if span > 1 else 'scope="col"'
    return f"<th {scope}>{html.escape(text)}</th>"


def _html_cell(cell: Cell) -> str:
    value = f"<strong>{cell.value}</strong>" if cell.best else cell.value
    parts = (
        ("mark", cell.mark),
        ("spread", cell.spread),
        ("paper", f"({cell.paper})" if cell.paper else ""),
        ("paper", cell.difference),
    )
    lines = [f'<span class="{kind}">{text}</span>' for kind, text in parts if text]
    return f"<td>{' '.join([value, *lines])}</td>"
