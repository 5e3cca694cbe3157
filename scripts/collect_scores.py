"""Collect the scores of every run of an experiment in one table.

Each run (dataset, system, regime, noise kind, SNR) has one CSV of scores, with one row per fold, repeat, condition and
metric. This step concatenates them; tables and figures read only the result. The order of the rows does not depend on
the order of the files.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.results.scores import collect


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--scores", nargs="+", required=True, metavar="FILE", help="scores of the runs, CSV")
    parser.add_argument("--output", required=True, help="where to write the collected scores, CSV")
    arguments = parser.parse_args()
    check_digests(*arguments.scores)
    write_text(arguments.output, collect(arguments.scores).to_csv(index=False))


if __name__ == "__main__":
    command.run(main)
