"""The audit of the paper's claims as Markdown and HTML. Not for computing anything."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pandas as pd

from nmer.results.claims_audit import FAILS, HOLDS, NOT_RUN, UNDECIDED
from nmer.results.printed import markdown_row, markdown_text
from nmer.results.reading import rows_of
from nmer.results.wording import ABSENT, AT_CHANCE

CAPTION = "The paper's claims, by its own numbers and by those of this experiment."
NOTE = (
    "Each claim is computed in the same way from the paper's tables, from the scores here, and from bootstrap "
    "replicates of these. It holds if it does so as a whole in 97.5 % of the replicates, does not hold if one of its "
    "numbers is out of bounds beyond doubt, and is undecided at this sample size otherwise. Of Figure 3 the paper "
    "prints no numbers, and a panel has no replicates: there a claim holds (yes) or does not (no) by the distances as "
    "they are. Points are hundredths of WA or UA."
)
CHANCE_NOTE = (
    f"{AT_CHANCE} k/n: of the n scores here that the case reads, k have a training at chance; their differences are no "
    "differences between systems that have learnt."
)
HEADS = ("Dataset", "Case", "Paper", "By the paper", "Here", "Replicates", "Verdict")
WORDS = {UNDECIDED: "undecided at this sample size"}


def to_markdown(audit: pd.DataFrame) -> str:
    """One table per claim, in GitHub-flavoured Markdown."""
    lines = [f"**{CAPTION}**", "", markdown_text(summary(audit)), ""]
    for heading, rows in _claims(audit):
        lines += [f"*{markdown_text(heading)}*", "", markdown_row(list(HEADS)), markdown_row([":--"] * len(HEADS))]
        lines += [markdown_row([markdown_text(text) for text in _texts(row)]) for row in rows_of(rows)]
        lines += [""]
    return "\n".join([*lines, _note(audit), ""])


def to_html(audit: pd.DataFrame) -> str:
    """An HTML fragment: one table, its rows grouped by claim; styled by the page that takes it in."""
    lines = [
        f"<p>{html.escape(summary(audit))}</p>",
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(CAPTION)}">',
        '<table class="claims">',
        f"<caption>{html.escape(CAPTION)}</caption>",
        "<thead>",
        "<tr>" + "".join(f'<th scope="col">{head}</th>' for head in HEADS) + "</tr>",
        "</thead>",
    ]
    for heading, rows in _claims(audit):
        lines += ["<tbody>", f'<tr><th scope="rowgroup" colspan="{len(HEADS)}">{html.escape(heading)}</th></tr>']
        for row in rows_of(rows):
            dataset, *texts = map(html.escape, _texts(row))
            cells = "".join(f'<td class="text">{text}</td>' for text in texts)
            lines.append(f'<tr><th scope="row">{dataset}</th>{cells}</tr>')
        lines += ["</tbody>"]
    return "\n".join([*lines, "</table>", "</div>", f'<p class="note">{html.escape(_note(audit))}</p>', ""])


def summary(audit: pd.DataFrame) -> str:
    """How many cases have which verdict, in one sentence or two; those on synthetic data apart."""
    counts = audit.loc[~audit["synthetic"], "verdict"].value_counts()
    parts = [f"{counts.get(verdict, 0)} {_word(verdict)}" for verdict in (HOLDS, FAILS, UNDECIDED, NOT_RUN)]
    sentence = f"Cases of {audit['claim'].nunique()} claims: {', '.join(parts)}."
    synthetic = int(audit["synthetic"].sum())
    return f"{sentence} Another {synthetic} are computed on synthetic data and mean nothing." if synthetic else sentence


def _claims(audit: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each claim's heading and rows."""
    return [
        (f"{rows['text'].iloc[0]} ({rows['source'].iloc[0]}). Expected {rows['expected'].iloc[0]}.", rows)
        for _, rows in audit.groupby("claim", sort=False)
    ]


def _texts(row: Any) -> list[str]:
    share = ABSENT if pd.isna(row.share) else f"{row.share:.1%}"
    verdict = _word(row.verdict) + (" (synthetic data: means nothing)" if row.synthetic else "")
    if not pd.isna(row.at_chance) and row.at_chance > 0:
        verdict += f" {AT_CHANCE} {row.at_chance}/{row.scores}"
    dataset, detail = row.dataset or ABSENT, row.detail or ABSENT
    return [dataset, detail, row.paper_value, row.paper_holds, row.our_value, share, verdict]


def _note(audit: pd.DataFrame) -> str:
    return f"{NOTE} {CHANCE_NOTE}" if (audit["at_chance"].fillna(0) > 0).any() else NOTE


def _word(verdict: str) -> str:
    return WORDS.get(verdict, verdict)


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {".md": to_markdown, ".html": to_html}
