"""Compute intervals, paired comparisons, ranks and confusion counts of an experiment from its predictions.

All systems are tested on the same utterances, so differences are paired. The units of the variance are folds; with one
fold, the speakers or videos of the feature stores. Writes into the output folder: contributions.h5 (the contribution of
each unit to each score), intervals.csv, comparisons.csv (NMER with every other system), ranks.csv and confusion.csv.

Settings: those of the tables (see make_table.py --help)
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.names import predictions_path
from nmer.references.registry import REFERENCES
from nmer.report_settings import ReportSettings
from nmer.results import statistics
from nmer.results.chance import judge_runs
from nmer.results.contrasts import Contrasts
from nmer.results.contributions import measure, read_clusters, write_contributions
from nmer.results.predictions import read_runs
from nmer.results.scores import collect


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument(
        "--scores", nargs="+", required=True, metavar="FILE", help="scores of the runs, CSV, next to their predictions"
    )
    parser.add_argument(
        "--features",
        nargs="*",
        default=[],
        metavar="FILE",
        help="feature stores, read for speakers or videos",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()

    settings = ReportSettings.from_mapping(arguments.settings)
    systems = settings.multimodal_systems
    check_digests(*arguments.features, *arguments.scores, *map(predictions_path, arguments.scores))
    runs = read_runs(arguments.scores)
    measured = measure(runs, read_clusters(arguments.features), REFERENCES)
    write_contributions(arguments.output / "contributions.h5", measured)
    contrasts = Contrasts(measured)
    tables = {
        "intervals": statistics.intervals(contrasts),
        "comparisons": statistics.comparisons(contrasts, systems, judge_runs(runs), settings.reference_system),
        "ranks": statistics.ranks(collect(arguments.scores), systems),
        "confusion": statistics.confusion(runs),
    }
    for name, table in tables.items():
        write_csv(arguments.output / f"{name}.csv", table)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with six significant digits, so that small probabilities stay exact enough."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


if __name__ == "__main__":
    command.run(main)
