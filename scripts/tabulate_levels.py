"""Make the table of curves over noise levels: the mean height (AUILC) and the effective robustness of every training.

A curve is the score of one training at every level (SNR or rate) of a noise kind, averaged over the incomplete
conditions, or with all modalities noisy in the regime all_noisy. Writes tidy data (.csv) and printed tables (.md, .tex,
.html).

Settings: those of make_table.py.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.report_settings import ReportSettings
from nmer.results.chance import read_all_trainings
from nmer.results.labels import use_labels
from nmer.results.level_curves import arrange_curves, curve_points, curve_table
from nmer.results.printed import write_printed
from nmer.results.scores import read_all_scores


def main() -> None:
    """Read the scores and write the table."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument("--scores", required=True, help="collected scores, CSV")
    parser.add_argument("--output-stem", required=True, help="path of the outputs, without suffix")
    parser.add_argument("--chance", help="verdicts of find_chance.py, CSV; without them no cell is marked")
    arguments = parser.parse_args()
    check_digests(arguments.scores, arguments.chance)
    settings = ReportSettings.from_mapping(arguments.settings)
    use_labels(settings.titles, settings.rates)
    trainings = read_all_trainings(arguments.chance) if arguments.chance else None
    table = curve_table(curve_points(read_all_scores(arguments.scores), settings, trainings), settings)
    write_text(f"{arguments.output_stem}.csv", table.to_csv(index=False, float_format="%.6f"))
    write_printed(arguments.output_stem, arrange_curves(table, settings))


if __name__ == "__main__":
    command.run(main)
