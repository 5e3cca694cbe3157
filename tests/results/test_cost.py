"""Jobs and hours per stage, counted in hand-written benchmark files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmer.results.cost import read_cost

FILES = {
    "features/mosi.tsv": 3600,
    "features/other.tsv": 999,
    "corpora/mosi.tsv": 1800,
    "noisy/mosi/gaussian_-10dB.tsv": 720,
    "noisy/other/gaussian_-10dB.tsv": 999,
    "calibration/mosi.tsv": 360,
    "mine/teachers/mosi/shared/fold1.tsv": 3600,
    "mine/runs/mosi/men/clean/fold1.tsv": 1800,
    "mine/runs/mosi/nmer/incomplete/gaussian_-10dB/fold1.tsv": 5400,
    "mine/scores/mosi/nmer/incomplete/gaussian_-10dB.tsv": 360,
    "mine/scores.tsv": 36,
    "mine/tables/table2.tsv": 36,
    "yours/runs/mosi/men/clean/fold1.tsv": 999,
}


@pytest.fixture
def benchmarks(tmp_path) -> Path:
    for name, seconds in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:00\t1.0\n")
    return tmp_path


def test_jobs_and_hours_are_counted_by_stage(benchmarks):
    assert read_cost(benchmarks, "mine", ["mosi"]) == [
        ("features", 2, 1.5),
        ("noise", 2, pytest.approx(0.3)),
        ("pretraining", 1, 1.0),
        ("training", 2, 2.0),
        ("evaluation", 1, 0.1),
        ("results", 2, pytest.approx(0.02)),
        ("all", 10, pytest.approx(4.92)),
    ]


def test_an_experiment_that_was_never_run_costs_nothing_and_a_damaged_file_is_no_job(benchmarks):
    assert read_cost(benchmarks, "never", ["never"]) == []
    (benchmarks / "mine/tables/table2.tsv").write_text("s\tnothing\nNA\t-\n")
    assert read_cost(benchmarks, "mine", ["mosi"])[-1][1] == 9
