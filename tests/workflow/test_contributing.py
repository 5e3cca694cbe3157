"""What contributors rely on: hooks that equal `make check`, a complete `make help`, one version, the catalog's file."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from nmer import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def test_the_hooks_of_pre_commit_are_the_lines_of_make_check():
    (recipe,) = re.findall(r"^check:.*##.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    lines = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    entries = [shlex.split(hook["entry"]) for hook in local["hooks"]]
    # A shell is called for the path alone.
    called = [words[2].partition('$PATH" ')[2] if words[0] == "bash" else shlex.join(words) for words in entries]
    assert called == lines
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in local["hooks"])


def test_every_target_of_the_makefile_is_in_its_help():
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE))
    helped = re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == set(helped)


def test_the_version_is_said_once_and_cited():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    assert "MIT License" in (REPOSITORY / "LICENSE").read_text()


@pytest.mark.parametrize("word", ["snakemake", "workflow"])
def test_the_workflow_catalog_finds_what_it_looks_for(word):
    assert word in (REPOSITORY / "README.md").read_text().lower()
    assert (REPOSITORY / "Snakefile").is_file()
    assert list((REPOSITORY / "workflow" / "rules").glob("*.smk"))
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert {"mandatory-flags", "software-stack-deployment", "report"} == set(usage)
    assert usage["software-stack-deployment"]["conda"] is True
