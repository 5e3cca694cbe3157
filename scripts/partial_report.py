"""Render the report of an unfinished experiment from what has finished so far; the page says what is missing.

Writes to results/{experiment}/partial/ and nowhere else, and can be called while Snakemake runs: the tables and figures
there are made anew by the same steps, from the scores that exist. --config and --configfile name the experiment as
they do for Snakemake. Call it from the folder of the Snakefile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from nmer import command
from nmer.errors import DataError
from nmer.experiment.command_line import add_config_arguments, plan_of
from nmer.experiment.plan import RESULTS, Plan
from nmer.experiment.status import what_is_missing

STEPS = Path(__file__).resolve().parent
SIZES, CURVES = "table1", "robustness"


def main() -> None:
    parser = command.parser(__doc__)
    add_config_arguments(parser)
    plan = plan_of(parser.parse_args())
    missing = what_is_missing(plan)
    if not missing["stages"]:
        print(f"Nothing is missing: {plan.folder / 'report.html'}")
        return
    print(render(plan, missing))


def render(plan: Plan, missing: dict) -> Path:
    """Make the page and what it shows; returns where it stands. Raises DataError if no evaluation has finished."""
    folder = plan.folder / "partial"
    scores = [path for path in plan.scores() if path.exists()]
    if not scores:
        raise DataError(f"{plan.folder / 'scores'}: no evaluation has finished yet. Try again when one has.")
    collected = folder / "scores.csv"
    step("collect_scores.py", "--scores", *scores, "--output", collected)
    reports = [path for name in plan.datasets if (path := plan.features(name).with_suffix(".json")).exists()]
    given = ["--scores", collected]
    tables = [folder / "tables" / stem.name for stem in plan.table_stems()]
    for number, stem in zip(plan.tables, tables, strict=True):
        source = ["--reports", *reports] if stem.name == SIZES else given
        settings = sizes_settings(plan, reports) if stem.name == SIZES else plan.tables_settings(number)
        step("make_table.py", "--table", number, "--settings", settings, *source, "--output-stem", stem)
    calibration = [path for name in plan.datasets if (path := RESULTS / "calibration" / f"{name}.csv").exists()]
    settings = ("--settings", plan.report_settings())
    step(
        "render_report.py",
        *(*settings, *given, "--reports", *reports, "--calibration", *calibration, "--tables", *tables),
        *("--figures", *figures(plan, folder / "figures", given), "--missing", json.dumps(missing)),
        *("--output", folder / "report.html"),
    )
    return folder / "report.html"


def figures(plan: Plan, folder: Path, given: list) -> list[Path]:
    """Draw every figure of which something is there; returns their stems."""
    drawn = []
    for stem in (folder / stem.name for stem in plan.figure_stems()):
        kind, _, dataset = stem.name.partition("_")
        calibration = RESULTS / "calibration" / f"{dataset}.csv"
        panels = [panel for panel in plan.panels(dataset) if Path(f"{panel}_distances.csv").exists()] if dataset else []
        if kind == CURVES:
            step("draw_robustness.py", "--settings", plan.tables_settings(), *given, "--output-stem", stem)
        elif kind == "calibration" and calibration.exists():
            schedule = ("--schedule", plan.schedule_settings())
            step("draw_calibration.py", *schedule, "--calibration", calibration, "--output-stem", stem)
        elif kind == "figure3" and panels:
            points, distances = ([f"{panel}_{part}.csv" for panel in panels] for part in ("points", "distances"))
            step("draw_figure3.py", "--points", *points, "--distances", *distances, "--output-stem", stem)
        else:
            continue
        drawn.append(stem)
    return drawn


def sizes_settings(plan: Plan, reports: list[Path]) -> str:
    """Settings of Table 1 for the datasets that have been read."""
    settings, read = json.loads(plan.tables_settings(1)), {path.stem for path in reports}
    settings["datasets"] = {name: about for name, about in settings["datasets"].items() if name in read}
    return json.dumps(settings)


def step(script: str, *arguments: object) -> None:
    """Run a step as a rule would. A step says itself what is wrong; then this program ends too."""
    finished = subprocess.run([sys.executable, STEPS / script, *map(str, arguments)], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


if __name__ == "__main__":
    command.run(main)
