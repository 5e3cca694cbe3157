"""Snakemake that polls Slurm every second.

The plugin polls rarely, and more rarely while no job completes, which would be most of the time of a test.
"""

from __future__ import annotations

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

SECONDS = 1.0

interval = RemoteExecutor.next_seconds_between_status_checks
RemoteExecutor.next_seconds_between_status_checks = interval.setter(
    lambda executor, seconds: interval.fset(executor, min(seconds, SECONDS))
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
