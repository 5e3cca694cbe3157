"""Make the table of a sweep: test and validation scores of every value of the swept options.

Test scores are averaged over the incomplete conditions, then folds. Validation scores are those of the selected epochs.
The value with the best validation score is marked. Writes tidy data (.csv) and printed tables (.md, .tex, .html).

Settings: {"settings": those of make_table.py, "system": "nmer", "sweep": [["nmer_latent_8", [["latent", 8]]]],
           "trained_as": {"nmer_latent_8": "nmer_latent_8"}, "selection": {"nmer_latent_8": "UA"}}
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.results.chance import read_trainings
from nmer.results.histories import read_histories
from nmer.results.labels import use_labels
from nmer.results.printed import write_printed
from nmer.results.scores import read_scores
from nmer.results.sweep import SweepSettings, arrange_sweep, sweep_table


def main() -> None:
    """Read scores and histories, and write the table."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument("--scores", required=True, help="collected scores, CSV")
    parser.add_argument("--chance", help="verdicts of find_chance.py, CSV; without them no cell is marked")
    parser.add_argument("--histories", nargs="+", required=True, metavar="FILE", help="histories of the trainings, CSV")
    parser.add_argument("--output-stem", required=True, help="path of the outputs, without suffix")
    arguments = parser.parse_args()
    check_digests(arguments.scores, arguments.chance, *arguments.histories)
    about = SweepSettings.from_mapping(arguments.settings)
    use_labels(about.settings.titles, about.settings.rates)
    histories = read_histories(arguments.histories, about.settings, about.history_columns())
    trainings = read_trainings(arguments.chance) if arguments.chance else None
    table = sweep_table(read_scores(arguments.scores), histories, about, trainings)
    write_text(f"{arguments.output_stem}.csv", table.to_csv(index=False, float_format="%.6f"))
    write_printed(arguments.output_stem, arrange_sweep(table, about))


if __name__ == "__main__":
    command.run(main)
