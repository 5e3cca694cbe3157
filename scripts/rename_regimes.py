"""Rename the regimes in results of an earlier version: `six` becomes `incomplete`, `all` becomes `all_noisy`.

Renames folders, columns and records of one experiment, so that nothing is recomputed because of the names. The averaged
row `avg6` becomes `average`. Weights, figures and pages do not change. Checkpoints of unfinished trainings are not
renamed; these trainings restart. Call it in the folder that contains results/ while no job runs. --config and
--configfile select the experiment as in Snakemake.

Example:
  python scripts/rename_regimes.py --config experiment=paper
"""

from __future__ import annotations

from nmer import command
from nmer.errors import DataError
from nmer.plan.loading import add_config_arguments, plan_of
from nmer.plan.paths import RESULTS
from nmer.plan.renaming import rename


def main() -> None:
    """Parse the arguments, rename, print a summary."""
    parser = command.parser(__doc__, planned=False)
    add_config_arguments(parser)
    parser.add_argument(
        "--accept-code",
        action="store_true",
        help="also keep results whose code has changed since; use it only if the changes affect no value",
    )
    arguments = parser.parse_args()
    plan = plan_of(arguments)
    if not (RESULTS / plan.name).is_dir():
        raise DataError(f"{RESULTS / plan.name}: there are no results of experiment '{plan.name}' to rename.")
    print("\n".join(rename(plan, arguments.accept_code)))


if __name__ == "__main__":
    command.run(main)
