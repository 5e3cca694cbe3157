"""Results without Snakemake's records: the times of copied files, and inputs that changed after they were made."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from nmer.digests import digest_path, record_path
from nmer.plan.outdated import JobFiles, digest_of, equalise_times


@pytest.mark.parametrize(
    ("times", "changed"),
    [
        ({"input": 1, "output": 2, "benchmark": 3}, False),
        ({"input": 2, "output": 2, "benchmark": 2}, False),
        ({"input": 4, "output": 2, "benchmark": 3}, True),
        # Snakemake compares inputs with the oldest file of a job.
        ({"input": 2, "output": 1, "benchmark": 3}, True),
        ({"input": 2, "output": 3, "benchmark": 1}, True),
        ({"input": 1, "input.sha256": 3, "output": 2, "benchmark": 4}, True),
        ({"input": 3, "output": 2}, True),
        ({"output": 2, "benchmark": 1}, False),
        ({"input": 1}, False),
    ],
)
def test_times_are_made_equal_if_an_input_is_newer_than_a_file_of_its_job(tmp_path, times, changed):
    times = {tmp_path / name: time for name, time in times.items()} | {tmp_path / "of another job": 9}
    for path, time in times.items():
        path.touch()
        os.utime(path, ns=(time, time))
    job = JobFiles([f"{tmp_path}/input"], [f"{tmp_path}/output", f"{tmp_path}/benchmark"])
    assert equalise_times([job, JobFiles([], [f"{tmp_path}/of another job"])]) == changed
    for path, time in times.items():
        is_input = path.name.startswith("input")
        assert path.stat().st_mtime_ns == (9 if changed and not is_input else time), path.name


@pytest.mark.parametrize("has_digest_file", [False, True])
def test_the_digest_of_a_changed_input_is_unknown_unless_a_digest_file_is_next_to_it(tmp_path, has_digest_file):
    path = tmp_path / "table.csv"
    assert digest_of(str(path)) is None
    path.write_text("a,b\n")
    assert digest_of(str(path)) is None, "nothing states what was made"
    digest = hashlib.sha256(b"a,b\n").hexdigest()
    if has_digest_file:
        digest_path(path).write_text(f"{digest}  table.csv\n")
    else:
        record_path(path).write_text(json.dumps({"sha256": digest}))
    expected = hashlib.sha256(f"{digest}  table.csv\n".encode()).hexdigest()
    assert digest_of(str(path)) == expected
    path.write_text("a,c\n")
    assert digest_of(str(path)) == (expected if has_digest_file else None)
