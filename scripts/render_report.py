"""Write the report of an experiment: one page with its data, noise, tables, figures, configuration and versions.

The page is self-contained, with embedded style, script, images and downloads: it opens offline and can be e-mailed.

Settings: those of the tables (see make_table.py --help), "experiment": "demo", "config": the effective configuration
          and, if known, "jobs": the number of training jobs
Missing: "done" and "of": numbers of jobs; "stages": for each stage, a sentence that states what is missing
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.noise.calibration import TOLERANCE_DB
from nmer.report_settings import ReportSettings
from nmer.results import chance_texts, report
from nmer.results.chance import read_trainings
from nmer.results.commit import commit_of
from nmer.results.cost import read_cost
from nmer.results.labels import use_labels
from nmer.results.legend import legend
from nmer.results.recorded import Recorded
from nmer.results.scores import read_scores
from nmer.results.version_warnings import histories_behind, version_warnings


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument("--scores", required=True, help="collected scores, CSV")
    parser.add_argument("--chance", help="verdicts of find_chance.py, CSV; without them no result is marked at chance")
    parser.add_argument("--reports", nargs="*", default=[], metavar="FILE", help="validation reports, JSON")
    parser.add_argument("--calibration", nargs="*", default=[], metavar="FILE", help="calibrations, CSV")
    parser.add_argument("--tables", nargs="*", default=[], metavar="STEM", help="tables, without suffix")
    parser.add_argument("--comparisons", metavar="FILE", help="NMER with every other system, CSV")
    parser.add_argument("--compared", nargs="*", default=[], metavar="STEM", help="other experiments, without suffix")
    parser.add_argument("--claims", metavar="STEM", help="the audit of the paper's claims, without suffix")
    parser.add_argument("--figures", nargs="*", default=[], metavar="STEM", help="figures, without suffix")
    parser.add_argument("--missing", type=command.settings, help="JSON, for the page of an unfinished experiment")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of all results, read for cost and versions"
    )
    parser.add_argument("--commit", default=None, help="git commit of the workflow (default: ask git)")
    parser.add_argument("--output", required=True, help="the page, HTML")
    arguments = parser.parse_args()

    check_digests(arguments.scores, arguments.chance, *arguments.reports, *arguments.calibration)
    check_digests(*report.statistics_files(arguments.comparisons))
    check_digests(*report.table_files([*arguments.tables, *filter(None, [arguments.claims])]))
    check_digests(*report.figure_files(arguments.figures), *report.compared_files(arguments.compared))
    settings, scores = ReportSettings.from_mapping(arguments.settings), read_scores(arguments.scores)
    use_labels(settings.titles, settings.rates)
    histories = histories_behind(scores, arguments.results / settings.experiment)
    check_digests(*histories)
    trainings = read_trainings(arguments.chance) if arguments.chance else None
    at_chance = [] if trainings is None else chance_texts.warnings(trainings, settings)
    recorded = Recorded(arguments.scores)
    tables = list(filter(None, map(report.read_table, arguments.tables)))
    datasets = [report.read_dataset(path, settings) for path in arguments.reports]
    calibration = report.read_calibration(arguments.calibration)
    experiment = settings.experiment
    page = report.render(
        experiment=experiment,
        synthetic=[name for name, about in settings.datasets.items() if about.synthetic],
        missing=arguments.missing,
        run=report.what_was_run(scores, settings, recorded),
        headlines=report.headlines(scores, settings, trainings)
        + report.comparison([table["data"] for table in tables]),
        warnings=report.warnings(datasets, calibration) + at_chance + version_warnings(histories) + recorded.warnings(),
        cost=read_cost(arguments.results / "benchmarks", experiment, settings.datasets),
        datasets=datasets,
        calibration=calibration,
        calibration_files=report.embed_all(arguments.calibration),
        legend=legend(settings),
        scores_files=report.embed_all([arguments.scores]),
        tolerance=f"{TOLERANCE_DB:g}",
        tables=tables,
        comparisons=arguments.comparisons and report.read_comparisons_table(arguments.comparisons, settings),
        compared=list(map(report.read_compared, arguments.compared)),
        claims=arguments.claims and report.read_claims(arguments.claims, settings),
        figures=list(filter(None, map(report.read_figure, arguments.figures))),
        recorded=bool(recorded.records),
        configuration=as_yaml(recorded.settings() if recorded.records else settings.config),
        versions=report.versions(arguments.commit or commit_of(Path(__file__).resolve().parents[1])),
    )
    write_text(arguments.output, page)


def as_yaml(configuration: dict[str, Any]) -> str:
    """Return a configuration as YAML in its given order, with the innermost lists and mappings on one line each."""
    text: str = yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return text


if __name__ == "__main__":
    command.run(main)
