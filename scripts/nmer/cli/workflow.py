"""``nmer run``, ``status`` and ``report``: run the workflow, with results in the current folder."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from nmer import fingerprint
from nmer.errors import ConfigError

EXAMPLES = {
    "run": """Examples:
  nmer run                                     the embedded demo
  nmer run paper --data /my/corpora --cores 8
  nmer run demo -- --dry-run --quiet rules     arguments after -- go to Snakemake
  nmer run demo -- results/demo/scores.csv     makes only this file, with what it needs""",
    "status": """Example:
  nmer status paper --data /my/corpora""",
    "report": """Example:
  nmer report paper --data /my/corpora""",
}
SCRIPTS = {"status": "status.py", "report": "partial_report.py"}


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the arguments of one of the three sub-commands."""
    parser.add_argument("experiment", nargs="?", default="demo", help="name of an experiment (default demo)")
    parser.add_argument("--data", type=Path, help="folder of your corpora, as the key 'data' of the configuration")
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="further configuration")
    parser.add_argument(
        "--workflow",
        type=Path,
        help="folder of the Snakefile (default: this one, or the clone that the package was installed from)",
    )
    if name == "run":
        parser.add_argument("--cores", type=int, default=os.cpu_count(), help="CPU cores (default: all)")
        parser.add_argument("--gpus", type=int, help="GPUs to use (default: all that are found)")
        parser.add_argument("--profile", help="Snakemake profile, such as workflow/profiles/slurm")


def run(arguments: argparse.Namespace) -> None:
    """Call Snakemake or a step and exit with its status. Raises ConfigError if the workflow is not found."""
    from nmer.plan.loading import OWN_FILE, check_files

    if arguments.subcommand == "run" and (arguments.cores < 1 or (arguments.gpus or 0) < 0):
        raise ConfigError("--cores must be at least 1, --gpus at least 0.")
    folder = workflow_folder(arguments.workflow)
    check_files([*([OWN_FILE] if OWN_FILE.exists() else []), *arguments.configfile])
    if arguments.subcommand == "run" and find_spec("snakemake") is None:
        raise ConfigError(f"{sys.executable}: has no Snakemake. Install it: pip install '{folder}[workflow]'.")
    config = [f"experiment={arguments.experiment}"]
    if arguments.data is not None:
        config.append(f"data={arguments.data.resolve()}")
    options = ["--config", *config]
    if arguments.configfile:
        options += ["--configfile", *(str(file.resolve()) for file in arguments.configfile)]
    if arguments.subcommand == "run":
        gpus = count_gpus() if arguments.gpus is None else arguments.gpus
        start = ["-m", "snakemake", "--snakefile", str(folder / "Snakefile"), "--resources", f"gpu={gpus}"]
        start += ["--profile", arguments.profile] if arguments.profile else []
        # Last the cores, a single number: --config would take the files to make, which may follow, for its own.
        options = [*start, *options, "--cores", str(arguments.cores), *arguments.further]
    else:
        options = [str(folder / "scripts" / SCRIPTS[arguments.subcommand]), *options]
    finished = subprocess.run([sys.executable, *options], check=False)
    sys.exit(finished.returncode)


def workflow_folder(named: Path | None) -> Path:
    """Return the folder of the workflow: the named one, this one, or the clone that the package is installed from.

    Raises ConfigError if none of them contains the workflow."""
    clone = fingerprint.SCRIPTS.parent
    for folder in [named] if named else [Path.cwd(), clone]:
        if (folder / "Snakefile").is_file() and (folder / "scripts" / "nmer").is_dir():
            return folder.resolve()
    place = named or Path.cwd()
    raise ConfigError(
        f"{place}: has no Snakefile of NMER. Call this in a clone of the repository, or pass one: --workflow FOLDER."
    )


def count_gpus() -> int:
    """Return the number of GPUs that the driver lists; 0 without a driver."""
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return len(listed.splitlines())
