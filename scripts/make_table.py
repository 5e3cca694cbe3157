"""Make one table of the paper from an experiment's scores, next to the paper's numbers.

Table 1 gives the sizes of the datasets, Table 2 every system under every noise, averaged over the incomplete
conditions, Table 3 NMER in each condition, Table 4 the uni-modal systems, Table 5 every system with all modalities
noisy. A score is averaged over conditions, then folds, with equal weights; mean and standard deviation are over
repeats. A cell that was not run is empty; one with trainings at chance is marked. Writes tidy data (.csv) and the
paper's arrangement (.md, .tex, .html).

Settings: {"datasets": {"mosei": {"paper_name": "CMU-MOSEI", "synthetic": false, "evaluation": "one_condition"}},
           "systems": ["men", "nmer"], "snr_db": {"gaussian": [-10, -40]}, "reference_noise": "gaussian"}
          and, with uni-modal systems,
          "unimodal": {"datasets": ["iemocap"], "snr_db": [0, -10], "clean_reference": true}
"""

from __future__ import annotations

from nmer import command
from nmer.content import converting
from nmer.digests import check_digests
from nmer.errors import ConfigError
from nmer.files import read_json, write_text
from nmer.report_settings import ReportSettings
from nmer.results.chance import read_trainings
from nmer.results.labels import use_labels
from nmer.results.printed import write_printed
from nmer.results.printed_tables import arrange
from nmer.results.scores import read_scores
from nmer.results.tables import SCORE_TABLES, read_paper, table_1


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--table", type=int, required=True, choices=(1, *SCORE_TABLES), help="number in the paper")
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument("--scores", help="collected scores, CSV (Tables 2 to 5)")
    parser.add_argument("--chance", help="verdicts of find_chance.py, CSV; without them no cell is marked")
    parser.add_argument("--reports", nargs="*", default=[], metavar="FILE", help="validation reports, JSON (Table 1)")
    parser.add_argument("--reference", default="workflow/reference", help="folder of the paper's numbers")
    parser.add_argument("--output-stem", required=True, help="path of the outputs, without suffix")
    arguments = parser.parse_args()

    settings, number = ReportSettings.from_mapping(arguments.settings), arguments.table
    use_labels(settings.titles, settings.rates)
    check_digests(arguments.scores, arguments.chance, *arguments.reports)
    paper = read_paper(arguments.reference, number)
    if number == 1:
        reports = [read_json(path) for path in arguments.reports]
        with converting(", ".join(arguments.reports), "Delete the file that lacks it and run again."):
            table = table_1(reports, settings, paper)
    elif arguments.scores:
        trainings = read_trainings(arguments.chance) if arguments.chance else None
        table = SCORE_TABLES[number](read_scores(arguments.scores), settings, paper, trainings)
    else:
        raise ConfigError(f"Table {number} is made from scores: pass --scores FILE.")

    write_text(f"{arguments.output_stem}.csv", table.to_csv(index=False, float_format="%.6f"))
    write_printed(arguments.output_stem, arrange(number, table, settings))


if __name__ == "__main__":
    command.run(main)
