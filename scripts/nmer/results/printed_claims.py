"""Format the audit of the paper's claims as Markdown and HTML. Computes nothing."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pandas as pd

from nmer.results.claims import ORIGINS
from nmer.results.claims_audit import FAILS, HOLDS, NOT_RUN, UNDECIDED
from nmer.results.printed import markdown_row, markdown_text
from nmer.results.reading import rows_of
from nmer.results.wording import ABSENT, AT_CHANCE

CAPTION = "The paper's claims, judged by its own numbers and by those of this experiment."
NOTE = (
    "Each claim is computed in the same way from the paper's tables and from the scores here. It does not hold if one "
    "of its differences is out of bounds at the 5 % level, corrected for their number (for “best”: if a named rival is "
    "better, over all rivals and columns). It holds if every difference and its 95 % interval are within the bounds. "
    "Otherwise it is undecided. p: of the clearest violation, corrected. The paper gives no numbers for Figure 3, and "
    "each panel is a single fit, so this claim is judged by the distances without a test. Points are hundredths of WA "
    "or UA. The code that the paper is based on selects the epoch by test scores, which may raise the paper's scores; "
    "the scores here are from the epoch with the best validation UA."
)
CHANCE_NOTE = (
    f"{AT_CHANCE} k/n: k of the n scores in the case have a training at chance; their differences do not compare "
    "trained systems."
)
HEADS = ("Dataset", "Case", "Paper", "By the paper", "Here", "p", "Verdict")
WORDS = {UNDECIDED: "undecided at this sample size"}


def to_markdown(audit: pd.DataFrame) -> str:
    """Return one table per claim, in GitHub-flavoured Markdown."""
    lines = [f"**{CAPTION}**", "", markdown_text(summary(audit)), ""]
    for origin, heading, rows in _claims(audit):
        lines += [f"**{markdown_text(origin)}**", ""] if origin else []
        lines += [f"*{markdown_text(heading)}*", "", markdown_row(list(HEADS)), markdown_row([":--"] * len(HEADS))]
        lines += [markdown_row([markdown_text(text) for text in _texts(row)]) for row in rows_of(rows)]
        lines += [""]
    return "\n".join([*lines, _note(audit), ""])


def to_html(audit: pd.DataFrame) -> str:
    """Return an HTML fragment: one table, with rows grouped by claim, styled by the page around it."""
    lines = [
        f"<p>{html.escape(summary(audit))}</p>",
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(CAPTION)}">',
        '<table class="claims">',
        f"<caption><span>{html.escape(CAPTION)}</span></caption>",
        "<thead>",
        "<tr>" + "".join(f'<th scope="col">{head}</th>' for head in HEADS) + "</tr>",
        "</thead>",
    ]
    for origin, heading, rows in _claims(audit):
        if origin:
            row = f'<tr class="origin"><th scope="rowgroup" colspan="{len(HEADS)}">{html.escape(origin)}</th></tr>'
            lines += ["<tbody>", row, "</tbody>"]
        lines += ["<tbody>", f'<tr><th scope="rowgroup" colspan="{len(HEADS)}">{html.escape(heading)}</th></tr>']
        for row in rows_of(rows):
            dataset, *texts = map(html.escape, _texts(row))
            cells = "".join(f'<td class="text">{text}</td>' for text in texts)
            lines.append(f'<tr><th scope="row">{dataset}</th>{cells}</tr>')
        lines += ["</tbody>"]
    return "\n".join([*lines, "</table>", "</div>", f'<p class="note">{html.escape(_note(audit))}</p>', ""])


def summary(audit: pd.DataFrame) -> str:
    """Summarise the number of cases per verdict; cases on synthetic data are counted separately."""
    counts = audit.loc[~audit["synthetic"], "verdict"].value_counts()
    parts = [f"{counts.get(verdict, 0)} {_word(verdict)}" for verdict in (HOLDS, FAILS, UNDECIDED, NOT_RUN)]
    sentence = f"Cases of {audit['claim'].nunique()} claims: {', '.join(parts)}."
    synthetic = int(audit["synthetic"].sum())
    return (
        f"{sentence} Another {synthetic} are computed on synthetic data and are meaningless." if synthetic else sentence
    )


def _claims(audit: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return each claim's heading and rows, the paper's statements first; the first of an origin also has its title."""
    claims = []
    for origin, title in ORIGINS.items():
        for place, (_, rows) in enumerate(audit[audit["origin"] == origin].groupby("claim", sort=False)):
            text, source, expected = (rows[name].iloc[0] for name in ("text", "source", "expected"))
            claims.append((title if not place else "", f"{text} ({source}). Expected {expected}.", rows))
    return claims


def _texts(row: Any) -> list[str]:
    p_value = ABSENT if pd.isna(row.p_value) else f"{row.p_value:.2g}"
    verdict = _word(row.verdict) + (f" ({row.evidence})" if row.evidence else "")
    verdict += " (synthetic data: meaningless)" if row.synthetic else ""
    if not pd.isna(row.at_chance) and row.at_chance > 0:
        verdict += f" {AT_CHANCE} {row.at_chance}/{row.scores}"
    dataset, detail = row.dataset or ABSENT, row.detail or ABSENT
    return [dataset, detail, row.paper_value, row.paper_holds, row.our_value, p_value, verdict]


def _note(audit: pd.DataFrame) -> str:
    return f"{NOTE} {CHANCE_NOTE}" if (audit["at_chance"].fillna(0) > 0).any() else NOTE


def _word(verdict: str) -> str:
    return WORDS.get(verdict, verdict)


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {".md": to_markdown, ".html": to_html}
