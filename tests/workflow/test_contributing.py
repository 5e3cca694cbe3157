"""Files for contributors: hooks, `make help`, version, changelog, catalogue."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from nmer import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text()
HOOKS = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())


def test_the_pre_commit_hooks_are_the_commands_of_make_check():
    (recipe,) = re.findall(r"^check:.*##.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    lines = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    (local,) = HOOKS["repos"]
    assert local["repo"] == "local"
    hooks = [hook for hook in local["hooks"] if "stages" not in hook]
    entries = [shlex.split(hook["entry"]) for hook in hooks]
    # Hooks that call a shell only set PATH.
    called = [words[2].partition('$PATH" ')[2] if words[0] == "bash" else shlex.join(words) for words in entries]
    assert called == lines
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)


def run_hook(message: str, folder: Path) -> subprocess.CompletedProcess:
    """Run the commit-msg hook on a message as Git does."""
    (folder / "message").write_text(message)
    (hook,) = (hook for hook in HOOKS["repos"][0]["hooks"] if hook.get("stages") == ["commit-msg"])
    return subprocess.run([REPOSITORY / hook["entry"], folder / "message"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "message",
    [
        "Add a system\n",
        "Focus the report on one metric\n\nA body may say more. It has its own lines.\n",
        "A" * 72,
        "\nPass seeds on\n# Changes to be committed:\n",
        "Merge branch 'a branch whose name is longer than any subject that this project would accept'\n",
        "Add a key\n# ------------------------ >8 ------------------------\ndiff --git a b\n",
    ],
)
def test_a_commit_message_in_good_form_is_accepted(message, tmp_path):
    finished = run_hook(message, tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("A" * 73, "73 characters"),
        ("Added a system\n", '"Added" is not'),
        ("Adds a system\n", '"Adds" is not'),
        ("Adding a system\n", '"Adding" is not'),
        ("add a system\n", "capital letter"),
        ("Add a system.\n", "full stop"),
        ("Add a system\nand a test\n", "blank"),
        ("# only comments\n", "empty"),
    ],
)
def test_a_commit_message_in_bad_form_is_refused_with_the_reason(message, fault, tmp_path):
    finished = run_hook(message, tmp_path)
    assert finished.returncode == 1
    assert fault in finished.stderr
    assert finished.stderr.startswith("error: commit message: ")


def test_every_target_of_the_makefile_is_in_its_help():
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE))
    helped = re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == set(helped)


def test_the_version_is_declared_once_and_cited():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    assert "MIT License" in (REPOSITORY / "LICENSE").read_text()


def test_the_changelog_dates_this_version_and_groups_its_entries():
    _head, unreleased, *versions = re.split(r"^## ", (REPOSITORY / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert unreleased.startswith("[Unreleased]\n")
    released = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["date-released"]
    assert versions[0].startswith(f"[{__version__}] - {released}\n")
    for version in (unreleased, *versions):
        entries = re.findall(r"^- (.{40})", version, re.MULTILINE)
        assert len(entries) == len(set(entries)), "an entry occurs twice"
        groups = re.findall(r"^### (.*)$", version, re.MULTILINE)
        assert groups == [group for group in ("Added", "Changed", "Removed", "Fixed") if group in groups]


@pytest.mark.parametrize("word", ["snakemake", "workflow"])
def test_the_workflow_catalog_finds_the_words_it_searches_for(word):
    assert word in (REPOSITORY / "README.md").read_text().lower()
    assert (REPOSITORY / "Snakefile").is_file()
    assert list((REPOSITORY / "workflow" / "rules").glob("*.smk"))
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert {"mandatory-flags", "software-stack-deployment", "report"} == set(usage)
    assert usage["software-stack-deployment"]["conda"] is True
