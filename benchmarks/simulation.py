"""Check intervals, tests, ranks and claims on simulated experiments with known truth.

Every experiment is drawn as predictions, with utterances of known difficulty and effects of training, video and fold,
and passes through the code of the workflow: contributions, contrasts, comparisons, ranks, claims. Systems are equally
good, or the lead of one is known. Prints a Markdown table; with --document, it replaces the table in that file between
the lines <!-- simulation --> and <!-- end of simulation -->. docs/statistics.md explains the columns.

With --power, prints instead the smallest difference that a number of repeats can show, for docs/protocol.md.

Example: .venv/bin/python benchmarks/simulation.py --document docs/statistics.md
         .venv/bin/python benchmarks/simulation.py --power --count 500 --document docs/protocol.md
         .venv/bin/python benchmarks/simulation.py --count 200
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from nmer.metrics import SHOWN  # noqa: E402
from nmer.names import ALL_NOISY, SIX_CONDITIONS  # noqa: E402
from nmer.report_settings import DatasetSettings, ReportSettings  # noqa: E402
from nmer.results import statistics  # noqa: E402
from nmer.results.claims import Claim, read_claims, read_papers  # noqa: E402
from nmer.results.claims_audit import FAILS, audit, read_distances  # noqa: E402
from nmer.results.contrasts import Contrasts  # noqa: E402
from nmer.results.contributions import measure  # noqa: E402
from nmer.results.predictions import FoldPredictions, Run  # noqa: E402
from nmer.seeds import generator  # noqa: E402

COUNT = 2000
POINT = 0.01
SCORE = 0.6
"""True WA and UA of every system without a lead."""

SHARED, OWN = 0.15, 0.10
"""Effect of an utterance on the probability of a correct classification, by all systems and by one of them."""

MOSEI, MOSI, IEMOCAP = 4643, 686, 553
"""Test utterances of a fold."""

LEVEL = 0.05
AT_ONCE = 50
"""Number of experiments that are analysed in one call."""

START, END = "<!-- simulation -->", "<!-- end of simulation -->"


@dataclass(frozen=True)
class Setting:
    """A design. utterances: of a fold. training_sd, video_sd, fold_sd: standard deviations in points of what a training
    adds to its score, a video to that of one system, a fold to that of one system. columns, systems: how many
    comparisons a family holds: systems less one, at each of the columns."""

    name: str
    utterances: int
    repeats: int = 3
    training_sd: float = 1.0
    videos: int = 0
    video_sd: float = 0.0
    folds: int = 1
    fold_sd: float = 0.0
    systems: int = 2
    columns: int = 1


ONE_FOLD = [
    Setting(f"{corpus}, one fold", utterances, repeats, spread)
    for corpus, utterances in (("CMU-MOSEI", MOSEI), ("CMU-MOSI", MOSI))
    for spread in (0.5, 1.0, 4.0)
    for repeats in (2, 3)
]
SETTINGS = [
    *ONE_FOLD,
    Setting("CMU-MOSEI, one fold", MOSEI, repeats=1),
    Setting("CMU-MOSEI, one fold, 678 videos", MOSEI, training_sd=0.5, videos=678, video_sd=5),
    Setting("CMU-MOSI, one fold, 31 videos", MOSI, videos=31, video_sd=5),
    Setting("IEMOCAP, ten folds", IEMOCAP, folds=10),
    Setting("IEMOCAP, ten folds", IEMOCAP, training_sd=4.0, folds=10),
    Setting("IEMOCAP, ten folds, system × fold 5 points", IEMOCAP, folds=10, fold_sd=5.0),
    Setting("CMU-MOSI, 3 × 4 comparisons, Holm", MOSI, systems=4, columns=4),
    Setting("CMU-MOSI, 3 × 4 comparisons, Holm", MOSI, training_sd=4.0, repeats=2, systems=4, columns=4),
]
CORRELATIONS = (0.0, 0.1, 0.3, 0.5, 0.8)
CLAIMED = {
    1: 'dataset = "IEMOCAP"\nnoise = "gaussian"\nsnr_db = -10\nmetric = "WA"',
    8: 'dataset = "IEMOCAP"\nmetric = "WA"',
    32: "",
}
"""Columns of a claim -> its selection from the paper's Table 2."""
BEST = ("men", "mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv")
LEAD_UTTERANCES, LEAD = 240, 0.5
"""Utterances of a column in the simulation of “best”, and NMER's true lead in standard errors of a difference."""


def main() -> None:
    """Simulate every setting, print the table and write it to the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="simulations of each setting")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--power", action="store_true", help="print the smallest differences that can be shown")
    parser.add_argument("--document", type=Path, help="Markdown file whose table is replaced")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.cores) as pool:
        if arguments.power:
            rows = [pool.submit(smallest_differences, *each, arguments.count) for each in POWER_ROWS]
            write(_table(POWERED, [each.result() for each in rows]), arguments.document)
            return
        tested = [pool.submit(summary, setting, arguments.count) for setting in SETTINGS]
        ranked = [pool.submit(false_ranks, correlation, arguments.count) for correlation in CORRELATIONS]
        refuted = [pool.submit(refuted_truths, columns, arguments.count) for columns in CLAIMED]
        text = "\n\n".join(
            (
                f"{arguments.count:,} simulations of each row.",
                _table(TESTED, [each.result() for each in tested]),
                _table(RANKED, [each.result() for each in ranked]),
                _table(REFUTED, [each.result() for each in refuted]),
            )
        )
    write(text, arguments.document)


def write(text: str, document: Path | None) -> None:
    """Print a text, and write it between the two lines of a document."""
    print(text)
    if document:
        before, rest = document.read_text(encoding="utf-8").split(START)
        after = rest.split(END)[1]
        document.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")


# Intervals and comparisons ---------------------------------------------------------------------------------

TESTED = ("design", "training SD", "R", "coverage: score", "difference", "rejections at 5 %", "half-width")


@dataclass(frozen=True)
class Found:
    """Results of the simulations of a setting, (count,) each, for UA in points; NaN where nothing is printed.

    covered: whether the interval of a score contains the truth. differences: estimates of a true difference of 0, the
    first of a family. half_widths: of their intervals. rejected: whether any difference of a family is significant
    after correction.
    """

    covered: np.ndarray
    differences: np.ndarray
    half_widths: np.ndarray
    rejected: np.ndarray

    @property
    def is_printed(self) -> bool:
        """Whether the design supports intervals."""
        return bool(np.isfinite(self.half_widths).all())

    def coverage(self) -> tuple[float, float]:
        """Return the shares of intervals that contain the truth, for a score and for a difference."""
        return float(self.covered.mean()), float((abs(self.differences) <= self.half_widths).mean())


def simulate(setting: Setting, count: int) -> Found:
    """Draw ``count`` experiments of a setting and analyse each like the workflow."""
    gc.freeze()  # statsmodels runs the garbage collector in every correction
    random = generator("simulation", *(str(value) for value in vars(setting).values()))
    parts = []
    for first in range(0, count, AT_ONCE):
        # Each experiment is a separate dataset, so the tables of many experiments are made at once.
        drawn = [draw(setting, random, f"corpus{number}") for number in range(first, min(first + AT_ONCE, count))]
        parts.append(_analyse([run for runs, _ in drawn for run in runs], dict(known for _, known in drawn)))
    columns = pd.concat(parts)
    return Found(*(columns[name].to_numpy(np.float64) for name in ("covered", "difference", "half", "rejected")))


def summary(setting: Setting, count: int) -> tuple[str, ...]:
    """Return a row of the table TESTED."""
    found = simulate(setting, count)
    about = (setting.name, f"{setting.training_sd:g}", str(setting.repeats))
    if not found.is_printed:
        return (*about, "none printed", "none printed", "no test", "–")
    score, difference = found.coverage()
    width = f"{found.half_widths.mean():.2f}"
    return (*about, _share(score), _share(difference), _share(found.rejected.mean()), width)


def draw(setting: Setting, random: np.random.Generator, dataset: str) -> tuple[list[Run], tuple[str, dict[str, str]]]:
    """Draw runs of equally good systems; return them, the dataset's name and the cluster of each utterance, if any."""
    names = ["nmer", *(f"system{number}" for number in range(1, setting.systems))]
    keys = [(name, -10 * (1 + column)) for column in range(setting.columns) for name in names]
    folds: dict[tuple[str, int], dict[int, FoldPredictions]] = {key: {} for key in keys}
    clusters = {}
    for fold in range(1, setting.folds + 1):
        utterances = np.array([f"{fold:02d}_{number:05d}" for number in range(setting.utterances)])
        labels = random.integers(2, size=setting.utterances)
        shared = SCORE + SHARED * random.choice((-1, 1), setting.utterances)
        shared += setting.fold_sd * POINT * random.normal()
        video = random.integers(setting.videos, size=setting.utterances) if setting.videos else None
        if setting.videos:
            clusters |= {name: f"video{number}" for name, number in zip(utterances.tolist(), video, strict=True)}
        elif setting.folds > 1:
            clusters |= dict.fromkeys(utterances.tolist(), f"speaker{fold}")
        for key in keys:
            right = shared + OWN * random.choice((-1, 1), setting.utterances)
            right += setting.fold_sd * POINT * random.normal()
            if setting.videos:
                right += (setting.video_sd * POINT * random.normal(size=setting.videos))[video]
            training = setting.training_sd * POINT * random.normal(size=(setting.repeats, 1))
            correct = random.random((setting.repeats, setting.utterances)) < right + training
            predicted = np.where(correct, labels, 1 - labels)[:, None]
            folds[key][fold] = FoldPredictions(utterances, labels, predicted)
    runs = [
        Run((dataset, name, "all_noisy", "gaussian", level), ("negative", "positive"), (ALL_NOISY,), folds[name, level])
        for name, level in keys
    ]
    return runs, (dataset, clusters)


def _contrasts(
    runs: list[Run], metrics: tuple[str, ...], clusters: dict[str, dict[str, str]] | None = None
) -> Contrasts:
    """Return contrasts of some metrics only, which saves time."""
    measured = measure(runs, clusters)
    cells = measured.cells[measured.cells["metric"].isin(metrics)].reset_index(drop=True)
    return Contrasts(replace(measured, cells=cells))


def _analyse(runs: list[Run], clusters: dict[str, dict[str, str]]) -> pd.DataFrame:
    """Return a row per dataset with the fields of :class:`Found`."""
    contrasts = _contrasts(runs, ("UA",), clusters)
    own = statistics.intervals(contrasts).query("system == 'nmer' and metric == 'UA'").groupby("dataset").first()
    compared = statistics.comparisons(contrasts, list(dict.fromkeys(run.key[1] for run in runs)))
    families = compared[compared["metric"] == "UA"].groupby("dataset")
    first = families.nth(0).set_index("dataset")
    return pd.DataFrame(
        {
            "covered": own["low"].le(SCORE) & own["high"].ge(SCORE),
            "difference": first["difference"] / POINT,
            "half": (first["high"] - first["low"]) / 2 / POINT,
            "rejected": families["p_adjusted"].min() < LEVEL,
        }
    )


# Power -----------------------------------------------------------------------------------------------------

REPEATS, SPREADS = (1, 3, 5, 10), (0.5, 1.0, 4.0)
POWERED = ("corpus", "training SD", *(f"R = {repeats}" for repeats in REPEATS))
DESIGNS = {
    "CMU-MOSI": Setting("CMU-MOSI", MOSI, videos=31, video_sd=5),
    "CMU-MOSEI": Setting("CMU-MOSEI", MOSEI, videos=678, video_sd=5),
    "IEMOCAP": Setting("IEMOCAP", IEMOCAP, folds=10, fold_sd=1),
}
POWER_ROWS = [(corpus, spread) for corpus in DESIGNS for spread in SPREADS]
POWER = 0.8


def smallest_difference(found: Found) -> float:
    """Return the true difference in points that is significant at the 5 % level in 80 % of the experiments."""

    def missed(difference: float) -> float:
        return float((abs(found.differences + difference) > found.half_widths).mean()) - POWER

    return float(optimize.brentq(missed, 0, 1000))


def smallest_differences(corpus: str, spread: float, count: int) -> tuple[str, ...]:
    """Return a row of the table POWERED."""
    cells = []
    for repeats in REPEATS:
        found = simulate(replace(DESIGNS[corpus], repeats=repeats, training_sd=spread), count if repeats > 1 else 2)
        cells.append(f"{smallest_difference(found):.1f}" if found.is_printed else "no test")
    return corpus, f"{spread:g}", *cells


# Ranks -----------------------------------------------------------------------------------------------------

RANKED = ("correlation of the levels of a fold", "Friedman rejects at 5 %", "Nemenyi: any two systems differ")


def simulate_ranks(correlation: float, count: int) -> tuple[float, float]:
    """Return the shares of simulations in which Friedman's and Nemenyi's tests find a difference of equal systems.

    Ten folds and a fixed split, two noise kinds, four levels; the errors of a system at the levels of a fold have this
    correlation.
    """
    random = generator("simulated ranks", str(correlation))
    places = [("iemocap", fold) for fold in range(1, 11)] + [("mosei", 1)]
    index = pd.MultiIndex.from_product(
        [range(len(places)), ("gaussian", "impulse"), (-10, -20, -30, -40), BEST],
        names=["place", "noise", "snr_db", "system"],
    )
    table = index.to_frame(index=False).assign(regime="incomplete", condition="a", repeat=1, metric="UA")
    table["dataset"] = [places[place][0] for place in table["place"]]
    table["fold"] = [places[place][1] for place in table["place"]]
    # The conditions define the modalities of a dataset, so "a" is recognised as incomplete.
    complete = table.drop_duplicates("dataset").assign(condition="avl", value=SCORE)
    friedman = nemenyi = 0
    for _ in range(count):
        common = np.repeat(random.normal(size=(len(places), 1, len(BEST))), 8, axis=1).ravel()
        own = random.normal(size=len(table))
        values = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
        scores = pd.concat([table.assign(value=SCORE + POINT * values), complete])
        found = statistics.ranks(scores, list(BEST))
        friedman += found["friedman_p"].iloc[0] < LEVEL
        nemenyi += np.ptp(found["rank"]) > found["critical_difference"].iloc[0]
    return friedman / count, nemenyi / count


def false_ranks(correlation: float, count: int) -> tuple[str, ...]:
    """Return a row of the table RANKED."""
    return (f"{correlation:g}", *map(_share, simulate_ranks(correlation, count)))


# Claims ----------------------------------------------------------------------------------------------------

REFUTED = ("columns of “NMER is the best of 7”, which is true", "refuted")


def simulate_best(columns: int, count: int) -> float:
    """Return the share of simulations that refute a true claim that NMER is best by half a standard error."""
    papers = read_papers(REPOSITORY / "workflow" / "reference")
    (claim,) = [each for each in _claims(papers) if each.name == f"best{columns}"]
    datasets = [name for name in ("IEMOCAP", "CMU-MOSEI") if name in claim.selection["dataset"]]
    settings = ReportSettings(
        {name: DatasetSettings(name) for name in datasets}, list(BEST), {"gaussian": [-10]}, "gaussian"
    )
    random = generator("simulated claims", columns)
    places = [(noise, level) for noise in claim.selection["noise"] for level in claim.selection["snr_db"]]
    refuted = 0
    for _ in range(count):
        runs = [run for name in datasets for run in _leading(name, places, random)]
        audited = audit([claim], papers, settings, _contrasts(runs, SHOWN), read_distances([]))
        refuted += audited["verdict"].iloc[0] == FAILS
    return refuted / count


def refuted_truths(columns: int, count: int) -> tuple[str, ...]:
    """Return a row of the table REFUTED."""
    return str(columns), _share(simulate_best(columns, count))


def _claims(papers: dict[int, pd.DataFrame]) -> list[Claim]:
    about = 'text = ""\norigin = "tables"\ntable = 2\nrelation = "best"\nsystem = "nmer"\nmore_than = 0'
    entries = [f'[[claim]]\nid = "best{columns}"\n{about}\n{selected}\n' for columns, selected in CLAIMED.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "claims.toml"
        path.write_text("\n".join(entries), encoding="utf-8")
        return read_claims(path, papers)


def _leading(dataset: str, places: list[tuple[str, int]], random: np.random.Generator) -> list[Run]:
    """Draw runs of seven systems, with NMER better by LEAD standard errors; an utterance has one condition."""
    size, repeats = LEAD_UTTERANCES, 3
    utterances, labels = np.array([f"{number:05d}" for number in range(size)]), np.arange(size) // 6 % 2
    asked = np.arange(size) % len(SIX_CONDITIONS) == np.arange(len(SIX_CONDITIONS))[:, None]
    per_item = 2 * (OWN**2 + (SCORE * (1 - SCORE) - SHARED**2 - OWN**2) / repeats)
    lead = LEAD * np.sqrt(per_item / size)
    runs = []
    for noise, level in places:
        shared = SCORE + SHARED * random.choice((-1, 1), size)
        for system in BEST:
            right = shared + OWN * random.choice((-1, 1), size) + (lead if system == "nmer" else 0)
            correct = random.random((repeats, size)) < right
            answered = np.where(correct, labels, 1 - labels)[:, None]
            fold = FoldPredictions(utterances, labels, np.where(asked, answered, -1))
            key = (dataset, system, "incomplete", noise, level)
            runs.append(Run(key, ("negative", "positive"), SIX_CONDITIONS, {1: fold}))
    return runs


# Printing --------------------------------------------------------------------------------------------------


def _share(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
