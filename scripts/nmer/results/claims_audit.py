"""Judge the paper's claims: compute them from the paper's numbers and from ours, and test them on ours.

The same code computes a claim from both. A claim on Figure 3 is judged only by our distances. Not for printing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nmer.errors import DataError
from nmer.names import AVERAGE
from nmer.report_settings import ReportSettings
from nmer.results.chance import with_marks
from nmer.results.claims import DISTANCES, MOST, Bounds, Claim, Selection, value_text, values_text
from nmer.results.contrasts import CONFIDENCE, Contrast, Contrasts
from nmer.results.reading import read_csv
from nmer.results.scores import of_regime
from nmer.results.statistics import holm
from nmer.results.tables import KEY
from nmer.results.wording import decibels, short_title
from nmer.snr_column import with_snr

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
NO_NUMBERS = "claimed without numbers"
COLUMNS = (
    *("claim", "text", "origin", "source", "dataset", "detail", "expected"),
    *("paper_value", "paper_holds", "our_value", "p_value", "verdict", "evidence", "synthetic"),
    *("scores", "at_chance"),
)

REGIMES = {2: "incomplete", 3: "incomplete", 4: "all_noisy", 5: "all_noisy"}
"""Table -> the regime of its trainings; a system trained only on clean data counts in each (see ``of_regime``)."""

POINT = 0.01
DECIMALS = 4
"""Digits of a quantity in points before it is judged, so that scores equal up to rounding count as equal."""


class Place(NamedTuple):
    """The key of one score, in the order of KEY."""

    dataset: str
    system: str
    noise: str
    snr_db: float | None
    condition: str
    metric: str


Weights = dict[Place, float]
"""A weighted sum of scores: place -> factor."""


@dataclass(frozen=True)
class Quantity:
    """The quantity in a claim: a sum of scores, less the highest of others. cases: the others in words."""

    upper: Weights
    lower: tuple[Weights, ...]
    cases: tuple[str, ...]

    def differences(self) -> list[Weights]:
        """Return the upper sum minus each of the others."""
        return [add(self.upper, other, -1.0) for other in self.lower]


class Scores:
    """Scores by their place, with the row of each in its table.

    values: by row. at_chance: the places whose cell has a training at chance.
    """

    def __init__(self, cells: pd.DataFrame) -> None:
        """cells: the columns KEY, value and, if known, at_chance."""
        self.values = dict(zip(cells.index, cells["value"], strict=True))
        keys = zip(*(cells[name] for name in KEY), strict=True)
        places = (Place._make(None if pd.isna(part) else part for part in key) for key in keys)
        self.rows = dict(zip(places, cells.index, strict=True))
        marked = cells["at_chance"].fillna(0).to_numpy() > 0 if "at_chance" in cells else np.zeros(len(cells), bool)
        self.at_chance = {place for place, is_marked in zip(self.rows, marked, strict=True) if is_marked}

    def total(self, weights: Weights) -> float:
        """Return a sum of scores, in points."""
        return float(sum(factor * self.values[self.rows[place]] for place, factor in weights.items())) / POINT

    def by_row(self, weights: Weights) -> dict[int, float]:
        """Return weights by row instead of by place, in points."""
        return {self.rows[place]: factor / POINT for place, factor in weights.items()}


def read_distances(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read the distances of Figure 3 into one table. Raises DataError if a file is missing or damaged."""
    needed = ["dataset", "noise", "snr_db", "modality", *DISTANCES.values()]
    tables = [pd.DataFrame(columns=needed)]
    for path in paths:
        try:
            table = with_snr(read_csv(path)[needed].astype(dict.fromkeys(DISTANCES.values(), float)))
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
    contrasts: Contrasts,
    distances: pd.DataFrame,
    trainings: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Judge every case of every claim by the paper's numbers and by ours. Columns COLUMNS.

    papers: from :func:`read_papers`. settings: those of the tables. distances: from :func:`read_distances`.
    trainings: verdicts of ``nmer.results.chance``. Column ``scores`` counts our scores that a case reads, ``at_chance``
    those with a training at chance; both are missing if nothing was read or no training was judged.
    Every claim is computed with each of our datasets substituted for the paper's, and on Figure 3 for every dataset.
    Column ``synthetic`` marks meaningless verdicts on synthetic data. See :func:`judge` for the verdicts; a claim on
    Figure 3 depends on a single fit per panel, so it is never undecided.
    """
    published = {number: Scores(paper) for number, paper in papers.items()}
    marked = with_marks(contrasts.cells, trainings)
    if settings.conditions:  # our average is over fewer conditions than the paper's
        marked = marked[marked["condition"] != AVERAGE]
    ours = {number: Scores(of_regime(marked, REGIMES[number])) for number in papers}
    rows = []
    for claim in claims:
        for selection in claim.cases():
            if claim.table is None:
                rows += _judge_distances(claim, selection, distances, settings)
            else:
                rows += _judge_scores(claim, selection, published[claim.table], ours[claim.table], contrasts, settings)
    audited = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"scores": "Int64", "at_chance": "Int64"})
    return audited if trainings is not None else audited.assign(at_chance=pd.array([pd.NA] * len(audited), "Int64"))


def _judge_scores(
    claim: Claim,
    selection: Selection,
    published: Scores,
    ours: Scores,
    contrasts: Contrasts,
    settings: ReportSettings,
) -> list[dict[str, Any]]:
    row = _row(claim, selection) | _by_the_paper(claim, selection, published)
    rows = []
    for datasets in _stand_ins(selection["dataset"], settings):
        about = {name: settings.datasets[name] for name in datasets}
        here = {
            "dataset": ", ".join(short_title(name, each) for name, each in about.items()),
            "synthetic": any(bool(each.synthetic) for each in about.values()),
        }
        rows.append(row | here | _by_ours(claim, selection | {"dataset": datasets}, ours, contrasts))
    if rows:
        return rows
    missing = ", ".join(selection["dataset"])
    return [row | {"dataset": missing, "our_value": "no such data in this experiment", "verdict": NOT_RUN}]


def _by_the_paper(claim: Claim, selection: Selection, published: Scores) -> dict[str, Any]:
    needs = quantities(claim, selection)
    within = claim.bounds.hold(_leads(needs, published))
    holds = 2 * within.sum() > len(within) if claim.of == MOST else within.all()
    return {"paper_value": _value_text(claim, needs, published), "paper_holds": HOLDS if holds else FAILS}


def _by_ours(claim: Claim, selection: Selection, ours: Scores, contrasts: Contrasts) -> dict[str, Any]:
    found = quantities(claim, selection)
    places = needed(found)
    missing = [place for place in places if place not in ours.rows]
    if missing:
        first = ", ".join(value_text(name, part) for name, part in missing[0]._asdict().items())
        return {"our_value": f"{len(missing)} of {len(places)} scores missing, e.g. {first}", "verdict": NOT_RUN}
    tested = [(case, contrasts.of(ours.by_row(each))) for q in found for case, each in _cases(q)]
    judged = judge_most(claim.bounds, tested) if claim.of == MOST else judge(claim.bounds, tested)
    text = _value_text(claim, found, ours)
    if len(tested) == 1 and not tested[0][1].untested:
        low, high = tested[0][1].interval()
        text += f" ({CONFIDENCE:.0%} interval {_points(low)} to {_points(high)})"
    counts = {"scores": len(places), "at_chance": sum(place in ours.at_chance for place in places)}
    return {"our_value": text} | judged._asdict() | counts


def _cases(quantity: Quantity) -> Iterator[tuple[str, Weights]]:
    return zip(quantity.cases, quantity.differences(), strict=True)


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
    blank = {"dataset": "", "p_value": np.nan, "evidence": "", "synthetic": False}
    about = {
        "claim": claim.name,
        "text": claim.text,
        "origin": claim.origin,
        "source": claim.source,
        "expected": claim.expected,
    }
    details = [values_text(name, selection[name]) for name in claim.each if name != "dataset"]
    return blank | about | {"detail": ", ".join(details)}


def _stand_ins(of_the_paper: tuple[str, ...], settings: ReportSettings) -> Iterator[tuple[str, ...]]:
    """Yield every substitution of our datasets for the paper's."""
    return product(
        *(
            [dataset for dataset, about in settings.datasets.items() if about.paper_name == name]
            for name in of_the_paper
        )
    )


def _leads(found: list[Quantity], scores: Scores) -> np.ndarray:
    """Compute every quantity in points, (quantities,)."""
    return np.round([min(scores.total(each) for each in quantity.differences()) for quantity in found], DECIMALS)


def _value_text(claim: Claim, found: list[Quantity], scores: Scores) -> str:
    """Return the numbers of a case in words."""
    values = _leads(found, scores)
    if len(values) > 1:
        within = claim.bounds.hold(values).sum()
        return f"{within} of {len(values)}; from {_points(values.min())} to {_points(values.max())} points"
    (quantity,), (value,) = found, values
    first, second = scores.total(quantity.upper), max(scores.total(each) for each in quantity.lower)
    if claim.compared_with or claim.relation == "acceleration":
        return f"{_points(first)} less {_points(second)}: {_points(value)} points"
    return f"{first * POINT:.4f} less {second * POINT:.4f}: {_points(value)} points"


def _points(value: float) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


# Quantities ------------------------------------------------------------------------------------------------


def add(first: Weights, second: Weights, factor: float) -> Weights:
    """Return the first sum plus ``factor`` times the second."""
    total = dict(first)
    for place, each in second.items():
        total[place] = total.get(place, 0.0) + factor * each
    return total


def _places(selection: Selection, **instead: object) -> list[Place]:
    fixed = {name: (value,) for name, value in instead.items()}
    return [Place(*key) for key in product(*((selection | fixed)[name] for name in KEY))]


def _best(selection: Selection) -> list[Quantity]:
    return [
        _quantity(place, [place._replace(system=other) for other in selection["others"]])
        for place in _places(selection)
    ]


def _gap(selection: Selection) -> list[Quantity]:
    return [
        _quantity(place, [place._replace(system=other)])
        for other in selection["others"]
        for place in _places(selection)
    ]


def _steps(selection: Selection) -> list[Quantity]:
    return [
        _quantity(less, [more])
        for levels in pairwise(selection["snr_db"])
        for less, more in zip(*(_places(selection, snr_db=level) for level in levels), strict=True)
    ]


def _acceleration(selection: Selection) -> list[Quantity]:
    steps = _steps(selection)
    count = len(steps) // (len(selection["snr_db"]) - 1)
    return [
        Quantity(later.differences()[0], (sooner.differences()[0],), (f"{later.cases[0]}, less the step before",))
        for sooner, later in zip(steps, steps[count:], strict=False)
    ]


def _drop(selection: Selection) -> list[Quantity]:
    ends = selection["snr_db"][0], selection["snr_db"][-1]
    return _steps(selection | {"snr_db": ends})


QUANTITIES = {"best": _best, "gap": _gap, "drop": _drop, "steps": _steps, "acceleration": _acceleration}
"""Relation -> function from a selection to its quantities."""


def _quantity(first: Place, others: list[Place]) -> Quantity:
    cases = tuple(_case(first, other) for other in others)
    return Quantity({first: 1.0}, tuple({other: 1.0} for other in others), cases)


def _case(first: Place, other: Place) -> str:
    """Return a difference in words: the fields both sides share, then those that differ."""
    both = zip(Place._fields, first, other, strict=True)
    named = {
        name: value_text(name, left) if left == right else f"{value_text(name, left)} less {value_text(name, right)}"
        for name, left, right in both
    }
    order = ("system", "dataset", "noise", "snr_db", "condition", "metric")
    return ", ".join(named[name] for name in order)


def quantities(claim: Claim, selection: Selection) -> list[Quantity]:
    """Return the quantities of a claim in a selection.

    If a selection is compared with another one, the only quantity is between their mean differences.
    """
    found = QUANTITIES[claim.relation](selection)
    if not claim.compared_with:
        return found
    other = QUANTITIES[claim.relation](selection | claim.compared_with)
    return [Quantity(_mean(found), (_mean(other),), ("mean difference less that compared with",))]


def _mean(found: list[Quantity]) -> Weights:
    total: Weights = {}
    for quantity in found:
        (difference,) = quantity.differences()
        total = add(total, difference, 1 / len(found))
    return total


def needed(found: list[Quantity]) -> list[Place]:
    """Return every score that some quantities need, each once."""
    return list(dict.fromkeys(place for each in found for side in (each.upper, *each.lower) for place in side))


# Tests -----------------------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """A verdict. p_value: of the clearest violation of a claim, corrected for the number of tests; 1 without a
    violation, NaN without a test. evidence: that violation, or the reason why there is no test."""

    p_value: float
    verdict: str
    evidence: str


def judge(bounds: Bounds, tested: list[tuple[str, Contrast]]) -> Judged:
    """Judge a claim by all its differences, each with its name, in points.

    It does not hold if a difference is significantly out of bounds at the 5 % level after Bonferroni's correction over
    all differences; for a claim that a system is best, these are over rivals and columns. It holds if every difference
    and its 95 % interval are within the bounds; as all of them must be, no correction is needed. Otherwise it is
    undecided.
    """
    violations = [(_violation(bounds, each), name, each) for name, each in tested]
    untested = next((each.untested for _name, each in tested if each.untested), "")
    known = [(min(1.0, p * len(tested)), name, each) for p, name, each in violations if not np.isnan(p)]
    if not known:
        return Judged(np.nan, UNDECIDED, untested)
    p_value, name, clearest = min(known, key=lambda each: each[0])
    if p_value < 1 - CONFIDENCE:
        return Judged(p_value, FAILS, f"{name}: {_points(clearest.value)} points, corrected p = {p_value:.2g}")
    within = [bounds.hold(np.round([each.value, *each.interval()], DECIMALS)).all() for _name, each in tested]
    return Judged(p_value, HOLDS if all(within) else UNDECIDED, untested)


def judge_most(bounds: Bounds, tested: list[tuple[str, Contrast]]) -> Judged:
    """Judge a claim that most differences are within one-sided bounds.

    Each difference is tested against the bound, with Holm's correction over all of them. The claim holds if more than
    half are significantly within the bounds, and does not hold if at least half are significantly out of them.
    """
    untested = next((each.untested for _name, each in tested if each.untested), "")
    limit = bounds.low if np.isfinite(bounds.low) else bounds.high
    p_values = holm(pd.Series([each.p_value(limit) for _name, each in tested], dtype=np.float64))
    if p_values.isna().all():
        return Judged(np.nan, UNDECIDED, untested)
    within = bounds.hold(np.round([each.value for _name, each in tested], DECIMALS))
    certain = p_values.to_numpy() < 1 - CONFIDENCE
    yes, no = int((within & certain).sum()), int((~within & certain).sum())
    verdict = HOLDS if 2 * yes > len(tested) else FAILS if 2 * no >= len(tested) else UNDECIDED
    counts = f"{yes} of {len(tested)} significantly within bounds, {no} out of them"
    return Judged(np.nan, verdict, f"{counts}; {untested}" if untested else counts)


def _violation(bounds: Bounds, tested: Contrast) -> float:
    """Return the p value of a difference being within bounds it is out of; 1 if it is within, NaN if untested."""
    if tested.untested:
        return np.nan
    value = round(tested.value, DECIMALS)
    if bounds.hold(np.array(value)):
        return 1.0
    return tested.p_value(bounds.low if value <= bounds.low else bounds.high)
