"""Intervals and tests of any sum of scores: a single score, a difference of two systems, a difference of differences.

On a fixed split the variance of a contrast has two parts. Trainings: per system, the variance between repeats divided
by their number, which includes the differences between trainings and the noise of the items within one. Test material:
the variance over units (speakers or videos, utterances) of the mean over the repeats, less that noise. With several
folds each fold has its own trainings, so the variance over folds contains both parts.

A few repeats give a poor estimate of a variance, many units a good one. One t distribution with Satterthwaite's degrees
of freedom for the sum is too narrow if the repeats happen to be close: with two repeats, simulated coverage of a score
fell to .86, and false rejections in a family of 12 rose to .21. So each part has its own quantile: the squared
half-width of an interval is the sum of the squared half-widths of both (method of variance estimates recovery; Zou and
Donner, Statistics in Medicine 27, 2008; Graybill and Wang, JASA 75, 1980). Satterthwaite's degrees of freedom combine
the trainings of several systems. The half-width is at least that of the test material with its noise; repeats that are
close by chance could otherwise give less. A p value is the level at which the interval just reaches the tested value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special

from nmer.names import corruption_name
from nmer.results.contributions import Contributions, DatasetContributions, Design
from nmer.snr_column import snr_of

CONFIDENCE = 0.95
ONE_REPEAT = "only one repeat, so the variance between trainings is unknown"
ONE_UNIT = "only one test unit, so the variance between units is unknown"
UNDEFINED = "a score is undefined, such as the correlation of a constant"
NO_VARIATION = "no variation between the units"
SAME = "every repeat has equal scores, as of one training under two names"
NOTHING = 1e-20
"""Largest variance that can be due to rounding."""

SMALLEST = 1e-12
"""Smallest p value that is computed; quantiles further out are not accurate."""

Part = tuple[float, float]
"""A variance and its degrees of freedom."""


@dataclass(frozen=True)
class Contrast:
    """A sum of scores. parts: its independent sources of variance. least: those of the test material with the noise of
    the items, a lower bound for every interval. untested: why it has no interval, or empty."""

    value: float
    parts: tuple[Part, ...] = ()
    least: tuple[Part, ...] = ()
    untested: str = ""

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return both ends of the interval; NaN if the design supports none."""
        if self.untested:
            return np.nan, np.nan
        half = np.sqrt(self._squared_half_width(1 - confidence))
        return self.value - half, self.value + half

    def p_value(self, against: float = 0.0) -> float:
        """Return the two-sided p value of the contrast being ``against``; NaN if the design supports no test."""
        distance = (self.value - against) ** 2
        if abs(self.value - against) < 1e-12:
            return 1.0 if not self.untested or self.untested == NO_VARIATION else np.nan
        if self.untested:
            return np.nan

        def excess(exponent: float) -> float:
            return self._squared_half_width(10.0**exponent) - distance

        lowest = np.log10(SMALLEST)
        if excess(lowest) <= 0:
            return SMALLEST
        return float(10.0 ** optimize.brentq(excess, lowest, 0, xtol=1e-9))

    def _squared_half_width(self, level: float) -> float:
        return max(_summed_squares(self.parts, level), _summed_squares(self.least, level))


class Contrasts:
    """Makes contrasts of an experiment's scores."""

    def __init__(self, measured: Contributions) -> None:
        self.measured = measured
        self._dataset_of = self.cells["dataset"].to_numpy(str)
        self._columns = {name: self.cells[name].to_numpy() for name in ("value", "repeats", "varies", "position")}
        self._training = _trainings(self.cells)

    @property
    def cells(self) -> pd.DataFrame:
        """The cells of :class:`Contributions`."""
        return self.measured.cells

    def design(self, dataset: str) -> Design:
        """Return the division of a dataset's test material into units."""
        return self.measured.datasets[dataset].design

    def are_same(self, row: int, other: int) -> bool:
        """Whether two cells have equal scores and contributions in every repeat of a random training: one training
        under two names, whose difference has no variance."""
        if not (self._columns["varies"][row] and self._columns["varies"][other]):
            return False
        repeats = self._columns["repeats"][[row, other]]
        if repeats[0] != repeats[1] or self._dataset_of[row] != self._dataset_of[other]:
            return False
        here, (one, two) = self.measured.datasets[self._dataset_of[row]], self._columns["position"][[row, other]]
        return all(np.array_equal(part[one], part[two], equal_nan=True) for part in (here.scores, here.contributions))

    def of(self, weights: Mapping[int, float]) -> Contrast:
        """Return the weighted sum of scores. weights: row of ``cells`` -> factor."""
        rows = np.array(list(weights), np.int64)
        factors = np.array(list(weights.values()), np.float64)
        value = float(self._columns["value"][rows] @ factors)
        if np.isnan(value):
            return Contrast(value, untested=UNDEFINED)
        parts: list[Part] = []
        least: list[Part] = []
        for dataset in dict.fromkeys(self._dataset_of[rows].tolist()):
            here = self._dataset_of[rows] == dataset
            contrast = self._of_dataset(self.measured.datasets[dataset], rows[here], factors[here])
            if isinstance(contrast, str):
                return Contrast(value, untested=contrast)
            with_noise, without = contrast
            least.append(with_noise)
            parts += without
        has_variance = any(variance > NOTHING for variance, _freedom in (*parts, *least))
        return Contrast(value, tuple(parts), tuple(least), "" if has_variance else NO_VARIATION)

    def _of_dataset(
        self, here: DatasetContributions, rows: np.ndarray, factors: np.ndarray
    ) -> tuple[Part, list[Part]] | str:
        """Return the variances of a dataset, or the reason why it has none: over the test material with the noise of
        the items, and the two parts, of the material without that noise and of the trainings."""
        units = np.zeros(len(here.design.fold_of))
        if len(units) < 2:
            return ONE_UNIT
        trainings: list[Part] = []
        noise = 0.0
        for training in dict.fromkeys(self._training[rows].tolist()):
            chosen = self._training[rows] == training
            own, weight = rows[chosen], factors[chosen]
            repeats, position = self._columns["repeats"][own[0]], self._columns["position"][own]
            shares = (weight[:, None, None] * here.contributions[position, :repeats]).sum(axis=0)
            units += shares.mean(axis=0)
            if not self._columns["varies"][own[0]]:
                continue
            if repeats < 2:
                return ONE_REPEAT
            if here.design.folds == 1:
                between = (weight @ here.scores[position, :repeats]).var(ddof=1)
                noise += shares.var(axis=0, ddof=1).sum() / repeats
                trainings.append((between / repeats, repeats - 1))
        material, freedom = _over_units(units, here.design)
        return (material, freedom), [(max(0.0, material - noise), freedom), *_pooled(trainings)]


def _trainings(cells: pd.DataFrame) -> np.ndarray:
    """Number the trainings behind each cell; a system trained on clean data has the same ones at every level."""
    places = zip(cells["noise"], cells["snr_db"], strict=True)
    names = pd.Series([corruption_name(noise, snr_of(level)) for noise, level in places], cells.index, dtype=str)
    level = names.where(cells["regime"] != "clean", "")
    return cells.assign(level=level).groupby(["dataset", "system", "regime", "level"], sort=False).ngroup().to_numpy()


def _over_units(units: np.ndarray, design: Design) -> Part:
    """Return the variance of a sum over units, two-way cluster-robust if clusters span folds (Cameron, Gelbach and
    Miller, Journal of Business & Economic Statistics 29, 2011)."""
    if design.folds == 1:
        return _sum_of_squares(units), len(units) - 1
    over_folds = np.bincount(design.fold_of, units)
    if not design.is_crossed:
        return _sum_of_squares(over_folds), design.folds - 1
    over_clusters = np.bincount(design.cluster_of, units)
    of_folds, of_clusters = _sum_of_squares(over_folds), _sum_of_squares(over_clusters)
    both = max(of_folds + of_clusters - _sum_of_squares(units), of_folds, of_clusters)
    return both, min(len(over_folds), len(over_clusters)) - 1


def _sum_of_squares(units: np.ndarray) -> float:
    count = len(units)
    return float(count / (count - 1) * ((units - units.mean()) ** 2).sum())


def _pooled(trainings: list[Part]) -> list[Part]:
    """Combine the trainings of all systems into one part, with Satterthwaite's degrees of freedom; may be empty."""
    total = sum(variance for variance, _freedom in trainings)
    if not total:
        return []
    return [(total, total**2 / sum(variance**2 / freedom for variance, freedom in trainings))]


def _summed_squares(parts: tuple[Part, ...], level: float) -> float:
    """Return the squared half-width of independent parts combined."""
    # stdtrit is fifty times as fast as scipy.stats.t, which checks its arguments; a p value needs about twenty calls.
    return float(sum(variance * special.stdtrit(freedom, level / 2) ** 2 for variance, freedom in parts))
