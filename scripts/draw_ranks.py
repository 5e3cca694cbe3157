"""Draw critical-difference diagrams: the systems' average ranks, and which of them cannot be told apart.

One diagram per metric; a bar joins systems whose ranks differ by less than the critical difference (Demsar 2006).
Writes .png, .pdf and the data as .csv.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.results.figures.ranks import draw_ranks, ranks, read_ranks
from nmer.results.style import save_figure


def main() -> None:
    """Read the ranks, draw."""
    parser = command.parser(__doc__)
    parser.add_argument("--ranks", required=True, help="average ranks of the systems, CSV")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()

    check_digests(arguments.ranks)
    shown = ranks(read_ranks(arguments.ranks))
    save_figure(draw_ranks(shown), shown, arguments.output_stem)


if __name__ == "__main__":
    command.run(main)
