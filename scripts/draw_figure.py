"""Draw one figure, shipped in ``nmer/results/figures/`` or user-defined, from the sources that it declares.

Writes .png, .pdf, the data as .csv, and a .json for the report: title, caption, alternative text and the values of
curves.

Settings: {"figure": "conditions", "file": "mine.py", "options": {}, "dataset": "mosi",
           "about": {"paper_name": null, "synthetic": false}}
          file: of a user-defined figure. dataset, about: of a figure that is drawn per dataset.
          A figure that reads them also has "settings" (see make_table.py --help) and "schedule" (of the noise).
          titles: printed names that the configuration gives to systems. rates: noise kind -> the noises that are its
          rates, with the rates
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nmer import command
from nmer.digests import check_digests
from nmer.errors import ConfigError
from nmer.figures import FILES, Drawn, figures, per_dataset, sources
from nmer.files import write_json
from nmer.noise.schedule import Schedule
from nmer.plugins import Declaration
from nmer.report_settings import DatasetSettings, ReportSettings
from nmer.results.labels import system_label, use_labels
from nmer.results.style import read_curves, save_figure
from nmer.results.wording import short_title


def main() -> None:
    """Load the plug-in, call it with its sources, save the figure."""
    parser = command.parser(__doc__)
    parser.add_argument("--settings", type=command.settings, required=True, help="JSON, see above")
    parser.add_argument(
        "--source",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "FILE"),
        help="a source and its files; may be repeated",
    )
    parser.add_argument("--output-stem", required=True, help="outputs, without suffix")
    arguments = parser.parse_args()
    settings = arguments.settings
    files_of = {name: [Path(file) for file in files] for name, *files in arguments.source}
    name, file = settings["figure"], settings.get("file")
    declaration, draw = figures.declaration(name, file), figures.load(name, file)
    use_labels(settings.get("titles", {}), settings.get("rates", {}))
    check_digests(*(path for paths in files_of.values() for path in paths))
    drawn = draw(**_handed(declaration, settings, files_of), **settings.get("options", {}))
    if not isinstance(drawn, Drawn):
        raise ConfigError(f"{declaration.file}: figure '{name}' must return Drawn(data, figure).")
    title = (
        short_title(settings["dataset"], DatasetSettings(**settings.get("about", {})))
        if per_dataset(declaration)
        else ""
    )
    if drawn.note:
        print(f"note: {arguments.output_stem}: {drawn.note}", file=sys.stderr)
    save_figure(drawn.figure, drawn.data, arguments.output_stem)
    write_json(f"{arguments.output_stem}.json", _texts(declaration, drawn, title) | _display_data(drawn))


def _handed(declaration: Declaration, settings: dict[str, Any], files: dict[str, list[Path]]) -> dict[str, Any]:
    """Return the arguments of the figure's function by name."""
    handed: dict[str, Any] = {"dataset": settings["dataset"]} if per_dataset(declaration) else {}
    for source in sources(declaration):
        if source == "settings":
            handed[source] = ReportSettings.from_mapping(settings["settings"])
        elif source == "schedule":
            handed[source] = command.fill(Schedule, settings.get("schedule", {}), "--settings")
        elif source not in files:
            raise ConfigError(f"--source: '{declaration.name}' reads '{source}'. Pass --source {source} FILE.")
        else:
            handed[source] = files[source][0] if source in FILES else files[source]
    return handed


def _texts(declaration: Declaration, drawn: Drawn, dataset: str) -> dict[str, str]:
    """Return the title, caption and alternative text. dataset: printed name of the figure's dataset, if it has one."""
    about = declaration.attributes
    title = about.get("title", declaration.name)
    alternative = about.get("alternative") or f"Figure {title}; its data are in the CSV file."
    systems = dict.fromkeys(drawn.data["system"]) if "system" in drawn.data else {}
    named_systems = f"Systems: {', '.join(map(system_label, systems))}." if systems else ""
    return {
        "title": f"{title}, {dataset}" if dataset else title,
        "caption": " ".join(filter(None, (about.get("caption", ""), drawn.note))),
        "alternative": " ".join(filter(None, (alternative, drawn.spoken or named_systems))),
    }


def _display_data(drawn: Drawn) -> dict[str, Any]:
    """Return the values of curves, and whether the figure is only a sentence without axes."""
    return {"curves": read_curves(drawn.figure), "empty": not drawn.figure.axes}


if __name__ == "__main__":
    command.run(main)
