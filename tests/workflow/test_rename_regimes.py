"""Results with the former names of the regimes are renamed, as needed after an update."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from nmer.digests import file_digest
from nmer.files import write_gzip

FORMER = {"incomplete": "six", "all_noisy": "all"}


@pytest.fixture
def former(finished_workflow, tmp_path):
    """A finished experiment with the names of version 0.1, and its content with the current names."""
    workflow = finished_workflow.copied(tmp_path / "nmer")
    root = workflow.folder / "results"
    current = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.suffix in (".csv", ".gz")}
    shutil.rmtree(workflow.folder / ".snakemake")
    for new, old in FORMER.items():
        for path in sorted(root.rglob(new)):
            path.rename(path.with_name(old))
        for path in root.rglob("*"):
            if path.suffix == ".csv":
                path.write_text(before(path.read_text(), new, old))
            elif path.suffix == ".gz":
                write_gzip(path, before(gzip.decompress(path.read_bytes()).decode(), new, old))
            elif path.name.endswith(".made.json"):
                path.write_text(path.read_text().replace(f"/{new}/", f"/{old}/").replace(f'"{new}"', f'"{old}"'))
    with h5py.File(root / "tiny/statistics/contributions.h5", "r+") as file:
        for name, names in (("regime", FORMER), ("condition", {"average": "avg6"})):
            values = file[f"cell/{name}"].asstr()[()]
            file[f"cell/{name}"][...] = [names.get(value, value) for value in values]
    for path in root.rglob("*.made.json"):  # the digests of the rewritten files
        record = json.loads(path.read_text())
        described = path.with_name(path.name.removeprefix(".").removesuffix(".made.json"))
        if "sha256" in record and described.is_file():
            path.write_text(json.dumps(record | {"sha256": file_digest(described)}))
    return workflow, current


def before(text: str, new: str, old: str) -> str:
    return text.replace(f",{new},", f",{old},").replace(",average,", ",avg6,")


def rename(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "scripts/rename_regimes.py", *arguments, "--config", "experiment=tiny"]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.ci
def test_renamed_results_equal_current_results_and_nothing_is_due(former):
    workflow, current = former
    finished = rename(workflow.folder)
    assert finished.returncode == 0, finished.stderr
    root = workflow.folder / "results"
    for path, content in current.items():
        found = (root / path).read_bytes()
        if path.suffix == ".gz":
            content, found = gzip.decompress(content), gzip.decompress(found)
        assert found == content, path
    with h5py.File(root / "tiny/statistics/contributions.h5") as file:
        assert {"incomplete", "all_noisy"} <= set(file["cell/regime"].asstr()) <= {"incomplete", "all_noisy", "clean"}
        assert "avg6" not in set(file["cell/condition"].asstr())
    assert workflow.due() == {}
    assert rename(workflow.folder).returncode == 0, "the second call has nothing to rename"
    assert workflow.due() == {}


@pytest.mark.slow
def test_results_of_changed_code_are_due_unless_accepted(former):
    workflow, _now = former
    for path in workflow.folder.glob("results/tiny/runs/**/.*.made.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"code": ["0" * 16, *record["code"][1:]]}))
    assert rename(workflow.folder).returncode == 0
    assert set(workflow.due()) >= {"train", "train_clean"}
    finished = rename(workflow.folder, "--accept-code")
    assert "Recorded the current code for" in finished.stdout
    assert workflow.due() == {}


@pytest.mark.slow
def test_results_under_both_names_are_refused_in_one_line(former):
    workflow, _now = former
    place = workflow.folder / "results/tiny/runs/tiny_mosei/nmer"
    (place / "incomplete").mkdir()
    finished = rename(workflow.folder)
    assert finished.returncode == 1
    assert "runs/tiny_mosei/nmer/incomplete: already exists" in finished.stderr
    assert (place / "six").is_dir()


def test_without_results_one_line_reports_nothing_to_rename(fresh_workflow):
    finished = rename(fresh_workflow.folder)
    assert finished.returncode == 1
    assert finished.stderr.strip() == "error: results/tiny: there are no results of experiment 'tiny' to rename."
