"""Give the results of an earlier version the names of today's regimes: `six` is now `incomplete`, `all` is `all_noisy`.

Renames folders, columns and records of one experiment, so that nothing is computed again because of the names; the
averaged row `avg6` becomes `average`. Weights, figures and pages stay as they are. Checkpoints of trainings that were
not finished are not renamed: these start from the beginning. Call it in the folder that holds results/, while nothing
runs. --config and --configfile name the experiment as they do for Snakemake.

Example:
  python scripts/rename_regimes.py --config experiment=paper
"""

from __future__ import annotations

from nmer import command
from nmer.errors import DataError
from nmer.plan.command_line import add_config_arguments, plan_of
from nmer.plan.paths import RESULTS
from nmer.plan.renaming import rename


def main() -> None:
    """Parse the arguments, rename, say what was done."""
    parser = command.parser(__doc__, planned=False)
    add_config_arguments(parser)
    parser.add_argument(
        "--accept-code",
        action="store_true",
        help="also keep results whose code has changed since: you vouch that it computed the same",
    )
    arguments = parser.parse_args()
    plan = plan_of(arguments)
    if not (RESULTS / plan.name).is_dir():
        raise DataError(f"{RESULTS / plan.name}: there are no results of experiment '{plan.name}' to rename.")
    print("\n".join(rename(plan, arguments.accept_code)))


if __name__ == "__main__":
    command.run(main)
