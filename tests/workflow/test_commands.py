"""Every snakemake command of the README and the pages can be planned as written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from shipped import write_empty_corpora
from test_documentation import EXTENDING, PAGES, commands_of
from workflow_copy import Workflow

STAND_INS = {"/path/to/nmer/": "", "/my/corpora": "corpora", "../shared/data": "corpora"}
"""Corpus folders that the pages name, and the folder that the tests create instead."""

ELSEWHERE = ("fetch_", "own_corpus/", "--profile", "--unlock", "--report")
"""Words of commands that other tests run: they need an address, a prepared corpus, a scheduler, a lock or results."""


def snakemake_commands() -> list[str]:
    """Return every distinct command with its arguments, except those of ``ELSEWHERE`` and of extending.md.

    Commands of extending.md name files that only the tests of that page write.
    """
    commands = {shlex.join(c) for path in PAGES if path != EXTENDING for c in commands_of("snakemake", path) if c[1:]}
    return sorted(command for command in commands if not any(word in command for word in ELSEWHERE))


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Workflow:
    """A copy of the repository with corpora and the configuration files that the pages write."""
    copy = Workflow(tmp_path_factory.mktemp("commands") / "nmer")
    write_empty_corpora(copy.folder / "corpora")
    for path in PAGES:
        named = re.findall(r"`(\w+\.yaml)`:\n\n```yaml\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
        for name, block in named if path != EXTENDING else ():
            if name != "config.yaml":  # pages show parts of it
                (copy.folder / name).write_text(block)
    return copy


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("command", snakemake_commands(), ids=str)
def test_a_snakemake_command_is_planned_as_written(workflow, command):
    if "demo_media" in command:
        pytest.importorskip("av", reason="needs the packages of extraction")
    for named, created in STAND_INS.items():
        command = command.replace(named, created)
    # Some pages leave out options that the Makefile adds, or already make a dry run.
    words = [*shlex.split(command)[1:], "--dry-run", "--quiet", "all"]
    program = Path(sys.executable).with_name("snakemake")
    finished = subprocess.run([program, *words], cwd=workflow.folder, text=True, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
