"""The workflow runs in notebooks, other locales, and folders with special characters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from workflow_copy import Workflow

from nmer.plan.loading import read_config

FOLDER = "a b;touch PWNED;$(touch PWNED)'[x]&*"
"""A folder name that must not reach the shell unquoted."""
HOSTILE = FOLDER + "{y}"
"""The same with braces, which Snakemake interprets in the name of a workflow's folder."""
SETTINGS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # Jupyter's
    "PYTHONSAFEPATH": "1",
    "PYTHONIOENCODING": "ascii",
    "LC_ALL": "POSIX",
    "LANG": "POSIX",
}
NOISE = """\
import numpy as np
from nmer.noise.registry import noise_kind


@noise_kind("mine")
def mine(shape, generator):
    return generator.standard_normal(shape, dtype=np.float32)
"""


def output_of(finished: subprocess.CompletedProcess) -> str:
    output = finished.stdout + finished.stderr
    assert "Traceback" not in output, output
    return output


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Workflow:
    """A copy whose folder and noise file have names that a shell would execute."""
    workflow = Workflow(tmp_path_factory.mktemp("hostile") / FOLDER)
    (workflow.folder / HOSTILE).mkdir()
    (workflow.folder / HOSTILE / f"{HOSTILE}.py").write_text(NOISE)
    workflow.reduce("  kinds:\n", f"  kinds:\n    mine: {{ file: {(HOSTILE + '/' + HOSTILE + '.py')!r} }}\n")
    workflow.reduce(
        "    systems: [men, nmer]\n    noise: [gaussian]", "    systems: [men, nmer]\n    noise: [gaussian, mine]"
    )
    return workflow


def assert_nothing_was_executed(workflow: Workflow) -> None:
    assert not list(workflow.folder.parent.rglob("PWNED"))
    assert sorted(path.name for path in workflow.folder.parent.iterdir()) == [FOLDER]


@pytest.mark.slow
@pytest.mark.ci
def test_no_name_reaches_the_shell(hostile):
    dry = hostile.snakemake("--dry-run", "--quiet", "rules", data=HOSTILE)
    assert dry.returncode == 0, output_of(dry)
    training = "results/tiny/runs/tiny_mosei/men/clean/fold1/model.safetensors"
    finished = hostile.snakemake(training, "results/noisy/tiny_mosei/mine_-10dB.h5", data=HOSTILE)
    assert finished.returncode == 0, output_of(finished)
    assert (hostile.folder / training).exists()
    assert_nothing_was_executed(hostile)


@pytest.mark.parametrize(
    "folder",
    [HOSTILE, *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.ci]) for name in ("{dataset}", "{"))],
)
def test_a_corpus_in_a_folder_with_a_hostile_name_is_read(hostile, folder):
    source = hostile.folder / "data" / folder / "cmu_mosi"
    generated = {"utterances": 80, "dims": {"a": 73, "v": 100, "l": 100}, "frames": 2}
    settings = json.dumps({"dataset": "mosi", "layout": "mosei_pickle", "generate": generated})
    step = [sys.executable, "scripts/generate_corpus.py", "--output", source, "--settings", settings]
    subprocess.run(step, cwd=hostile.folder, check=True)
    next(source.glob("*.pkl")).rename(source / "mosi_senti_data.pkl")
    target = "results/features/mosi.h5"
    for wanted in ("1 of 1 steps", "Nothing to be done"):
        finished = hostile.snakemake(target, experiment="mosi", data=f"data/{folder}")
        assert finished.returncode == 0, output_of(finished)
        assert wanted in output_of(finished)
    assert_nothing_was_executed(hostile)


@pytest.mark.slow
def test_a_whole_experiment_runs_in_a_folder_with_a_hostile_name(hostile):
    finished = hostile.snakemake(data=HOSTILE)
    assert finished.returncode == 0, output_of(finished)
    assert (hostile.folder / "results/tiny/report.html").exists()
    assert_nothing_was_executed(hostile)


def test_braces_in_the_name_of_the_workflows_folder_are_refused_in_one_line(tmp_path):
    workflow = Workflow(tmp_path / "a {b}")
    finished = workflow.snakemake("--dry-run")
    assert finished.returncode != 0
    assert "reads braces in the name of a workflow's folder as wildcards. Rename it." in output_of(finished)


def test_a_name_that_is_a_command_is_refused(fresh_workflow):
    with fresh_workflow.edited("config.yaml", "  tiny:\n", "  a;touch PWNED;b:\n"):
        finished = fresh_workflow.snakemake(experiment="a;touch PWNED;b")
    assert finished.returncode != 0
    assert "experiments: 'a;touch PWNED;b' is not a valid name." in output_of(finished)
    assert not (fresh_workflow.folder / "PWNED").exists()


def test_everything_in_a_shell_command_is_quoted():
    root = Path(__file__).resolve().parents[2]
    for path in [root / "workflow" / "Snakefile", *(root / "workflow" / "rules").glob("*.smk")]:
        commands = path.read_text().split("shell:")[1:]
        for command in commands:
            text = command.split('"""')[1] if '"""' in command.split("rule ")[0] else command.split('"')[1]
            for field in filter(None, (part.partition("}")[0] for part in text.split("{")[1:])):
                assert field.endswith(":q") or field in ("threads", "resources.compute_threads", "resources.gpu"), field


@pytest.mark.slow
@pytest.mark.ci
def test_settings_of_a_notebook_or_a_locale_do_not_reach_the_steps(tmp_path):
    workflow = Workflow(tmp_path / "nmer")
    command = workflow.command("features", "results/tiny/figures/calibration_tiny_mosei.png")
    finished = subprocess.run(
        command, cwd=workflow.folder, env=workflow.environment() | SETTINGS, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, output_of(finished)
    assert "utterances" in finished.stdout


@pytest.mark.parametrize("script", ["draw_figure.py", "show_features.py", "train.py", "add_noise.py"])
def test_a_step_run_directly_starts_with_the_settings_of_a_notebook(script):
    settings = {name: value for name, value in SETTINGS.items() if name != "PYTHONSAFEPATH"}
    step = Path(__file__).resolve().parents[2] / "scripts" / script
    finished = subprocess.run(
        [sys.executable, step, "--help"], env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_numbers_in_mappings_on_the_command_line_stay_numbers(fresh_workflow):
    entries = {"training": "{learning_rate: 1e-3, batch_size: 16}", "systems": "{nmer: {layers: 2}}"}
    finished = fresh_workflow.snakemake("--dry-run", "--quiet", "rules", **entries)
    assert finished.returncode == 0, output_of(finished)
    assert read_config([], [f"training={entries['training']}"])["training"]["batch_size"] == "16"


def test_a_duplicate_key_is_refused(fresh_workflow):
    with fresh_workflow.edited("config.yaml", "training: {}\n", "training: {}\ncompute: { threads: 2 }\n"):
        finished = fresh_workflow.snakemake("--dry-run")
    assert finished.returncode != 0
    assert "the key 'compute' is given twice. Keep one of them." in output_of(finished)


def test_a_failure_is_reported_in_one_line_even_in_quiet_mode(tmp_path):
    workflow = Workflow(tmp_path / "nmer")
    corpus = tmp_path / "data" / "cmu_mosi" / "mosi_senti_data.pkl"
    corpus.parent.mkdir(parents=True)
    corpus.write_bytes(b"not a pickle")
    finished = workflow.snakemake("features", "--quiet", "rules", experiment="mosi", data=str(tmp_path / "data"))
    assert finished.returncode != 0
    errors = [line for line in output_of(finished).splitlines() if "error: " in line]
    assert len(errors) == 1
    assert errors[0].startswith("results/logs/features/mosi.log: error: ")


def test_the_output_of_a_features_run_does_not_grow_with_the_number_of_raw_files(tmp_path):
    workflow = Workflow(tmp_path / "nmer")
    step = ["scripts/generate_corpus.py", "--output", str(tmp_path / "data" / "IEMOCAP_features_2021"), "--settings"]
    generate = '{"utterances": 120, "dims": {"a": 130, "v": 342, "l": 1024}, "frames": {"a": 6, "v": 4, "l": 6}}'
    settings = f'{{"dataset": "iemocap", "layout": "iemocap_mmin", "generate": {generate}}}'
    subprocess.run([sys.executable, *step, settings], cwd=workflow.folder, check=True)
    finished = workflow.snakemake(
        "results/features/iemocap.json",
        "--dry-run",
        experiment="paper",
        data=str(tmp_path / "data"),
        datasets="{mosei: {layout: iemocap_mmin, path: IEMOCAP_features_2021, dims: {a: 130, v: 342, l: 1024}}}",
    )
    assert finished.returncode == 0, output_of(finished)
    assert f"input: {tmp_path / 'data' / 'IEMOCAP_features_2021'}\n" in output_of(finished)
