"""A copy of the repository that runs on the private cluster, and observation of its jobs."""

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
SECONDS_TO_RUN = 1500  # ten times the time on an idle machine; Snakemake would wait forever for a job that Slurm lost
RULES_ON_A_GPU = ("rule_pretrain", "rule_train", "rule_evaluate")


@dataclass(frozen=True)
class Step:
    """A running training or evaluation: its process and its place in Slurm."""

    process: int
    arguments: tuple[str, ...]
    job: str
    node: str
    devices: str | None


@dataclass(frozen=True)
class Job:
    """A job in the records of Slurm; `name` is the rule with its wildcards."""

    number: int
    name: str
    state: str
    memory: str
    minutes: str
    processors: int
    gpus: str


class SlurmWorkflow(Workflow):
    """A copy of the repository whose Snakemake submits jobs to the cluster of the tests."""

    def submit(self, *arguments: str, profile: str = "workflow/profiles/slurm") -> subprocess.CompletedProcess:
        """Run the experiment of the tests with a built-in profile that polls Slurm more often."""
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


# Without an accounting database only squeue knows the jobs; jobs start immediately.
SLURM = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1")


def slurm(*command: str) -> list[str]:
    """Return the output lines of a command of Slurm."""
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines()


def jobs(*arguments: str) -> list[Job]:
    """Return all jobs since the start of the cluster, oldest first, or those selected by arguments."""
    columns = ("JobID", "Comment", "State", "MinMemory", "TimeLimit", "NumCPUs", "tres-per-job", "tres-per-node")
    form = ",".join(f"{column}:|" for column in columns)
    found = []
    for line in slurm("squeue", "--noheader", "--states=all", "--sort=i", *arguments, "--Format", form):
        number, name, state, memory, minutes, processors, *gpus = line.rstrip("|").split("|")
        gpus = next((requested for requested in gpus if requested != "N/A"), "N/A")
        found.append(Job(int(number), name, state, memory, minutes, int(processors), gpus))
    return found


def steps() -> list[Step]:
    """Return the trainings and evaluations that are running in the cluster."""
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
    """Record, during the block, the running steps at each moment and the jobs that wait for a GPU."""
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
