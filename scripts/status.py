"""Show progress: jobs done in every stage, time spent, estimated time left, and how many cells are at chance.

Reads the plan and the files on disk, and can be called while Snakemake runs. --config and --configfile select the
experiment as in Snakemake. Call it in the folder that contains results/.
"""

from __future__ import annotations

from nmer import command
from nmer.plan.loading import add_config_arguments, plan_of
from nmer.plan.status import summary
from nmer.results.chance_texts import status_line


def main() -> None:
    parser = command.parser(__doc__, planned=False)
    add_config_arguments(parser)
    plan = plan_of(parser.parse_args())
    print(summary(plan))
    if line := status_line(plan.scores(), plan.chance(), plan.display_settings(table=4)):
        print(line)


if __name__ == "__main__":
    command.run(main)
