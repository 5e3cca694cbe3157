"""Draw how each system's accuracy falls with noise: WA and UA, averaged over the six conditions, against the SNR.

One row per dataset and noise kind; the bars are 95 % intervals, dotted lines chance. Writes .png, .pdf and the data as
.csv.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.results.chance import read_trainings
from nmer.results.figures.robustness import draw_robustness, read_intervals, robustness
from nmer.results.style import save_figure
from nmer.results.tables import check


def main() -> None:
    """Read the intervals, draw."""
    parser = command.parser(__doc__)
    parser.add_argument("--intervals", required=True, help="95 %% intervals of the scores, CSV")
    parser.add_argument("--chance", help="verdicts of find_chance.py, CSV; without them no line of chance is drawn")
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see make_table.py --help")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()

    check_digests(arguments.intervals, arguments.chance)
    settings = check(arguments.settings)
    trainings = read_trainings(arguments.chance) if arguments.chance else None
    curves = robustness(read_intervals(arguments.intervals), settings, trainings)
    save_figure(draw_robustness(curves, settings), curves, arguments.output_stem)


if __name__ == "__main__":
    command.run(main)
