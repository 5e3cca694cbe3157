"""Render the report of an unfinished experiment from what has finished so far; the page says what is missing.

Writes to results/{experiment}/partial/ and nowhere else, and can be called while Snakemake runs: the tables and figures
there are made anew by the same steps, from the scores that exist. --config and --configfile name the experiment as
they do for Snakemake. Call it in the folder that holds results/.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from nmer import command, planned_code
from nmer.errors import DataError
from nmer.plan.command_line import add_config_arguments, plan_of
from nmer.plan.partial import figure_step
from nmer.plan.paths import RESULTS
from nmer.plan.plan import Plan
from nmer.plan.status import what_is_missing

STEPS = Path(__file__).resolve().parent
SIZES = "table1"


def main() -> None:
    parser = command.parser(__doc__, planned=False)
    add_config_arguments(parser)
    plan = plan_of(parser.parse_args())
    missing = what_is_missing(plan)
    if not missing["stages"]:
        print(f"Nothing is missing: {plan.folder / 'report.html'}")
        return
    print(render(plan, missing))


def render(plan: Plan, missing: dict[str, Any]) -> Path:
    """Make the page and what it shows; returns where it stands. Raises DataError if no evaluation has finished."""
    folder = plan.folder / "partial"
    scores = [path for path in plan.scores() if path.exists()]
    if not scores:
        raise DataError(f"{plan.folder / 'scores'}: no evaluation has finished yet. Try again when one has.")
    collected = folder / "scores.csv"
    step("collect_scores.py", "--scores", *scores, "--output", collected)
    reports = [path for name in plan.datasets if (path := plan.features(name).with_suffix(".json")).exists()]
    verdicts = folder / "statistics" / plan.chance().name
    step("find_chance.py", "--scores", *scores, "--output", verdicts)
    given = ["--scores", collected, "--chance", verdicts]
    tables = [folder / "tables" / stem.name for stem in plan.table_stems()]
    for number, stem in zip(plan.tables, tables, strict=True):
        source = ["--reports", *reports] if stem.name == SIZES else given
        settings = sizes_settings(plan, reports) if stem.name == SIZES else plan.tables_settings(number)
        step("make_table.py", "--table", number, "--settings", settings, *source, "--output-stem", stem)
    comparisons, claims = folder / "statistics" / "comparisons.csv", folder / "tables" / "claims"
    stores = [plan.features(name) for name in plan.datasets if plan.features(name).exists()]
    given_scores = ("--scores", *scores, "--features", *stores, "--output", comparisons.parent)
    step("compare_systems.py", "--settings", plan.scored_settings(), *given_scores)
    drawn = figures(plan, folder)
    step(
        "audit_claims.py",
        *("--settings", plan.scored_settings(4), "--contributions", comparisons.with_name("contributions.h5")),
        *("--chance", verdicts),
        *("--distances", *[stem.with_suffix(".csv") for stem in drawn if stem.name.startswith("figure3")]),
        *("--output-stem", claims),
    )
    calibration = [path for name in plan.datasets if (path := RESULTS / "calibration" / f"{name}.csv").exists()]
    step(
        "render_report.py",
        *("--settings", plan.report_settings()),
        *(*given, "--reports", *reports, "--calibration", *calibration, "--tables", *tables),
        *("--comparisons", comparisons, "--claims", claims),
        *("--figures", *drawn, "--missing", json.dumps(missing)),
        *("--output", folder / "report.html"),
    )
    return folder / "report.html"


def figures(plan: Plan, folder: Path) -> list[Path]:
    """Draw every figure of which something is there; returns their stems."""
    drawn = []
    for name in plan.drawings:
        if drawing := figure_step(plan, name, folder):
            arguments, code = drawing
            drawn.append(folder / "figures" / name)
            step("draw_figure.py", *arguments, "--output-stem", drawn[-1], code=code)
    return drawn


def sizes_settings(plan: Plan, reports: list[Path]) -> str:
    """Settings of Table 1 for the datasets that have been read."""
    shown, read = plan.shown(1), {path.stem for path in reports}
    return replace(shown, datasets={name: about for name, about in shown.datasets.items() if name in read}).to_json()


def step(script: str, *arguments: object, code: str = "") -> None:
    """Run a step as a rule would. A step says itself what is wrong; then this program ends too.

    code: the fingerprint of its code and plug-ins; default that of a step without plug-ins.
    """
    planned = (planned_code.OPTION, code or planned_code.hand_over(script))
    finished = subprocess.run([sys.executable, STEPS / script, *planned, *map(str, arguments)], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


if __name__ == "__main__":
    command.run(main)
