"""Format printed tables as Markdown, LaTeX (booktabs) and HTML. Their contents are laid out in ``printed_tables``."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nmer.files import write_text
from nmer.results.wording import ABSENT

STACKED_COLUMNS = 10
"""With more columns, a LaTeX cell is set on several lines. On one line, the table shrunk to the page is illegible."""


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
    """One block of a table: header rows of (text, columns spanned), body rows of (row labels, cells)."""

    title: str
    stubs: tuple[str, ...]
    header: tuple[tuple[tuple[str, int], ...], ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class PrintedTable:
    """A table ready to print: its number or name, caption, a note on how to read it, one grid per dataset."""

    number: int | str
    caption: str
    note: str
    grids: tuple[Grid, ...]


def to_markdown(printed: PrintedTable) -> str:
    """Return GitHub-flavoured Markdown; spanning headers are repeated in every column."""
    lines = [f"**{markdown_text(printed.caption)}**", ""]
    for grid in printed.grids:
        heads = [*grid.stubs, *_column_heads(grid)]
        lines += [f"*{markdown_text(grid.title)}*", "", markdown_row(list(map(markdown_text, heads)))]
        lines += [markdown_row([":--"] * len(grid.stubs) + ["--:"] * (len(heads) - len(grid.stubs)))]
        lines += [markdown_row([*map(markdown_text, stubs), *map(_markdown_cell, cells)]) for stubs, cells in grid.rows]
        lines += [""]
    return "\n".join([*lines, markdown_text(printed.note if printed.grids else _nothing(printed)), ""])


def to_latex(printed: PrintedTable) -> str:
    """Return one floating LaTeX table per grid; needs the packages booktabs, graphicx and xcolor."""
    if not printed.grids:
        return f"% {_nothing(printed)}\n"
    floats = [_latex_float(printed, grid, position) for position, grid in enumerate(printed.grids, start=1)]
    source = "\n".join(floats)
    engine = "" if all(_in_latin_fonts(character) for character in source) else _OTHER_ENGINE
    return "% needs \\usepackage{booktabs,graphicx,xcolor}\n" + engine + source


_OTHER_ENGINE = "% needs XeLaTeX or LuaLaTeX and a font with the characters of the class names\n"


def _in_latin_fonts(character: str) -> bool:
    """Whether pdfLaTeX supports a character without additional packages: Latin letters, quotation marks."""
    return ord(character) < 0x180 or character in "‘’“”–—…"


def to_html(printed: PrintedTable) -> str:
    """Return an HTML fragment: one table per grid, with caption and scoped headers, styled by the page around it."""
    if not printed.grids:
        return f"<p>{html.escape(_nothing(printed))}</p>\n"
    parts = [_html_grid(printed, grid) for grid in printed.grids]
    note = f'<p class="note">{html.escape(printed.note)}</p>\n' if printed.note else ""
    return "".join(parts) + note


def markdown_text(text: str) -> str:
    """Escape Markdown's special characters."""
    return re.sub(r"([\\|*_`<>\[\]&~$])", r"\\\1", text)


def markdown_row(texts: list[str]) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(texts) + " |"


def latex_text(text: str) -> str:
    """Escape LaTeX's special characters; set signs and the name of a loss in mathematics."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
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


def write_printed(stem: str, printed: PrintedTable, suffixes: Iterable[str] = tuple(FORMATS)) -> None:
    """Write a table in several formats, each to the stem with its suffix."""
    for suffix in suffixes:
        write_text(f"{stem}{suffix}", FORMATS[suffix](printed))


def _nothing(printed: PrintedTable) -> str:
    return f"Table {printed.number}: no cell of this table was run in this experiment."


def _beside(cell: Cell) -> str:
    """Return the paper's value and the difference, e.g. ``(0.7598, −0.0323)``."""
    inside = ", ".join(part for part in (cell.paper, cell.difference) if part)
    return f"({inside})" if inside else ""


def _own(cell: Cell) -> str:
    return f"{cell.value} {cell.spread}".strip()


def _column_heads(grid: Grid) -> list[str]:
    expanded = [[text for text, span in row for _ in range(span)] for row in grid.header]
    return [" ".join(texts) for texts in zip(*expanded, strict=True)]


def _markdown_cell(cell: Cell) -> str:
    own = f"**{_own(cell)}**" if cell.best else _own(cell)
    return " ".join(part for part in (own, markdown_text(cell.mark), _beside(cell)) if part)


def _latex_float(printed: PrintedTable, grid: Grid, position: int) -> str:
    # The document class numbers floats, so the leading "Table k." is removed.
    caption = re.sub(r"^Table \d+\. ", "", f"{printed.caption} {grid.title}. {printed.note}".strip())
    numbers = sum(span for _, span in grid.header[-1])
    stacked = numbers > STACKED_COLUMNS
    lines = [
        r"\begin{table*}",
        r"  \centering",
        # Many classes expect captions below tables and leave no space under them.
        r"  \setlength{\belowcaptionskip}{6pt}",
        *([r"  \setlength{\tabcolsep}{3pt}"] if stacked else []),
        f"  \\caption{{{latex_text(caption)}}}",
        f"  \\label{{tab:{printed.number}-{position}}}",
        # Shrink only tables that are wider than the page.
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
    """Return the lines of all rows; rows of several lines are separated, and a level is named once."""
    rows: list[list[str]] = []
    above: tuple[str, ...] = ()
    for stubs, cells in grid.rows:
        repeated = len(stubs) > 1 and above[:1] == stubs[:1]
        rows.append(_latex_row(("", *stubs[1:]) if repeated else stubs, cells, stacked))
        above = stubs
    gap = [r"\addlinespace"] if any(len(lines) > 1 for lines in rows) else []
    return [line for row in rows for line in (*gap, *row)][len(gap) :]


def _latex_row(stubs: tuple[str, ...], cells: tuple[Cell, ...], stacked: bool) -> list[str]:
    """Return the lines of one row; if stacked, the value and the texts under it have separate lines."""
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
    lines = [" & ".join([*_latex_stubs(stubs), *values]) + r" \\"]
    for position, texts in enumerate(under, start=1):
        colour = "" if position == 1 or (stacked and position == 2) else r"\color{darkgray}"
        small = [rf"{{{colour}\footnotesize {latex_text(text)}}}" if text else "" for text in texts]
        if any(texts):
            lines.append(" & ".join([""] * len(stubs) + small).strip() + r" \\")
    return lines


def _latex_stubs(stubs: tuple[str, ...]) -> list[str]:
    """Return the labels of a row. LaTeX would read a bracket or star at its start as an argument of the command before
    it, such as the end of the row above."""
    first, *others = map(latex_text, stubs)
    return [f"{{{first[0]}}}{first[1:]}" if first[:1] in ("[", "*") and first else first, *others]


def _html_grid(printed: PrintedTable, grid: Grid) -> str:
    title = html.escape(f"{printed.caption} {grid.title}")
    lines = [f'<div class="scroll" role="region" tabindex="0" aria-label="{title}">', '<table class="numbers">']
    lines += [
        f"<caption><span>{html.escape(printed.caption)} <strong>{html.escape(grid.title)}</strong></span></caption>",
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
    text = html.escape(cell.value)
    value = f"<strong>{text}</strong>" if cell.best else text
    parts = (
        ("mark", cell.mark),
        ("spread", cell.spread),
        ("paper", f"({cell.paper})" if cell.paper else ""),
        ("paper", cell.difference),
    )
    lines = [f'<span class="{kind}">{html.escape(text)}</span>' for kind, text in parts if text]
    return f"<td>{' '.join([value, *lines])}</td>"
