"""Draw the recall of every class of a dataset against the SNR: one panel per class, one line per system.

Recall is the mean over the six conditions. Writes .png, .pdf and the data as .csv.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.results.class_labels import warn_of_numbers
from nmer.results.confusion import read_counts, recall
from nmer.results.figures.recall import draw_recall
from nmer.results.style import save_figure
from nmer.results.tables import check


def main() -> None:
    """Read the counts, draw those of one dataset."""
    parser = command.parser(__doc__)
    parser.add_argument("--confusion", required=True, help="counts of predictions per class, CSV")
    parser.add_argument("--dataset", required=True, help="the dataset to draw")
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see make_table.py --help")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()

    check_digests(arguments.confusion)
    curves = recall(read_counts(arguments.confusion), check(arguments.settings), arguments.dataset)
    warn_of_numbers(dict.fromkeys(curves["label"]), arguments.output_stem)
    save_figure(draw_recall(curves), curves, arguments.output_stem)


if __name__ == "__main__":
    command.run(main)
