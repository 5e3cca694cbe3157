"""Draw how each system's accuracy falls with noise: WA and UA, averaged over the six conditions, against the SNR.

One row per dataset and noise kind; the bars are standard deviations over repeats. Writes .png, .pdf and the data
as .csv.

Settings: those of the tables (see make_table.py --help) and, if other than WA and UA, "metrics": ["WA", "UA", "F1"]
"""

from __future__ import annotations

from nmer import command
from nmer.files import write_text
from nmer.results.figures import draw_robustness, robustness
from nmer.results.scores import read_scores
from nmer.results.style import save_figure
from nmer.results.tables import check


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--scores", required=True, help="collected scores, CSV")
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()

    settings = check(arguments.settings)
    curves = robustness(read_scores(arguments.scores), settings)
    save_figure(draw_robustness(curves, settings), arguments.output_stem)
    write_text(f"{arguments.output_stem}.csv", curves.to_csv(index=False, float_format="%.6f"))


if __name__ == "__main__":
    command.run(main)
