"""After thousands of jobs of the real rules the main process has neither grown nor kept files open.

The variable NMER_SOAK_JOBS sets the number of training jobs. The default of 2000 takes an hour on two cores.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from workflow_copy import TINY_EXPERIMENT, Workflow

pytestmark = pytest.mark.slow

JOBS = int(os.environ.get("NMER_SOAK_JOBS", "2000"))
FOLDS = 10
SOAK_EXPERIMENT = f"""\
    datasets: [tiny_iemocap]
    systems: [mctn]
    noise: [gaussian, impulse]
    snr_db: {[-level for level in range(1, JOBS // (2 * FOLDS) + 1)]}
    repeats: 1
    folds: {FOLDS}
    tables: [2]
    figures: [robustness]
    training:
      constant_epochs: 1
      decay_epochs: 0
"""
CORES = 2


def test_many_jobs_do_not_grow_the_main_process(tmp_path, capsys):
    workflow = Workflow(tmp_path / "nmer")
    workflow.reduce(TINY_EXPERIMENT, SOAK_EXPERIMENT)
    workflow.reduce("      nmer: { layers: 1, feed_forward: 16 }\n", "      mctn: { steps: 1 }\n")
    began, process, samples = time.monotonic(), workflow.start(cores=CORES), []
    while process.poll() is None:
        samples.append((time.monotonic() - began, *resources(process.pid)))
        time.sleep(1)
    took = time.monotonic() - began
    assert process.returncode == 0, (workflow.folder / "output").read_text()[-3000:]
    histories = list((workflow.folder / "results/tiny/runs").rglob("history.csv"))
    assert len(histories) == JOBS // (2 * FOLDS) * 2 * FOLDS

    benchmarks = list((workflow.folder / "results/benchmarks").rglob("*.tsv"))
    busy = sum(pd.read_csv(path, sep="\t")["s"].sum() for path in benchmarks)
    seconds, files, memory = np.array([sample for sample in samples if sample[1]]).T
    half = seconds > seconds[-1] / 2
    growth = np.polyfit(seconds[half], memory[half], 1)[0] * took / len(benchmarks) * 1000
    overhead = CORES * took - busy
    with capsys.disabled():
        print(
            f"\n{len(benchmarks)} jobs in {took:.0f} s on {CORES} cores: overhead {overhead:.0f} core-seconds, "
            f"{overhead / len(benchmarks):.2f} s a job; open files {files.min():.0f} to {files.max():.0f}; "
            f"memory {memory.max():.0f} MB at most, growing by {growth:.1f} MB in 1,000 jobs in the second half"
        )
    assert files[half].max() <= files[~half].max() + 5
    assert growth < 30


def resources(number: int) -> tuple[int, float]:
    """Return the open files and the resident memory (MB) of a process; zeros if it has ended."""
    try:
        status = Path(f"/proc/{number}/status").read_text()
        return len(list(Path(f"/proc/{number}/fd").iterdir())), int(status.split("VmRSS:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0, 0.0
