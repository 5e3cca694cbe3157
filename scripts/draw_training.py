"""Draw how training went on a dataset: validation UA and training loss against the epoch, one line per system.

Systems trained for the six conditions, under the reference noise at its mildest and its hardest level; lines are means
over folds and repeats, bands reach from the lowest to the highest. Writes .png, .pdf and the data as .csv.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.results.chance import read_trainings
from nmer.results.figures.training import draw_training, read_histories, training_curves
from nmer.results.style import save_figure
from nmer.results.tables import check


def main() -> None:
    """Read the histories, draw those of one dataset."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--histories", nargs="*", required=True, help="history CSVs, in their folders {dataset}/{system}/..."
    )
    parser.add_argument("--chance", help="verdicts of find_chance.py, CSV; without them no line of chance is drawn")
    parser.add_argument("--dataset", required=True, help="the dataset to draw")
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see make_table.py --help")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()

    check_digests(*arguments.histories, arguments.chance)
    settings = check(arguments.settings)
    trainings = read_trainings(arguments.chance) if arguments.chance else None
    curves = training_curves(read_histories(arguments.histories, settings), settings, arguments.dataset, trainings)
    save_figure(draw_training(curves), curves, arguments.output_stem)


if __name__ == "__main__":
    command.run(main)
