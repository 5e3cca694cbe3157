"""The commands, configuration and code of docs/own_corpus.md work as written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml
from workflow_copy import REPOSITORY, Workflow

PAGE = REPOSITORY / "docs" / "own_corpus.md"
OVERLAY = "examples/own_corpus/config.yaml"


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [text for tag, text in fenced if tag == language]


def run(workflow: Workflow, line: str) -> subprocess.CompletedProcess:
    """Run a line of the page in a copy of the repository."""
    program, *words = shlex.split(line)
    program = Path(sys.executable).with_name(Path(program).name)
    return subprocess.run([program, *words], cwd=workflow.folder, text=True, capture_output=True, check=False)


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Workflow:
    """A copy of the repository with the example's corpus, written by the page's first command."""
    copy = Workflow(tmp_path_factory.mktemp("own corpus") / "nmer")
    finished = run(copy, blocks("")[0].splitlines()[0])
    assert finished.returncode == 0, finished.stderr
    return copy


def test_the_lines_of_the_page_match_the_example(workflow):
    lines, enough, _fewer = map(yaml.safe_load, blocks("yaml"))
    shipped = yaml.safe_load((REPOSITORY / OVERLAY).read_text())
    assert lines["datasets"] == shipped["datasets"]
    experiment = shipped["experiments"]["own_corpus"]
    assert enough == {key: experiment[key] for key in ("training", "system_options")}
    steps = (12 + 8) * -(-54 // experiment["training"]["batch_size"])
    assert f"That is {steps} steps." in PAGE.read_text()


@pytest.mark.slow
@pytest.mark.ci
def test_features_prints_the_corpus_and_trains_nothing(workflow):
    finished = run(workflow, blocks("")[1].strip())
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "interviews, layout npy_folder: 90 utterances, 5 speakers or videos, 5 folds" in finished.stdout
    assert "fold 1 train: 54 (calm 18, pleased 18, upset 18)" in finished.stdout
    assert "note: Folds: 5, one speaker left out in each, the next one for validation." in finished.stdout
    report = json.loads((workflow.folder / "results/features/interviews.json").read_text())
    assert report["class_counts"] == {"calm": 30, "pleased": 30, "upset": 30}
    assert {path.name for path in (workflow.folder / "results").iterdir()} == {"features", "logs", "benchmarks"}


def test_the_whole_example_is_planned_on_two_of_its_folds(workflow):
    finished = run(workflow, blocks("")[0].splitlines()[1] + " --dry-run")
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output
    assert set(re.findall(r"fold=(\d+)", output)) == {"1", "2"}


@pytest.mark.slow
def test_the_whole_example_runs_and_learns(workflow):
    finished = run(workflow, blocks("")[0].splitlines()[1])
    assert finished.returncode == 0, finished.stdout + finished.stderr
    folder = workflow.folder / "results/own_corpus"
    assert (folder / "report.html").is_file()
    table = pd.read_csv(folder / "tables/table2.csv")
    ua = table[table["metric"] == "UA"].set_index(["system", "snr_db"])
    assert set(ua.index) == {(system, level) for system in ("men", "nmer") for level in (-10, -20)}
    assert (ua["at_chance"] == 0).all(), ua
    assert (ua["mean"] > 1 / 3 + 0.15).all(), ua
    assert (folder / "figures/training_interviews.png").is_file(), "the page refers to it"


@pytest.mark.slow
@pytest.mark.ci
def test_a_damaged_file_gives_one_message_and_leaves_no_output(workflow, tmp_path):
    path = workflow.folder / "data/interviews/v/anna_03.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    try:
        finished = run(workflow, f"snakemake --cores 1 features --configfile {OVERLAY} --forcerun build_features")
    finally:
        path.write_bytes(content)
    output = finished.stdout + finished.stderr
    assert finished.returncode != 0
    assert output.count("v/anna_03.npy: declares") == 1, output
    assert "Traceback" not in output
    assert not (workflow.folder / "results/features/interviews.h5").exists()


def test_the_code_of_the_page_writes_the_layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, str(PAGE), "exec"), {})
    with h5py.File("interviews.h5") as file:
        assert file["a/offset"][()].tolist() == [0, 5, 8, 12]
        assert file["a/values"].shape == (12, 8)
        assert file["utterance/speaker"].asstr()[()].tolist() == ["anna", "ben", "carl"]
