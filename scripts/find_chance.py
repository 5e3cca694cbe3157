"""Find the trainings of an experiment that are at chance, from the predictions of its runs.

A training is at chance if at least 99 % of its predictions are one class, or if the 95 % interval of its UA reaches
1 / classes. A WA that does not exceed the share of the largest class is a separate sign (docs/statistics.md). A
training that predicts scores is at chance if its MAE is not below that of the training median, or its correlation is
undefined. Writes one row per training and cell: its number of items, WA, UA with the lower end of its interval, and
both verdicts.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.names import predictions_path
from nmer.results.chance import judge_runs
from nmer.results.predictions import read_runs


def main() -> None:
    """Judge every training and write the table."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--scores",
        nargs="+",
        required=True,
        metavar="FILE",
        help="scores of the runs, CSV, next to their predictions",
    )
    parser.add_argument("--output", required=True, help="where to write the verdicts, CSV")
    arguments = parser.parse_args()
    check_digests(*arguments.scores, *map(predictions_path, arguments.scores))
    trainings = judge_runs(read_runs(arguments.scores))
    write_text(arguments.output, trainings.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


if __name__ == "__main__":
    command.run(main)
