"""The report names the workflow's commit and marks modified files."""

from __future__ import annotations

import os
import subprocess

import pytest

from nmer.results.commit import commit_of


def git(folder, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    finished = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return finished.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "a repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "code.py").write_text("A = 1\n")
    git(folder, "add", "code.py")
    git(folder, "commit", "--quiet", "-m", "One")
    return folder


def test_an_unmodified_repository_is_named_by_its_commit(repository):
    assert commit_of(repository) == git(repository, "rev-parse", "HEAD")
    (repository / "results").mkdir()
    (repository / "results" / "new").touch()
    assert commit_of(repository) == git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize("change", ["edited", "staged", "removed"])
def test_a_modified_repository_is_marked(repository, change):
    if change == "removed":
        (repository / "code.py").unlink()
    else:
        (repository / "code.py").write_text("A = 2\n")
    if change == "staged":
        git(repository, "add", "code.py")
    assert commit_of(repository) == git(repository, "rev-parse", "HEAD") + ", modified"


def test_a_folder_inside_another_repository_has_no_commit(repository):
    unpacked = repository / "nmer"
    unpacked.mkdir()
    assert commit_of(unpacked) == "unknown"


def test_a_folder_without_git_and_a_repository_without_commits_have_none(tmp_path, monkeypatch):
    assert commit_of(tmp_path) == "unknown"
    git(tmp_path, "init", "--quiet")
    assert commit_of(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", "")
    assert commit_of(tmp_path) == "unknown"


def test_a_repository_named_by_a_git_hook_is_ignored(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert commit_of(tmp_path) == "unknown"
    assert commit_of(repository) == git(repository, "rev-parse", "HEAD")
