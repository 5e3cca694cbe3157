"""Compare two finished experiments: their scores side by side, as a Markdown table and a tidy CSV.

Compares only the runs that both experiments have: same dataset, system, regime, noise and SNR. Raises an error for
pairs that were not scored on the same utterances, folds, conditions and labels.

Example:
  python scripts/compare_experiments.py demo my_experiment --csv comparison.csv
"""

from __future__ import annotations

from nmer import command
from nmer.cli.compare import add_arguments, run


def main() -> None:
    """Parse the arguments and compare."""
    parser = command.parser(__doc__, planned=False)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    command.run(main)
