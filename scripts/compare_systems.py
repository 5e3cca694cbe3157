"""Intervals, paired comparisons, ranks and confusion counts of an experiment, from its predictions.

Resamples folds, trainings and test utterances (hierarchical bootstrap), jointly for all systems, so that differences
are paired. Writes into the output folder: replicates.h5 (every resampled score), intervals.csv, comparisons.csv (NMER
with every other system), ranks.csv (with the critical difference) and confusion.csv.

Settings: those of the tables (see make_table.py --help)
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.names import predictions_path
from nmer.report_settings import ReportSettings
from nmer.results import statistics
from nmer.results.chance import judge_runs
from nmer.results.predictions import read_runs
from nmer.results.replicates import resample, write_replicates
from nmer.results.scores import collect


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument(
        "--scores", nargs="+", required=True, metavar="FILE", help="scores of the runs, CSV; predictions stand beside"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()

    systems = ReportSettings.from_mapping(arguments.settings).multimodal_systems
    check_digests(*arguments.scores, *map(predictions_path, arguments.scores))
    runs = read_runs(arguments.scores)
    cells, replicates = resample(runs)
    write_replicates(arguments.output / "replicates.h5", cells, replicates)
    tables = {
        "intervals": statistics.intervals(cells, replicates),
        "comparisons": statistics.comparisons(cells, replicates, systems, judge_runs(runs)),
        "ranks": statistics.ranks(collect(arguments.scores), systems),
        "confusion": statistics.confusion(runs),
    }
    for name, table in tables.items():
        write_csv(arguments.output / f"{name}.csv", table)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table with six digits, enough for probabilities of any smallness."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


if __name__ == "__main__":
    command.run(main)
