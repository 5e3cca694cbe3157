"""Render the report of an unfinished experiment from the results so far; the page lists what is missing.

Writes only to results/{experiment}/partial/ and can be called while Snakemake runs. The steps of the workflow make its
tables and figures from the scores that exist; before the first scores, it shows the training curves. --config and
--configfile select the experiment as in Snakemake. Call it in the folder that contains results/.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from nmer import command, planned_code
from nmer.errors import DataError
from nmer.files import write_text
from nmer.plan.loading import add_config_arguments, plan_of
from nmer.plan.partial import claims_arguments, comparison_steps, copy_histories, figure_step, table_steps
from nmer.plan.paths import RESULTS
from nmer.plan.plan import Plan
from nmer.plan.status import what_is_missing
from nmer.results.chance import COLUMNS as TRAINING_COLUMNS
from nmer.results.experiments import why_not_comparable
from nmer.results.scores import COLUMNS as SCORE_COLUMNS

STEPS = Path(__file__).resolve().parent


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
    """Make the page with its tables and figures; return its path. Raises DataError before the first finished epoch."""
    folder = plan.folder / "partial"
    scores = [path for path in plan.shown_scores() if path.exists()]
    shutil.rmtree(folder / "runs", ignore_errors=True)
    trained = copy_histories(plan, folder) + [path for path in plan.all_histories() if path.exists()]
    if not scores and not trained:
        raise DataError(f"{plan.folder}: no training has finished an epoch yet. Try again when one has.")
    reports = [path for name in plan.datasets if (path := plan.features(name).with_suffix(".json")).exists()]
    calibration = [path for name in plan.datasets if (path := RESULTS / "calibration" / f"{name}.csv").exists()]
    collected, verdicts = folder / "scores.csv", folder / "statistics" / plan.chance().name
    if scores:
        for script, output in (("collect_scores.py", collected), ("find_chance.py", verdicts)):
            step(script, "--scores", *filter(Path.exists, plan.scores()), "--output", output)
    else:
        write_text(collected, ",".join(SCORE_COLUMNS) + "\n")
        write_text(verdicts, ",".join(TRAINING_COLUMNS) + "\n")
    results = results_of(plan, folder, scores, reports, missing["stages"]) if scores else []
    drawn = figures(plan, folder)
    if scores:
        results += ["--claims", folder / "tables" / "claims"]
        step("audit_claims.py", *claims_arguments(plan, folder, drawn), "--output-stem", results[-1])
    step(
        "render_report.py",
        *("--settings", plan.report_settings(), "--scores", collected, "--chance", verdicts),
        *("--reports", *reports, "--calibration", *calibration, *results),
        *("--figures", *drawn, "--missing", json.dumps(missing)),
        *("--output", folder / "report.html"),
    )
    return folder / "report.html"


def results_of(plan: Plan, folder: Path, scores: list[Path], reports: list[Path], missing: list[str]) -> list[object]:
    """Make tables and comparisons from the scores that exist; return the matching arguments of render_report.py.

    Adds a sentence to ``missing`` for each experiment that cannot be compared yet.
    """
    tables = table_steps(plan, folder, reports)
    for stem, (script, *arguments) in tables.items():
        step(str(script), *arguments, "--output-stem", stem)
    comparisons = folder / "statistics" / "comparisons.csv"
    stores = [plan.features(name) for name in plan.datasets if plan.features(name).exists()]
    read = ("--scores", *scores, "--features", *stores)
    step("compare_systems.py", "--settings", plan.scored_settings(), *read, "--output", comparisons.parent)
    compared = []
    for other, (stem, both, (script, *arguments)) in comparison_steps(plan, folder).items():
        if reason := why_not_comparable(*both):
            missing.append(f"comparison with {other}: {reason}")
        else:
            step(str(script), *arguments, "--output-stem", stem)
            compared.append(stem)
    return ["--tables", *tables, "--comparisons", comparisons, "--compared", *compared]


def figures(plan: Plan, folder: Path) -> list[Path]:
    """Draw every figure that has data; return their paths without suffix."""
    drawn = []
    for name in plan.drawings:
        if drawing := figure_step(plan, name, folder):
            arguments, code = drawing
            drawn.append(folder / "figures" / name)
            step("draw_figure.py", *arguments, "--output-stem", drawn[-1], code=code)
    return drawn


def step(script: str, *arguments: object, code: str = "") -> None:
    """Run a step as a rule would. If it fails, it has printed its error, and this program exits with its status.

    code: the fingerprint of its code and plug-ins, by default that of a step without plug-ins.
    """
    planned = (planned_code.OPTION, code or planned_code.hand_over(script))
    finished = subprocess.run([sys.executable, STEPS / script, *planned, *map(str, arguments)], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


if __name__ == "__main__":
    command.run(main)
