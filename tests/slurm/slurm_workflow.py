"""A copy of the repository that is run on the private cluster, and what is seen of its jobs meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workflow_copy import Workflow

HERE = Path(__file__).resolve().parent
EXPERIMENT = ("--configfile", "tests/slurm/experiment.yaml")
STEPS_ON_A_GPU = ("/scripts/train.py", "/scripts/evaluate.py")
SECONDS_TO_RUN = 1500  # ten times what an idle machine takes; a job that Slurm has lost would be waited for without end
RULES_ON_A_GPU = ("rule_pretrain", "rule_train", "rule_evaluate")


@dataclass(frozen=True)
class Step:
    """A training or evaluation that runs now: its process, and where Slurm has put it."""

    process: int
    arguments: tuple[str, ...]
    job: str
    node: str
    devices: str | None


@dataclass(frozen=True)
class Job:
    """A job as Slurm remembers it; `name` is the rule with its wildcards."""

    number: int
    name: str
    state: str
    memory: str
    minutes: str
    processors: int
    gpus: str


class SlurmWorkflow(Workflow):
    """A copy of the repository whose Snakemake submits its jobs to the cluster that the tests run in."""

    def submit(self, *arguments: str, profile: str = "workflow/profiles/slurm") -> subprocess.CompletedProcess:
        """Run the experiment of the tests with a profile, as shipped but for how often Slurm is asked."""
        command = [sys.executable, HERE / "impatient_snakemake.py", "--profile", profile, *EXPERIMENT, *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            text=True,
            capture_output=True,
            timeout=SECONDS_TO_RUN,
            check=False,
        )


# Without an accounting database only squeue knows the jobs, and the cluster's jobs start at once.
SLURM = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1")


def slurm(*command: str) -> list[str]:
    """The lines that one of Slurm's commands answers."""
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()


def jobs(*arguments: str) -> list[Job]:
    """Every job since the cluster came up, oldest first, unless the arguments choose."""
    columns = ("JobID", "Comment", "State", "MinMemory", "TimeLimit", "NumCPUs", "tres-per-job", "tres-per-node")
    form = ",".join(f"{column}:|" for column in columns)
    found = []
    for line in slurm("squeue", "--noheader", "--states=all", "--sort=i", *arguments, "--Format", form):
        number, name, state, memory, minutes, processors, *gpus = line.rstrip("|").split("|")
        gpus = next((asked for asked in gpus if asked != "N/A"), "N/A")
        found.append(Job(int(number), name, state, memory, minutes, int(processors), gpus))
    return found


def steps() -> list[Step]:
    """The trainings and evaluations that run now, anywhere in the cluster."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_text().rstrip("\0").split("\0")
            variables = dict(line.partition("=")[::2] for line in (folder / "environ").read_text().split("\0"))
        except OSError:
            continue  # it has ended
        if len(arguments) > 1 and arguments[1].endswith(STEPS_ON_A_GPU) and "SLURM_JOB_ID" in variables:
            place = variables["SLURM_JOB_ID"], variables["SLURMD_NODENAME"], variables.get("CUDA_VISIBLE_DEVICES")
            found.append(Step(int(folder.name), tuple(arguments), *place))
    return found


@contextmanager
def watched(seconds: float = 0.25) -> Iterator[tuple[list[list[Step]], set[str]]]:
    """Collect, while the block runs, the steps seen at each moment, and the jobs that waited for a GPU meanwhile."""
    moments: list[list[Step]] = []
    waited: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(seconds):
            moments.append(steps())
            waiting = slurm("squeue", "--noheader", "--states=PENDING", "--format=%k")
            waited.update(name for name in waiting if name.startswith(RULES_ON_A_GPU) and len(moments[-1]) > 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield moments, waited
    finally:
        ended.set()
        watcher.join()
