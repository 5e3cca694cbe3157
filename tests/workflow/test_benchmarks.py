"""The benchmarks that need a machine of one's own run, and what they add up is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_documentation import table_rows

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def run(name: str, *given: str) -> list[list[str]]:
    """The rows of the tables that a benchmark prints, without their headings."""
    command = [sys.executable, REPOSITORY / "benchmarks" / name, *given]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return [row for row in table_rows(finished.stdout) if row[0] != "corpus"]


def test_the_benchmark_of_a_gpu_runs_on_a_cpu_and_adds_up_the_papers_grid(tmp_path):
    given = ("--device", "cpu", "--folder", tmp_path, "--steps", "1", "--rounds", "1", "--corpora", "mosei")
    rows = run("gpu.py", *given, "--systems", "men", "mmin", "--repeats", "1", "3")
    speed, hours = rows[:4], rows[4:]
    assert [row[1:3] for row in speed] == [["men", "1"], ["men", "3"], ["mmin", "1"], ["mmin", "3"]]
    assert [float(row[4]) for row in speed[::2]] == [1.0, 1.0]
    # 16,265 utterances in steps of 128; one pretraining of 40 epochs, 12 trainings of 60.
    assert [row[:3] for row in hours] == [["mosei", "men", "1"], ["mosei", "mmin", "12"], ["all", "", "13 of 887"]]
    for row, epochs, jobs in ((0, 40, 1), (1, 60, 12)):
        step, validation = 1 / float(speed[2 * row + 1][3]), float(speed[2 * row + 1][6]) / 1000
        expected = jobs * epochs * (128 * step + 3 * validation) / 3600
        assert float(hours[row][3]) == pytest.approx(expected, rel=0.03)
    assert float(hours[2][3]) == pytest.approx(float(hours[0][3]) + float(hours[1][3]), abs=0.02)


def test_the_benchmark_of_neighbours_runs(tmp_path):
    rows = run("neighbours.py", "--folder", tmp_path, "--rounds", "1", "--corpora", "mosei")
    assert [row[:2] for row in rows] == [["mosei", work] for work in ("nmer", "mmin", "products")]
    assert all(float(cell.split()[0]) > 0 for row in rows for cell in row[2:])
