"""The benchmarks that need a dedicated machine run, and their sums are correct."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
from shipped import shipped_config
from test_documentation import table_rows

REPOSITORY = Path(__file__).resolve().parents[2]


def run(name: str, *arguments: str) -> list[list[str]]:
    """Return the rows of the tables that a benchmark prints, without headings."""
    command = [sys.executable, REPOSITORY / "benchmarks" / name, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return [row for row in table_rows(finished.stdout) if row[0] != "corpus"]


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path):
    options = ("--device", "cpu", "--folder", tmp_path, "--steps", "1", "--rounds", "1", "--corpora", "mosei")
    rows = run("gpu.py", *options, "--systems", "men", "unimodal_v", "--repeats", "1", "3", "--no-jobs", "--no-plain")
    assert [row[1:3] for row in rows] == [["men", "1"], ["men", "3"], ["unimodal_v", "1"], ["unimodal_v", "3"]]
    for one, three in (rows[:2], rows[2:]):
        assert float(three[5]) == pytest.approx(float(three[3]) / float(one[3]), rel=0.03)
        assert float(three[6]) > 0


def test_the_gpu_benchmark_sums_the_papers_grid(monkeypatch, capsys):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    gpu = importlib.import_module("gpu")
    seconds = {("iemocap", "two_tower"): (0.02, 0.1), ("iemocap", "men"): (0.02, 0.1), ("mosei", "mmin"): (0.01, 0.2)}
    gpu.print_hours(seconds, start_ups={"iemocap": 5.0, "mosei": 6.0}, evaluation=10.0)
    rows = [row for row in table_rows(capsys.readouterr().out) if row[0] != "corpus"]
    assert [row[:3] for row in rows] == [
        ["iemocap", "two_tower", "10"],
        ["iemocap", "men", "10"],
        ["mosei", "mmin", "12"],
        ["all", "evaluation", "159"],
        ["all", "all", "32 of 887"],
    ]
    # 4,446 and 16,265 utterances in steps of 128; a pretraining has 40 epochs, MEN and MMIN have 60.
    hours = [
        [10 * 40 * 35 * 0.02 / 3600, 10 * 40 * 0.1 / 3600, 10 * 5 / 3600],
        [10 * 60 * 35 * 0.02 / 3600, 10 * 60 * 0.1 / 3600, 10 * 5 / 3600],
        [12 * 60 * 128 * 0.01 / 3600, 12 * 60 * 0.2 / 3600, 12 * 6 / 3600],
    ]
    for row, parts in zip(rows, hours, strict=False):
        assert [float(cell) for cell in row[3:]] == pytest.approx([*parts, sum(parts)], abs=0.006)
    evaluated = 159 * 10 / 3600
    assert float(rows[3][-1]) == pytest.approx(evaluated, abs=0.006)
    assert float(rows[4][-1]) == pytest.approx(sum(map(sum, hours)) + evaluated, abs=0.006)


def test_a_failed_step_ends_a_gpu_benchmark_with_its_message(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    gpu = importlib.import_module("gpu")
    with pytest.raises(SystemExit, match=r"required: --features.*\nerror: train.py of men ended with exit status 2"):
        gpu.run("train.py", {"system": "men"})


@pytest.mark.slow
def test_the_benchmark_of_sharing_runs_on_a_cpu(tmp_path):
    options = ("--device", "cpu", "--folder", tmp_path, "--scale", "0.02", "--epochs", "1", "--jobs", "1", "2")
    rows = run("gpu_sharing.py", *options, "--systems", "mmin", "unimodal_v")
    one, two = rows[:2], sorted(rows[2:4])
    assert [row[:3] for row in one] == [["1", "no", "mmin"], ["1", "no", "unimodal_v"]]
    assert [row[:3] for row in two] == [["2", "no", "mmin"], ["2", "no", "unimodal_v"]]
    alone, together = rows[4:]
    assert float(alone[2]) > sum(float(row[3]) for row in one) - 0.2
    assert float(together[2]) > max(float(row[3]) for row in two) - 0.2
    assert alone[4] == "1.00"
    assert float(together[4]) == pytest.approx(float(alone[2]) / float(together[2]), rel=0.05)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def sharing(monkeypatch, tmp_path):
    """Returns a function that runs the benchmark of sharing, with a function as the trainings and a false server."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    module = importlib.import_module("gpu_sharing")
    for variable in ("NMER_GPU_SLOTS", "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"):
        monkeypatch.setenv(variable, "")
    control = tmp_path / "bin" / module.CONTROL
    control.parent.mkdir()
    control.write_text(f"#!/bin/sh\n[ $# = 1 ] && echo started >> {tmp_path}/server || cat >> {tmp_path}/server\n")
    control.chmod(0o755)
    monkeypatch.setenv("PATH", str(control.parent), prepend=":")
    monkeypatch.setattr(module.training, "make_files", mock.Mock(return_value=("features", "noisy")))

    def measure(train, *arguments):
        monkeypatch.setattr(module.gpu, "run_training", train)
        monkeypatch.setattr(sys, "argv", ["gpu_sharing.py", "--device", "cpu", "--folder", str(tmp_path), *arguments])
        module.main()

    return measure


def test_sharing_trains_each_pretraining_once_and_each_training_in_its_own_folder(sharing, capsys):
    pretrainings, trainings = [], []

    def train(_corpus, system, _files, teachers, folder, _gpus, epochs):
        assert folder.is_dir()
        (pretrainings if folder == teachers else trainings).append((system, epochs, folder))
        return 1.0

    queue = ["nmer", "nmer_no_inv", "mmin", "mmin", "unimodal_a"]
    sharing(train, "--jobs", "2", "--systems", *queue)
    assert sorted(training[:2] for training in pretrainings) == [("men", 2), ("two_tower", 2)]
    assert sorted(training[:2] for training in trainings) == sorted((system, None) for system in queue)
    assert len({folder for *_training, folder in trainings}) == len(queue)
    rows = table_rows(capsys.readouterr().out)
    assert {tuple(row[:2]) for row in rows} == {("2", "no")}
    assert len(rows) == 6
    assert rows[-1][-1] == ""


def test_sharing_compares_all_queues_with_one_job_at_once_without_the_server(sharing, tmp_path, capsys):
    sharing(lambda *_given: 1.0, "--jobs", "4", "1", "--server", "both", "--systems", "unimodal_a")
    rows = table_rows(capsys.readouterr().out)[4:]
    assert [row[:2] for row in rows] == [["4", "no"], ["1", "no"], ["4", "yes"], ["1", "yes"]]
    assert rows[1][-1] == "1.00"
    assert all(row[-1] for row in rows)
    assert (tmp_path / "server").read_text() == "started\nquit\n"


def test_a_failed_training_ends_sharing_with_its_message_once_the_server_is_stopped(sharing, tmp_path):
    trained = []

    def train(_corpus, system, *_given):
        trained.append(system)
        if system == "mctn":
            sys.exit("error: not enough GPU memory.")
        time.sleep(0.1)
        return 0.1

    with pytest.raises(SystemExit, match="not enough GPU memory"):
        sharing(train, "--jobs", "2", "--server", "always", "--systems", "mctn", *["men"] * 20)
    assert len(trained) < 10
    assert (tmp_path / "server").read_text() == "started\nquit\n"


@pytest.mark.slow
def test_the_benchmark_of_neighbours_runs(tmp_path):
    rows = run("neighbours.py", "--folder", tmp_path, "--rounds", "1", "--corpora", "mosei")
    assert [row[:2] for row in rows] == [["mosei", work] for work in ("nmer", "mmin", "products")]
    assert all(float(cell.split()[0]) > 0 for row in rows for cell in row[2:])


def test_the_benchmark_of_selection_trains_a_pretraining_once_for_all_systems_and_levels(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    selection = importlib.import_module("selection_on_test")
    config = shipped_config() | {"experiment": "tiny"}
    config["experiments"]["tiny"]["systems"] += ["nmer_no_vae"]
    plan, arguments = selection.Plan(config), argparse.Namespace(repeats=2, epochs=None)
    history = [{f"{split}_{metric}": 0.5 for split in ("val", "test") for metric in ("UA", "WA")}]
    monkeypatch.setattr(selection, "FoldData", mock.Mock(return_value=mock.Mock(classes=["no", "yes"])))
    monkeypatch.setattr(selection, "fit", lambda learner, _settings: {learner.repeat: ({}, history)})
    learners = []

    def watched(_build, _data, _settings, repeat, teacher):
        learners.append(mock.Mock(repeat=repeat, teacher=teacher))
        return learners[-1]

    monkeypatch.setattr(selection, "Watched", watched)
    pretrain = mock.Mock(side_effect=lambda *arguments: f"two_tower {arguments[4]}")
    monkeypatch.setattr(selection, "trained_teacher", pretrain)
    teachers = {}
    for system in ("men", "nmer", "nmer_no_vae"):
        for level in (-10, -20):
            selection.row(plan, "tiny_mosei", system, level, arguments, teachers)
    assert pretrain.call_count == arguments.repeats
    of_men, of_others = learners[:4], learners[4:]
    assert {learner.teacher for learner in of_men} == {None}
    assert [learner.teacher for learner in of_others] == 4 * ["two_tower 1", "two_tower 2"]
