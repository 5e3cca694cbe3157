"""Draw the scores of a dataset condition by condition: a heat map per noise kind and level, systems in its rows.

Shades and upper numbers are WA, lower numbers UA. Writes .png, .pdf and the data as .csv.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.results.chance import read_trainings
from nmer.results.figures.conditions import condition_scores, draw_conditions
from nmer.results.scores import read_scores
from nmer.results.style import save_figure
from nmer.results.tables import check


def main() -> None:
    """Read the collected scores, draw those of one dataset."""
    parser = command.parser(__doc__)
    parser.add_argument("--scores", required=True, help="collected scores, CSV")
    parser.add_argument("--chance", help="verdicts of find_chance.py, CSV; without them no cell is marked")
    parser.add_argument("--dataset", required=True, help="the dataset to draw")
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see make_table.py --help")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()

    check_digests(arguments.scores, arguments.chance)
    trainings = read_trainings(arguments.chance) if arguments.chance else None
    cells = condition_scores(read_scores(arguments.scores), check(arguments.settings), arguments.dataset, trainings)
    save_figure(draw_conditions(cells), cells, arguments.output_stem)


if __name__ == "__main__":
    command.run(main)
