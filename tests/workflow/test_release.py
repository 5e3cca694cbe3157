"""The parts of continuous integration, container and release exist and agree."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import nmer

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_lint_tests_docs_and_release_have_a_workflow():
    called = {step.get("run") for path in WORKFLOWS for step in steps(path)}
    assert {"make check", "make test", "make docs", "make test-demo"} <= called
    assert {path.stem for path in WORKFLOWS} == {"ci", "release"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_existing_targets_with_the_supported_python(path):
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"].strip(">=")
    for step in steps(path):
        for target in re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE):
            assert target in TARGETS
        if step.get("uses", "").startswith("actions/setup-python"):
            assert step["with"]["python-version"] == version


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_of_a_workflow_has_a_limit_and_no_more_rights_than_it_needs(path):
    workflow = yaml.safe_load(path.read_text())
    assert all(job["timeout-minutes"] <= 75 for job in workflow["jobs"].values())
    assert workflow["permissions"] == {"contents": "write" if path.stem == "release" else "read"}


def test_a_release_contains_the_changes_of_its_version(tmp_path):
    run = next(
        step["run"]
        for step in steps(REPOSITORY / ".github" / "workflows" / "release.yml")
        if "awk" in step.get("run", "")
    )
    command = next(line for line in run.splitlines() if line.strip().startswith("awk"))
    (tmp_path / "CHANGELOG.md").write_text("# C\n\n## [1.2.0] - x\n\n- new\n\n## [1.1.0] - y\n\n- old\n")
    subprocess.run(
        ["bash", "-euc", command], cwd=tmp_path, env={"GITHUB_REF_NAME": "v1.2.0", "PATH": "/usr/bin:/bin"}, check=True
    )
    assert (tmp_path / "notes.md").read_text().split() == ["-", "new"]


def test_the_container_copies_existing_files_and_installs_from_the_lock_files():
    lines = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    for line in lines:
        if line.startswith("COPY"):
            assert all((REPOSITORY / name).exists() for name in line.split()[1:-1])
    assert any(line.startswith("RUN make environment") for line in lines)
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    assert {"results", ".venv*"} <= set(ignored)


def succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=300).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture
def builder() -> str:
    """A program that can build and run containers here, with the base image. Skips the test without one."""
    base = re.findall("^FROM (.+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)[0]
    for name in ("docker", "podman"):
        if shutil.which(name) and succeeds(name, "run", "--rm", base, "true"):
            return name
    if shutil.which("buildah") and (
        succeeds("buildah", "inspect", "--type", "image", base) or succeeds("buildah", "pull", base)
    ):
        return "buildah"
    pytest.skip(f"neither Docker, Podman nor Buildah can run {base} here; without a registry, load the image first")


@pytest.mark.slow
def test_the_container_builds_and_runs_for_a_user_without_a_name(builder, tmp_path):
    build = "bud" if builder == "buildah" else "build"
    subprocess.run([builder, build, "--build-arg", "GPUS=0", "--tag", "nmer-test", REPOSITORY], check=True)
    tmp_path.chmod(0o777)
    options = ["--user", "12345:12345", "--volume", f"{tmp_path}:/project"]
    if builder == "buildah":  # runs commands in a working container, without the entry point
        made = subprocess.run([builder, "from", "nmer-test"], capture_output=True, text=True, check=True)
        container = made.stdout.strip()
        run = [builder, "run", *options, container, "--", "nmer"]
    else:
        run = [builder, "run", "--rm", *options, "nmer-test"]
    version = subprocess.run([*run, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"nmer {nmer.__version__}\n"
    dry_run = ["run", "tiny", "--gpus", "0", "--", "--dry-run", "--quiet", "rules"]
    planned = subprocess.run([*run, *dry_run], capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr
    assert "train_clean" in planned.stdout
    if builder == "buildah":
        subprocess.run([builder, "rm", container], capture_output=True, check=True)


def test_the_citation_is_valid_and_names_this_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] in ("software", "dataset")
    assert citation["version"] == nmer.__version__
    for work in [citation, *citation["references"]]:
        assert work["title"]
        assert work["authors"]
        for author in work["authors"]:
            assert author.keys() <= {"name"} or author.keys() <= {"given-names", "family-names", "orcid", "affiliation"}
    assert all({"type", "title", "authors"} <= work.keys() for work in citation["references"])
    assert len(citation["keywords"]) >= 4
