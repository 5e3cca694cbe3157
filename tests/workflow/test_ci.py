"""Continuous integration fails if any part fails or is not run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = [
    "",
    "test-demo",
    "check",
    "docs",
    "test",
    "test-ci",
    "test-kill",
    "test-tools",
    "test-extract",
    "test-slurm",
    "test-kubernetes",
]


@pytest.fixture
def ci(tmp_path):
    """A function that runs `.ci/run` with commands that only record their calls; returns the process and the calls."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / ".ci")
    commands = tmp_path / "commands"
    commands.mkdir()

    def run(seconds: int = 0, failing: str = "nothing", namespaces: bool = True):
        calls = tmp_path / "calls"
        calls.write_text("")
        programs = {
            "make": f'echo "$1" >> {calls}\n[ "$1" != {failing} ]\n',
            "unshare": "true\n" if namespaces else "false\n",
        }
        for name, text in programs.items():
            (commands / name).write_text(f"#!/usr/bin/env bash\n{text}")
            (commands / name).chmod(0o755)
        environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}", "SECONDS": str(seconds)}
        finished = subprocess.run(
            [tmp_path / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False
        )
        return finished, calls.read_text().splitlines()

    return run


def test_ci_passes_after_every_part_is_run(ci):
    finished, calls = ci()
    assert (finished.returncode, calls) == (0, PARTS)


def test_a_failing_part_fails_ci(ci):
    finished, calls = ci(failing="test-kill")
    assert finished.returncode != 0
    assert calls[-1] == "test-kill"


def test_parts_start_within_4200_seconds_and_later_ones_fail_ci(ci):
    assert ci(seconds=4100)[0].returncode == 0
    finished, calls = ci(seconds=4300)
    assert finished.returncode == 1
    assert calls == PARTS[:5]
    assert finished.stderr.count("Not run: make test-") == 6


def test_a_machine_that_cannot_run_a_part_fails_ci(ci):
    finished, calls = ci(namespaces=False)
    assert finished.returncode == 1
    assert calls == [part for part in PARTS if part != "test-slurm"]
    assert "Not run: make test-slurm: this machine allows no namespaces." in finished.stderr


def test_every_part_is_a_target_of_the_makefile():
    makefile = (REPOSITORY / "Makefile").read_text()
    assert all(re.search(rf"^{part}[ :]", makefile, re.MULTILINE) for part in PARTS if part)
