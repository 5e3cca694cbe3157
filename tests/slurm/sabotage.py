"""Failures of a training job in the middle of its work."""

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
    """Take the node of a job down, as in a power failure."""
    slurm("scontrol", "update", f"nodename={step.node}", "state=down", "reason=test")


def cancel_job(step: Step) -> None:
    """Cancel a job, as its user or an administrator can."""
    slurm("scancel", step.job)


def kill_process(step: Step) -> None:
    """Kill the training process, as the kernel does when memory runs out."""
    os.kill(step.process, signal.SIGKILL)


def once_half_trained(training: str, action: Callable[[Step], None]) -> None:
    """Act on a training when one of its repeats is saved and another one runs.

    The current folder must be that of the workflow, because paths of steps are relative to it.
    """
    threading.Thread(target=wait_and_act, args=(training, action), daemon=True).start()


def wait_and_act(training: str, action: Callable[[Step], None]) -> None:
    """Pause the first process of a training in the middle, then act."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        for step in steps():
            if f"runs/tiny_iemocap/{training}" in " ".join(step.arguments) and (progress(step) / "repeat1.pt").exists():
                os.kill(step.process, signal.SIGSTOP)  # it must not finish before the failure
                action(step)
                return
        time.sleep(0.02)


def progress(step: Step) -> Path:
    """Return the folder of a training's checkpoints."""
    pairs = zip(step.arguments[2:], step.arguments[3:], strict=False)
    options = {name: value for name, value in pairs if not value.startswith("--")}  # flags have no value
    paths = {name: Path(options[f"--{name}"]) if f"--{name}" in options else None for name in ("features", "teacher")}
    noisy = [Path(options["--noisy"])] if "--noisy" in options else []
    key = train.checkpoint_key(Namespace(settings=options["--settings"], code=options["--code"], noisy=noisy, **paths))
    return Path(options["--checkpoints"]) / key
