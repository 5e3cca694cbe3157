"""Check the paper's claims against its own numbers and against an experiment's scores.

Every claim in the claims file is computed from the paper's tables and from the experiment's scores, and tested on the
latter: it holds, does not hold, or is undecided at this sample size. Cases that were not run are marked. The claim
about Figure 3 is judged by the distances behind the figure. Writes one row per case (.csv) and formatted tables (.md,
.html). The head of the claims file explains how to add a claim.

Settings: those of make_table.py.
"""

from __future__ import annotations

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.report_settings import ReportSettings
from nmer.results.chance import read_trainings
from nmer.results.claims import read_claims, read_papers
from nmer.results.claims_audit import audit, read_distances
from nmer.results.contrasts import Contrasts
from nmer.results.contributions import read_contributions
from nmer.results.labels import use_labels
from nmer.results.printed_claims import FORMATS


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument("--contributions", required=True, help="scores and the contributions of utterances, HDF5")
    parser.add_argument("--chance", help="verdicts of find_chance.py, CSV; without them no result is marked at chance")
    parser.add_argument("--distances", nargs="*", default=[], metavar="FILE", help="the data of Figure 3, CSV")
    parser.add_argument("--claims", default="workflow/reference/claims.toml", help="the claims, TOML")
    parser.add_argument("--reference", default="workflow/reference", help="folder of the paper's numbers")
    parser.add_argument("--output-stem", required=True, help="path of the outputs, without suffix")
    arguments = parser.parse_args()

    check_digests(arguments.contributions, arguments.chance, *arguments.distances)
    papers = read_papers(arguments.reference)
    claims = read_claims(arguments.claims, papers)
    contrasts = Contrasts(read_contributions(arguments.contributions))
    distances = read_distances(arguments.distances)
    trainings = read_trainings(arguments.chance) if arguments.chance else None
    settings = ReportSettings.from_mapping(arguments.settings)
    use_labels(settings.titles, settings.rates)
    audited = audit(claims, papers, settings, contrasts, distances, trainings)

    write_text(f"{arguments.output_stem}.csv", audited.to_csv(index=False, float_format="%.6f"))
    for suffix, render in FORMATS.items():
        write_text(f"{arguments.output_stem}{suffix}", render(audited))


if __name__ == "__main__":
    command.run(main)
