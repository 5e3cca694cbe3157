"""The workflow runs from another folder: with -s, with --directory, as a snakedeploy module and by ``nmer``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = {
    "experiment": "small",
    "experiments": {
        "small": {
            "datasets": ["tiny_mosei"],
            "systems": ["men", "nmer_no_vae"],
            "noise": ["gaussian"],
            "snr_db": [-10],
            "repeats": 1,
            "folds": 1,
            "tables": [2],
            "figures": ["robustness"],
            "training": {
                "constant_epochs": 1,
                "decay_epochs": 1,
                "pretraining": {"constant_epochs": 1, "decay_epochs": 1},
            },
        }
    },
}
HISTORY = "results/small/runs/tiny_mosei/men/clean/fold1/history.csv"
REPORT = "results/small/report.html"
MODULE = """\
configfile: "config/config.yaml"

module nmer:
    snakefile: "{snakefile}"
    config: config

use rule * from nmer{name}
"""


def call(*command: object, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "NMER_HOME")}
    finished = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output
    return output


SNAKEMAKE = (sys.executable, "-m", "snakemake", "--cores", 2)


def snakefile(folder: Path, *arguments: object) -> str:
    """Run with -s, from a folder that has its own configuration."""
    write(folder / "config" / "config.yaml")
    return call(*SNAKEMAKE, "--snakefile", REPOSITORY / "Snakefile", *arguments, cwd=folder)


def directory(folder: Path, *arguments: object) -> str:
    """Run with --directory and --configfile, from the workflow's folder."""
    write(folder / "own.yaml")
    where = ("--directory", folder, "--configfile", folder / "own.yaml")
    return call(*SNAKEMAKE, *where, *arguments, cwd=REPOSITORY)


def standard_place(folder: Path, *arguments: object) -> str:
    """Run with -s workflow/Snakefile, where the catalog expects it."""
    write(folder / "config" / "config.yaml")
    return call(*SNAKEMAKE, "--snakefile", REPOSITORY / "workflow" / "Snakefile", *arguments, cwd=folder)


def module(folder: Path, *arguments: object, name: str = "") -> str:
    """Run as a module, in snakedeploy's layout."""
    write(folder / "config" / "config.yaml")
    (folder / "workflow").mkdir(exist_ok=True)
    written = MODULE.format(snakefile=REPOSITORY / "workflow" / "Snakefile", name=name)
    (folder / "workflow" / "Snakefile").write_text(written)
    return call(*SNAKEMAKE, *arguments, cwd=folder)


def renamed_module(folder: Path, *arguments: object) -> str:
    """Run as a module whose rules get a prefix."""
    return module(folder, *arguments, name=" as nmer_*")


def by_command(folder: Path, *arguments: object) -> str:
    """Run by ``nmer run``."""
    write(folder / "config" / "config.yaml")
    main = (
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'scripts')!r}); import nmer.cli.main",
    )
    start = (*main[:2], f"{main[2]}; nmer.cli.main.main()")
    return call(*start, "run", "small", "--cores", 2, "--gpus", 0, "--", *arguments, cwd=folder)


WAYS = [snakefile, directory, standard_place, module, renamed_module, by_command]
way = pytest.mark.parametrize("run", WAYS, ids=lambda function: function.__name__)


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(SMALL))


@way
def test_a_dry_run_writes_no_result(tmp_path, run):
    assert "evaluate" in run(tmp_path, "--dry-run", "--quiet", "rules")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "run",
    [snakefile, pytest.param(module, marks=[pytest.mark.slow, pytest.mark.ci])],
    ids=lambda function: function.__name__,
)
def test_a_training_writes_only_into_its_folder(tmp_path, run):
    before = set(REPOSITORY.glob("results/small*"))
    run(tmp_path, "--quiet", "rules", "--", HISTORY)
    assert (tmp_path / HISTORY).read_text().count("\n") == 3
    assert set(REPOSITORY.glob("results/small*")) == before


@pytest.mark.slow
@way
def test_the_whole_experiment_runs_and_is_then_up_to_date(tmp_path, run):
    run(tmp_path, "--quiet", "rules")
    assert (tmp_path / REPORT).stat().st_size > 0
    assert "Nothing to be done" in run(tmp_path, "--dry-run", "--quiet", "rules")


@pytest.mark.slow
def test_every_way_gives_the_same_results_and_none_are_due_in_another(tmp_path):
    snakefile(tmp_path, "--quiet", "rules")
    for other in (standard_place, by_command):
        assert "Nothing to be done" in other(tmp_path, "--dry-run", "--quiet", "rules")


@pytest.mark.parametrize("moved", ['prefix: "sub"', 'replace_prefix: {"results/": "sub/"}'])
def test_a_module_whose_files_are_moved_is_refused_before_any_job(tmp_path, moved):
    write(tmp_path / "config" / "config.yaml")
    written = MODULE.format(snakefile=REPOSITORY / "workflow" / "Snakefile", name="")
    (tmp_path / "Snakefile").write_text(written.replace("config: config", f"config: config\n    {moved}"))
    command = list(map(str, (*SNAKEMAKE, "--dry-run")))
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 1
    assert "prefix and replace_prefix cannot move the files of NMER" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr


def test_status_reports_on_the_folder_it_is_called_in(tmp_path):
    write(tmp_path / "config" / "config.yaml")
    output = call(sys.executable, REPOSITORY / "scripts" / "status.py", "--config", "experiment=small", cwd=tmp_path)
    assert "Experiment small" in output
