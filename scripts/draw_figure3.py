"""Draw Figure 3 for one dataset: original and noisy utterances in the t-SNE plane, at every noise level.

One row per noise level, one column per modality. Grey lines join an utterance with its noisy copy; under each panel
stands the mean length of these lines (in the plane, and in feature space). Writes .png, .pdf and the distances as .csv.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.results.figures.figure3 import draw_figure_3, read_panels
from nmer.results.style import save_figure

POINTS = ["dataset", "noise", "snr_db", "modality", "kind", "utterance", "x", "y"]
DISTANCES = ["dataset", "noise", "snr_db", "modality", "samples", "tsne_distance", "raw_distance"]


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--points", nargs="+", required=True, metavar="FILE", help="points of each level, CSV")
    parser.add_argument("--distances", nargs="+", required=True, metavar="FILE", help="distances of each level, CSV")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()

    check_digests(*arguments.points, *arguments.distances)
    points, distances = read_panels(arguments.points, POINTS), read_panels(arguments.distances, DISTANCES)
    save_figure(draw_figure_3(points, distances), distances[DISTANCES], arguments.output_stem)


if __name__ == "__main__":
    command.run(main)
