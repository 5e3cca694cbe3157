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
UNLIKE = {"logs", "benchmarks", "report.html", ".report.html.made.json"}
"""Results whose content tells how long jobs took."""


def processes() -> Iterator[tuple[int, int, str]]:
    """Number, parent's number and command line of every process of this machine that is not a zombie."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if state != "Z":
            yield int(folder.name), int(parent), command


def is_step(command: str) -> bool:
    """Whether a command line is that of a step script."""
    return re.match(r"python \S+/scripts/\w+\.py ", command) is not None


def steps_of(snakemake: int) -> list[int]:
    """The step scripts that a Snakemake process runs at the moment."""
    known = {number: (parent, command) for number, parent, command in processes()}

    def descends(number: int) -> bool:
        while number in known and number != snakemake:
            number = known[number][0]
        return number == snakemake

    return [n for n, (_, command) in known.items() if is_step(command) and descends(n)]


def orphans(workflow: Workflow) -> list[int]:
    """Step scripts that run in the folder of a workflow."""
    found = []
    for number, _parent, command in processes():
        if is_step(command):
            try:
                here = Path(f"/proc/{number}/cwd").resolve() == workflow.folder.resolve()
            except OSError:
                continue
            found += [number] if here else []
    return found


def run_and_kill(workflow: Workflow, victim: str, chance: random.Random) -> bool:
    """Run the workflow and kill the victim at some moment after the first step began. Returns whether there was one."""
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
    """Kill a workflow again and again, resuming after each, anew whenever it is finished; compare with an undisturbed
    run whenever it is. Returns how often each sort of victim was killed."""
    chance, killed = random.Random(seed), dict.fromkeys(VICTIMS, 0)
    while sum(killed.values()) < kills:
        victim = VICTIMS[sum(killed.values()) % len(VICTIMS)]
        if run_and_kill(workflow, victim, chance):
            killed[victim] += 1
            if victim != "step":  # the one thing to be done by hand
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
    """Every file of the results is there, none is left over, and all hold the same bytes."""
    found, expected = contents(workflow), contents(reference)
    unlike = sorted(path for path in found | expected if found.get(path, path) != expected.get(path, path))
    assert not unlike, unlike
    assert orphans(workflow) == []


def contents(workflow: Workflow) -> dict[str, bytes | None]:
    """The bytes of every file under results, but only the name where it says how long jobs took, and nothing of what
    remembers how files lie on the disk."""
    results = workflow.folder / "results"
    return {
        str(path.relative_to(results)): None if UNLIKE & set(path.relative_to(results).parts) else path.read_bytes()
        for path in results.rglob("*")
        if path.is_file() and path.suffix != ".checked"
    }
