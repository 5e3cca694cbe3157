"""The paper's claims judged: computed from the paper's numbers, from ours, and from every bootstrap replicate of ours.

Not for printing. The same lines compute a claim from all three. A claim of Figure 3 is judged by our distances alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nmer.errors import DataError
from nmer.report_settings import ReportSettings
from nmer.results.chance import with_marks
from nmer.results.claims import DISTANCES, Claim, Selection, value_text, values_text
from nmer.results.reading import read_csv
from nmer.results.scores import of_regime
from nmer.results.tables import KEY
from nmer.results.wording import decibels, short_title

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
NO_NUMBERS = "claimed without numbers"
COLUMNS = (
    *("claim", "text", "source", "dataset", "detail", "expected"),
    *("paper_value", "paper_holds", "our_value", "share", "verdict", "synthetic"),
    *("scores", "at_chance"),
)
CONFIDENCE = 0.95
"""Two-sided: a claim is settled when all but 2.5 % of the replicates agree on it."""

REGIMES = {2: "six", 3: "six", 4: "all", 5: "all"}
"""Which trainings a table shows; a system trained on clean data alone counts in each (see ``of_regime``)."""

POINT = 0.01
DECIMALS = 4
"""Of a quantity in points before it is judged: replicates are float32, and equal scores must count as equal."""


class Place(NamedTuple):
    """Where one score stands, in the order of KEY."""

    dataset: str
    system: str
    noise: str
    snr_db: int | None
    condition: str
    metric: str


Difference = tuple[Place, list[Place]]
"""One quantity of a claim: a score, and those of which the highest is subtracted from it."""

Sides = tuple[np.ndarray, np.ndarray]
"""Minuends and subtrahends of a claim's quantities in points, (quantities, 1 + replicates) each."""


class Scores:
    """Scores by their place: a row of values each, the point estimate first, then its replicates if it has any.

    at_chance: the places whose cell has a training at chance.
    """

    def __init__(self, cells: pd.DataFrame, values: np.ndarray) -> None:
        """cells: (n rows) with the columns KEY and, if known, at_chance. values: (n, 1 + replicates)."""
        self.values = values
        keys = zip(*(cells[name] for name in KEY), strict=True)
        self.rows = {Place._make(None if pd.isna(part) else part for part in key): row for row, key in enumerate(keys)}
        marked = cells["at_chance"].fillna(0).to_numpy() > 0 if "at_chance" in cells else np.zeros(len(cells), bool)
        self.at_chance = {place for place, row in self.rows.items() if marked[row]}

    def at(self, places: Iterable[Place]) -> np.ndarray:
        """(places, 1 + replicates) float64."""
        return self.values[[self.rows[place] for place in places]].astype(np.float64)


def read_distances(paths: Iterable[str | Path]) -> pd.DataFrame:
    """The distances of Figure 3, all datasets in one table. Raises DataError if a file is missing or damaged."""
    needed = ["dataset", "noise", "snr_db", "modality", *DISTANCES.values()]
    tables = [pd.DataFrame(columns=needed)]
    for path in paths:
        try:
            table = read_csv(path)[needed].astype({"snr_db": "Int64"} | dict.fromkeys(DISTANCES.values(), float))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: not the distances of Figure 3 ({error}). Draw the figure again.") from None
        if not np.isfinite(table[list(DISTANCES.values())]).all(axis=None):
            raise DataError(f"{path}: a distance is not a number. Draw the figure again.")
        tables.append(table)
    return pd.concat(tables[1:] or tables, ignore_index=True)


def audit(
    claims: list[Claim],
    papers: dict[int, pd.DataFrame],
    settings: ReportSettings,
    cells: pd.DataFrame,
    replicates: np.ndarray,
    distances: pd.DataFrame,
    trainings: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Every claim, case by case, by the paper's numbers and by ours. Columns COLUMNS.

    papers: of :func:`read_papers`. settings: those of the tables. cells: dataset, system, regime, noise, snr_db,
    condition, metric, value. replicates: (cells, replicates), drawn together. distances: of :func:`read_distances`.
    trainings: verdicts of ``nmer.results.chance``. Of our ``scores`` that a case reads, the cells of ``at_chance`` have
    a training at chance; both are missing where nothing was read or no training was judged.
    Every claim is computed for every dataset in the place of the paper's, and of Figure 3 for every dataset; column
    ``synthetic`` marks those whose verdict means nothing. See :func:`judge` for the verdicts; one of Figure 3 rests on
    a single fit per panel, so it is never undecided.
    Raises DataError if cells and replicates do not belong together.
    """
    check_replicates(cells, replicates)
    published = {number: Scores(paper, paper[["value"]].to_numpy()) for number, paper in papers.items()}
    marked = with_marks(cells.reset_index(drop=True), trainings)
    ours = {number: _of_table(number, marked, replicates) for number in papers}
    rows = []
    for claim in claims:
        for selection in claim.cases():
            if claim.table is None:
                rows += _judge_distances(claim, selection, distances, settings)
            else:
                rows += _judge_scores(claim, selection, published[claim.table], ours[claim.table], settings)
    audited = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"scores": "Int64", "at_chance": "Int64"})
    return audited if trainings is not None else audited.assign(at_chance=pd.array([pd.NA] * len(audited), "Int64"))


def check_replicates(cells: pd.DataFrame, replicates: np.ndarray) -> None:
    """Raises DataError unless there is a row of finite replicates, at least one, for every cell."""
    if replicates.ndim != 2 or len(replicates) != len(cells) or not replicates.shape[1]:
        raise DataError(
            f"Replicates of shape {replicates.shape} do not belong to {len(cells)} scores. Make them again."
        )
    if not np.isfinite(replicates).all() or not np.isfinite(cells["value"].to_numpy(float)).all():
        raise DataError("A score or a replicate of one is not a number. Make the replicates again.")


def _of_table(number: int, cells: pd.DataFrame, replicates: np.ndarray) -> Scores:
    rows = of_regime(cells, REGIMES[number])
    return Scores(rows, np.column_stack([rows["value"], replicates[rows.index]]))


def _judge_scores(
    claim: Claim, selection: Selection, published: Scores, ours: Scores, settings: ReportSettings
) -> list[dict[str, Any]]:
    row = _row(claim, selection) | _by_the_paper(claim, quantities(claim, selection, published))
    rows = []
    for datasets in _stand_ins(selection["dataset"], settings):
        about = {name: settings.datasets[name] for name in datasets}
        here = {
            "dataset": ", ".join(short_title(name, each) for name, each in about.items()),
            "synthetic": any(bool(each.synthetic) for each in about.values()),
        }
        rows.append(row | here | _by_ours(claim, selection | {"dataset": datasets}, ours))
    if rows:
        return rows
    missing = ", ".join(selection["dataset"])
    return [row | {"dataset": missing, "our_value": "no such data in this experiment", "verdict": NOT_RUN}]


def _by_the_paper(claim: Claim, points: Sides) -> dict[str, Any]:
    held = claim.bounds.hold(_difference(points)).all()
    return {"paper_value": _value_text(claim, points), "paper_holds": HOLDS if held else FAILS}


def _by_ours(claim: Claim, selection: Selection, ours: Scores) -> dict[str, Any]:
    places = needed(claim, selection)
    missing = [place for place in places if place not in ours.rows]
    if missing:
        first = ", ".join(value_text(name, part) for name, part in missing[0]._asdict().items())
        return {"our_value": f"{len(missing)} of {len(places)} scores missing, e.g. {first}", "verdict": NOT_RUN}
    points = quantities(claim, selection, ours)
    share, verdict = judge(claim.bounds.hold(_difference(points))[:, 1:])
    counts = {"scores": len(places), "at_chance": sum(place in ours.at_chance for place in places)}
    return {"our_value": _value_text(claim, points), "share": share, "verdict": verdict} | counts


def _judge_distances(
    claim: Claim, selection: Selection, distances: pd.DataFrame, settings: ReportSettings
) -> list[dict[str, Any]]:
    row = _row(claim, selection) | {"paper_value": NO_NUMBERS, "paper_holds": NO_NUMBERS}
    here = distances["snr_db"].notna()
    for name in ("noise", "modality"):
        here &= distances[name].isin(selection[name])
    (kind,) = selection["distance"]
    rows = []
    for dataset, steps in distances[here].groupby("dataset", sort=False):
        steps = steps.sort_values("snr_db", ascending=False)
        values, snrs = steps[DISTANCES[kind]].to_numpy(float), steps["snr_db"].tolist()
        about = settings.dataset(str(dataset))
        row |= {"dataset": short_title(str(dataset), about), "synthetic": bool(about.synthetic)}
        if len(values) < 2:
            rows.append(row | {"our_value": f"only {decibels(snrs[0])} was run", "verdict": NOT_RUN})
            continue
        text = " → ".join(f"{value:.3f}" for value in values) + f" at {', '.join(map(decibels, snrs))}"
        rows.append(row | {"our_value": text, "verdict": HOLDS if claim.bounds.hold(np.diff(values)).all() else FAILS})
    return rows or [row | {"our_value": "no distances of this noise", "verdict": NOT_RUN}]


def _row(claim: Claim, selection: Selection) -> dict[str, Any]:
    blank = {"dataset": "", "share": np.nan, "synthetic": False}
    about = {"claim": claim.name, "text": claim.text, "source": claim.source, "expected": claim.expected}
    details = [values_text(name, selection[name]) for name in claim.each if name != "dataset"]
    return blank | about | {"detail": ", ".join(details)}


def _stand_ins(of_the_paper: tuple[str, ...], settings: ReportSettings) -> Iterator[tuple[str, ...]]:
    """Every way to put our datasets in the place of the paper's."""
    return product(
        *(
            [dataset for dataset, about in settings.datasets.items() if about.paper_name == name]
            for name in of_the_paper
        )
    )


def _difference(points: Sides) -> np.ndarray:
    return np.round(points[0] - points[1], DECIMALS)


def _value_text(claim: Claim, points: Sides) -> str:
    """The numbers of a case in words; the first column is the point estimate, others are replicates."""
    difference = _difference(points)
    if len(difference) > 1:
        held, values = claim.bounds.hold(difference[:, 0]).sum(), difference[:, 0]
        return f"{held} of {len(values)}; from {_points(values.min())} to {_points(values.max())} points"
    first, second = (float(side[0, 0]) for side in points)
    if claim.compared_with:
        text = f"{_points(first)} less {_points(second)}: {_points(difference[0, 0])} points"
    else:
        text = f"{first * POINT:.4f} less {second * POINT:.4f}: {_points(difference[0, 0])} points"
    if difference.shape[1] == 1:
        return text
    margin = (1 - CONFIDENCE) / 2
    low, high = np.quantile(difference[0, 1:], [margin, 1 - margin])
    return f"{text} ({CONFIDENCE:.0%} interval {_points(low)} to {_points(high)})"


def _points(value: float) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


# What is computed ------------------------------------------------------------------------------------------


def _places(selection: Selection, **instead: object) -> list[Place]:
    fixed = {name: (value,) for name, value in instead.items()}
    return [Place(*key) for key in product(*((selection | fixed)[name] for name in KEY))]


def _best(selection: Selection) -> list[Difference]:
    others = selection["others"]
    return [(place, [place._replace(system=other) for other in others]) for place in _places(selection)]


def _gap(selection: Selection) -> list[Difference]:
    return [(place, [place._replace(system=other)]) for other in selection["others"] for place in _places(selection)]


def _steps(selection: Selection) -> list[Difference]:
    return [
        (less, [more])
        for levels in pairwise(selection["snr_db"])
        for less, more in zip(*(_places(selection, snr_db=level) for level in levels), strict=True)
    ]


def _drop(selection: Selection) -> list[Difference]:
    ends = selection["snr_db"][0], selection["snr_db"][-1]
    return _steps(selection | {"snr_db": ends})


DIFFERENCES = {"best": _best, "gap": _gap, "drop": _drop, "steps": _steps}
"""Relation -> its quantities in a selection: each a score less the highest of others."""


def needed(claim: Claim, selection: Selection) -> list[Place]:
    """Every score that a claim needs in a selection, each once."""
    selections = [selection, selection | claim.compared_with]
    pairs = [pair for each in selections for pair in DIFFERENCES[claim.relation](each)]
    return list(dict.fromkeys(place for first, others in pairs for place in (first, *others)))


def quantities(claim: Claim, selection: Selection, scores: Scores) -> Sides:
    """What a claim speaks of in a selection, whose datasets are named as in ``scores``.

    Where a selection is compared with another one, there is one quantity, between the mean differences of the two.
    """
    upper, lower = _sides(claim, selection, scores)
    if not claim.compared_with:
        return upper, lower
    other_upper, other_lower = _sides(claim, selection | claim.compared_with, scores)
    return (upper - lower).mean(axis=0, keepdims=True), (other_upper - other_lower).mean(axis=0, keepdims=True)


def judge(held: np.ndarray) -> tuple[float, str]:
    """The share of replicates in which a claim holds as a whole, and the verdict. held: (quantities, replicates) bool.

    It holds if it does as a whole in 97.5 % of the replicates. It does not if one of its quantities is out of bounds
    beyond doubt: within them in at most 2.5 % of the replicates, divided by the number of quantities, since the more
    there are the sooner one is out by chance. (That all of many close calls rarely go right at once refutes none.)
    """
    whole, margin = float(held.all(axis=0).mean()), (1 - CONFIDENCE) / 2
    # Shares are counts over a count: a rounding error of the margin must not move the border.
    if whole >= 1 - margin - 1e-9:
        return whole, HOLDS
    return whole, FAILS if held.mean(axis=1).min() <= margin / len(held) + 1e-9 else UNDECIDED


def _sides(claim: Claim, selection: Selection, scores: Scores) -> Sides:
    pairs = DIFFERENCES[claim.relation](selection)
    # Every quantity of a relation has as many others.
    others = zip(*(others for _, others in pairs), strict=True)
    highest = np.max([scores.at(places) for places in others], axis=0)
    return scores.at(first for first, _ in pairs) / POINT, highest / POINT
