"""Kill a running workflow as a crash would, and inspect what is left."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from workflow_copy import Workflow

VICTIMS = ("step", "snakemake", "both")
TIMED = {"logs", "benchmarks", "report.html", ".report.html.made.json"}
"""Results that record how long jobs took."""


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield the PID, parent PID and command line of every process that is not a zombie."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended in the meantime
        if state != "Z":
            yield int(folder.name), int(parent), command


def is_step(command: str) -> bool:
    """Whether a command line runs a step script."""
    return re.match(r"python \S+/scripts/\w+\.py ", command) is not None


def steps_of(snakemake: int) -> list[int]:
    """Return the PIDs of the step scripts that a Snakemake process is running."""
    known = {number: (parent, command) for number, parent, command in processes()}

    def descends(number: int) -> bool:
        while number in known and number != snakemake:
            number = known[number][0]
        return number == snakemake

    return [n for n, (_, command) in known.items() if is_step(command) and descends(n)]


def orphans(workflow: Workflow) -> list[int]:
    """Return the PIDs of the step scripts that run in the folder of a workflow."""
    found = []
    for number, _parent, command in processes():
        if is_step(command):
            try:
                inside = Path(f"/proc/{number}/cwd").resolve() == workflow.folder.resolve()
            except OSError:
                continue
            found += [number] if inside else []
    return found


def run_and_kill(workflow: Workflow, victim: str, chance: random.Random) -> bool:
    """Run the workflow and kill the victim at a random time after the first step starts. Returns whether it did."""
    process, delay = workflow.start(), chance.uniform(0, 4)
    began = None
    while process.poll() is None:
        running = steps_of(process.pid)
        began = began or (time.monotonic() if running else None)
        if began and running and time.monotonic() - began >= delay:
            if victim == "step":
                _kill(chance.choice(running))
            elif victim == "snakemake":
                _kill(process.pid)
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=300)
            return True
        time.sleep(0.05)
    assert process.returncode == 0, (workflow.folder / "output").read_text()
    return False


def _kill(number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


def survive(workflow: Workflow, reference: Workflow, kills: int, seed: int) -> dict[str, int]:
    """Kill and resume a workflow repeatedly, and compare each finished run with an undisturbed one.

    After a finished run the next one starts without results. Returns the number of kills per victim.
    """
    chance, killed = random.Random(seed), dict.fromkeys(VICTIMS, 0)
    while sum(killed.values()) < kills:
        victim = VICTIMS[sum(killed.values()) % len(VICTIMS)]
        if run_and_kill(workflow, victim, chance):
            killed[victim] += 1
            if victim != "step":  # the only manual step
                unlocked = workflow.snakemake("--unlock")
                assert unlocked.returncode == 0, unlocked.stdout + unlocked.stderr
        else:
            assert_same(workflow, reference)
            shutil.rmtree(workflow.folder / "results")
    finished = workflow.snakemake()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_same(workflow, reference)
    return killed


def assert_same(workflow: Workflow, reference: Workflow) -> None:
    """Assert that both have the same result files with the same bytes, and that no step is still running."""
    found, expected = contents(workflow), contents(reference)
    different = sorted(path for path in found | expected if found.get(path, path) != expected.get(path, path))
    assert not different, different
    assert orphans(workflow) == []


def contents(workflow: Workflow) -> dict[str, bytes | None]:
    """Return the bytes of every file under results, or None for files that record how long jobs took.

    Records of checked files are left out: they depend on the file system.
    """
    results = workflow.folder / "results"
    return {
        str(path.relative_to(results)): None if TIMED & set(path.relative_to(results).parts) else path.read_bytes()
        for path in results.rglob("*")
        if path.is_file() and path.suffix != ".checked"
    }
