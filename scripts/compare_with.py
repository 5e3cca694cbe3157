"""Compare the scores of an experiment with those of another one, for its report.

Writes CSV (every condition and metric), Markdown and HTML. Raises an error if runs of both were not scored on the same
utterances.

Settings: "first" and "second": the experiments; differences are second minus first; "metrics": those to print;
          "titles": printed names of systems; "rates": noise kind -> the noises that are its rates, with the rates
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nmer import command
from nmer.digests import check_digests
from nmer.files import write_text
from nmer.metrics import SHOWN
from nmer.results.experiments import arrange, compare_experiments, recorded_rates
from nmer.results.labels import use_labels
from nmer.results.printed import write_printed


@dataclass(frozen=True)
class Settings:
    """See the docstring of this file."""

    first: str
    second: str
    metrics: tuple[str, ...] = SHOWN
    titles: dict[str, str] = field(default_factory=dict)
    rates: dict[str, dict[str, float]] = field(default_factory=dict)


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument(
        "--scores", nargs=2, type=Path, required=True, metavar="FILE", help="collected scores of both, CSV"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results")
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()

    check_digests(*arguments.scores)
    settings = command.fill(Settings, arguments.settings, "--settings")
    use_labels(settings.titles, settings.rates, recorded_rates(arguments.results, settings.first))
    table, only = compare_experiments(arguments.results, settings.first, settings.second, arguments.scores)
    printed = arrange(table, only, settings.metrics)
    write_text(f"{arguments.output_stem}.csv", table.to_csv(index=False))
    write_printed(arguments.output_stem, printed, (".md", ".html"))


if __name__ == "__main__":
    command.run(main)
