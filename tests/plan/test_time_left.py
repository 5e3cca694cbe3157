"""The time left is estimated from similar jobs and their concurrency."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nmer.files import write_rows
from nmer.plan.jobs import Job
from nmer.plan.running import ABOUT, LIVE_HISTORY, announce, forget, running
from nmer.plan.status import duration, expected_seconds, jobs_at_once, seconds_of


class Jobs:
    """Creates jobs with outputs and benchmarks in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def make(self, rule, dataset="", system="", seconds=None, done=True, ended=1000.0) -> Job:
        self.count += 1
        output, benchmark = self.folder / f"{self.count}.out", self.folder / f"{self.count}.tsv"
        if done:
            output.touch()
        if seconds is not None:
            benchmark.write_text(f"s\th:m:s\tmax_rss\n{seconds:.4f}\t0:00:00\t-\n")
            os.utime(benchmark, (ended, ended))
        return Job("training", rule, output, benchmark, dataset, system)


@pytest.fixture
def jobs(tmp_path) -> Jobs:
    return Jobs(tmp_path)


def test_a_job_is_expected_to_take_as_long_as_the_most_similar_jobs(jobs):
    finished = [
        jobs.make("train", "mosi", "nmer", seconds=100),
        jobs.make("train", "mosi", "nmer", seconds=200),
        jobs.make("train", "mosi", "men", seconds=30),
        jobs.make("train", "mosei", "men", seconds=70),
    ]
    same = jobs.make("train", "mosi", "nmer", done=False)
    other_system = jobs.make("train", "mosi", "mmin", done=False)
    other_dataset = jobs.make("train", "iemocap", "mmin", done=False)
    again = jobs.make("train", "mosi", "nmer", seconds=5, done=False)
    never = jobs.make("embed", "mosi", done=False)
    expected = expected_seconds([*finished, same, other_system, other_dataset, again, never])
    assert expected == {
        same: pytest.approx((100 + 200 + 5) / 3),
        other_system: pytest.approx((100 + 200 + 30 + 5) / 4),
        other_dataset: pytest.approx((100 + 200 + 30 + 70 + 5) / 5),
        again: 5,
        never: None,
    }


def test_concurrency_is_averaged_without_pauses(jobs):
    # Two in parallel for 10 s, a pause, one for 10 s: 30 s of computing in 20 s.
    jobs_done = [jobs.make("train", seconds=10, ended=end) for end in (1000.0, 1000.0, 5000.0)]
    assert jobs_at_once(jobs_done) == pytest.approx(1.5)
    assert jobs_at_once([jobs.make("train", seconds=10, done=False)]) == 1
    assert jobs_at_once([]) == 1


@pytest.mark.parametrize("content", [None, "", "s\th:m:s\n", "s\th:m:s\nNA\t-\n", "h:m:s\n0:00:01\n"])
def test_an_incomplete_benchmark_is_ignored(tmp_path, content):
    if content is not None:
        (tmp_path / "job.tsv").write_text(content)
    assert seconds_of(tmp_path / "job.tsv") is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (430, "7 min 10 s"),
        (3600, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_a_duration_is_printed_in_two_units(seconds, text):
    assert duration(seconds) == text


def test_trainings_in_progress_give_the_time_left_of_themselves_and_similar_jobs(jobs, tmp_path):
    folder = tmp_path / "checkpoints" / "key"
    begun, similar = jobs.make("train", "mosi", "nmer", done=False), jobs.make("train", "mosi", "nmer", done=False)
    announce(folder, begun.output, epochs=10, repeats=2)
    (live,) = running(tmp_path / "checkpoints")
    assert (live.rows, live.seconds_left, live.total_seconds) == (0, None, None)
    rows = [{"repeat": 1, "epoch": epoch, "val_UA": epoch / 10} for epoch in range(1, 6)]
    write_rows(folder / LIVE_HISTORY, rows)
    os.utime(folder / ABOUT, (1000, 1000))
    os.utime(folder / LIVE_HISTORY, (1020, 1020))
    (live,) = running(tmp_path / "checkpoints")
    assert (live.rows, live.reached) == (5, {1: (5, 0.5)})
    expected = expected_seconds([begun, similar], [live])
    assert expected == {begun: pytest.approx(4 * 15), similar: pytest.approx(4 * 20)}
    begun.output.touch()
    assert running(tmp_path / "checkpoints") == []


def test_a_finished_training_removes_its_own_attempts_and_no_other_training(tmp_path):
    checkpoints, history = tmp_path / "checkpoints", tmp_path / "history.csv"
    for name, of in {"first": history, "second": history, "other": tmp_path / "other.csv"}.items():
        announce(checkpoints / name, of, epochs=1, repeats=1)
        (checkpoints / name / "repeat1.pt").write_bytes(b"weights")
    (checkpoints / "damaged").mkdir()
    (checkpoints / "damaged" / ABOUT).write_text("{")
    forget(checkpoints, history)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["damaged", "other"]
