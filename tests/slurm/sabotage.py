"""What can happen to a job that trains, at a moment when it has something to lose."""

from __future__ import annotations

import os
import signal
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import train
from slurm_workflow import Step, slurm, steps


def lose_node(step: Step) -> None:
    """Take the node of a job down, as if it had lost its power."""
    slurm("scontrol", "update", f"nodename={step.node}", "state=down", "reason=test")


def cancel_job(step: Step) -> None:
    """Cancel a job, as its user or an administrator can."""
    slurm("scancel", step.job)


def kill_process(step: Step) -> None:
    """Kill the training itself, as the kernel does when memory is short."""
    os.kill(step.process, signal.SIGKILL)


def once_half_trained(training: str, action: Callable[[Step], None]) -> None:
    """Let something happen to a training once one of its repeats is saved and another one runs.

    The current folder is that of the workflow, to which the steps' paths are relative.
    """
    threading.Thread(target=wait_and_act, args=(training, action), daemon=True).start()


def wait_and_act(training: str, action: Callable[[Step], None]) -> None:
    """Stop the first process of a training in the middle, then act."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        for step in steps():
            if f"runs/tiny_iemocap/{training}" in " ".join(step.arguments) and (progress(step) / "repeat1.pt").exists():
                os.kill(step.process, signal.SIGSTOP)  # it shall not end before it is lost
                action(step)
                return
        time.sleep(0.02)


def progress(step: Step) -> Path:
    """The folder of a training's checkpoints."""
    pairs = zip(step.arguments[2:], step.arguments[3:], strict=False)
    given = {name: value for name, value in pairs if not value.startswith("--")}  # what is left open has no value
    paths = {name: Path(given[f"--{name}"]) if f"--{name}" in given else None for name in ("features", "teacher")}
    noisy = [Path(given["--noisy"])] if "--noisy" in given else []
    key = train.checkpoint_key(Namespace(settings=given["--settings"], code=given["--code"], noisy=noisy, **paths))
    return Path(given["--checkpoints"]) / key
