"""Say how far an experiment is: jobs done in every stage, time spent, and the time left as the benchmarks have it.

Reads the plan and the files on disk, and can be called while Snakemake runs. --config and --configfile name the
experiment as they do for Snakemake. Call it from the folder of the Snakefile.
"""

from __future__ import annotations

from nmer import command
from nmer.plan.command_line import add_config_arguments, plan_of
from nmer.plan.status import summary


def main() -> None:
    parser = command.parser(__doc__)
    add_config_arguments(parser)
    print(summary(plan_of(parser.parse_args())))


if __name__ == "__main__":
    command.run(main)
