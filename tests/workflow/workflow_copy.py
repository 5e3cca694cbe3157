"""A copy of the repository to run as a user would, and to list due jobs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LEFT_OUT = {".git", ".venv", ".venv-docs", "site", ".snakemake", "results", "data"}
CACHES = (".pyc", "fingerprints.json")
"""Ends of the names of compiled and analysed sources, which are found by time or content and need not be made again."""

OFFLINE = ("unshare", "--net")
"""Prefix of a command that runs without network access; needs permission."""

TINY_EXPERIMENT = re.search(
    r"^  tiny:\n(.*?)^    system_options:", (REPOSITORY / "config.yaml").read_text(), re.M | re.S
)[1]
"""The experiment ``tiny`` in config.yaml, but for its options of systems."""

REDUCED_EXPERIMENT = """\
    datasets: [tiny_mosei]
    systems: [men, nmer]
    noise: [gaussian]
    snr_db: [-10]
    repeats: 2
    folds: 1
    tables: [2]
    figures: [robustness]
    training:
      constant_epochs: 8
      decay_epochs: 2
      pretraining: { constant_epochs: 8, decay_epochs: 2 }
"""
"""Fewer jobs with longer trainings, for tests that run the workflow more than once."""


def may_go_offline() -> bool:
    """Whether this user may run a command without a network."""
    try:
        return subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class Workflow:
    """A copy of the repository, run as a user would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(REPOSITORY, folder, ignore=_left_out)

    @classmethod
    def at(cls, folder: Path) -> Workflow:
        """Return the copy that already exists in a folder."""
        workflow = cls.__new__(cls)
        workflow.folder = folder
        return workflow

    def copied(self, folder: Path) -> Workflow:
        """Return a copy of this one, including its results."""
        shutil.copytree(self.folder, folder)
        return self.at(folder)

    def snakemake(self, *arguments: str, prefix: tuple[str, ...] = (), **settings):
        """Run snakemake; returns the finished process with its output as text. prefix: a command to run it with.
        settings: see :meth:`command`."""
        return subprocess.run(
            [*prefix, *self.command(*arguments, **settings)],
            cwd=self.folder,
            env=self.environment(),
            text=True,
            capture_output=True,
            check=False,
        )

    def start(self, *arguments: str, **settings) -> subprocess.Popen:
        """Start snakemake in a separate process group; its output goes to the file ``output``."""
        with (self.folder / "output").open("w") as output:
            return subprocess.Popen(
                self.command(*arguments, **settings),
                cwd=self.folder,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @staticmethod
    def command(
        *arguments: str, cores: int = 2, gpus: int = 0, experiment: str = "tiny", **config: str
    ) -> list[str | Path]:
        """Return the command line that calls snakemake."""
        overrides = [f"{key}={value}" for key, value in {"experiment": experiment, **config}.items()]
        # Not on PATH and not activated: steps must find the interpreter by themselves.
        program = Path(sys.executable).with_name("snakemake")
        return [program, *arguments, "--cores", str(cores), "--resources", f"gpu={gpus}", "--config", *overrides]

    @staticmethod
    def environment() -> dict[str, str]:
        """Return the environment in which snakemake is called."""
        return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def reduce(self, old: str, new: str) -> None:
        """Replace a part of the configuration permanently."""
        path = self.folder / "config.yaml"
        assert old in path.read_text(), f"{old!r} is not in config.yaml"
        path.write_text(path.read_text().replace(old, new))

    def due(self, **config: str) -> dict[str, set[tuple[str, ...]]]:
        """Return the jobs of a dry run: per rule, their wildcard values (without the target rule)."""
        finished = self.snakemake("--dry-run", **config)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        jobs: dict[str, set[tuple[str, ...]]] = {}
        for block in re.split(r"\n(?=(?:local)?rule )", finished.stdout + finished.stderr)[1:]:
            rule = re.match(r"(?:local)?rule (\w+):", block).group(1)
            wildcards = re.search(r"^ +wildcards: (.*)$", block, re.MULTILINE)
            pairs = wildcards.group(1).split(", ") if wildcards else []
            values = tuple(pair.split("=", 1)[1] for pair in pairs if not pair.startswith("experiment="))
            jobs.setdefault(rule, set()).add(values)
        jobs.pop("all", None)
        return jobs

    @contextmanager
    def edited(self, name: str, old: str, new: str) -> Iterator[None]:
        """Replace ``old`` by ``new`` in a file for the duration of the block."""
        path = self.folder / name
        content, times = path.read_text(), path.stat()
        assert old in content, f"{old!r} is not in {name}"
        path.write_text(content.replace(old, new))
        try:
            yield
        finally:
            path.write_text(content)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Return the names in a folder of the repository that a copy leaves out."""
    if Path(folder) == REPOSITORY:
        return LEFT_OUT
    if Path(folder).name == "__pycache__":  # leave out files that are being written
        return {name for name in names if not name.endswith(CACHES)}
    return set() if Path(folder).is_relative_to(REPOSITORY / "scripts") else {"__pycache__"}


def reduced(folder: Path) -> Workflow:
    """Return a copy whose experiment `tiny` has few jobs."""
    workflow = Workflow(folder / "nmer")
    workflow.reduce(TINY_EXPERIMENT, REDUCED_EXPERIMENT)
    return workflow
