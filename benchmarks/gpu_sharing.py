"""Measure the gain of several jobs on one GPU: trainings of MMIN per hour, with 1, 2 or more sharing the card.

Runs whole jobs of a few epochs (`scripts/train.py`) on a synthetic corpus of IEMOCAP's real size. By default the jobs
take turns on the card, so sharing only hides their start-up. With a CUDA multi-process server, which the script starts
and stops, their kernels run in parallel. Prints a Markdown table.

Example: .venv/bin/python benchmarks/gpu_sharing.py --jobs 1 2 4
         .venv/bin/python benchmarks/gpu_sharing.py --jobs 1 4 --server always --epochs 60
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import feature_store
import gpu
import training

SERVER = {"never": (False,), "always": (True,), "both": (False, True)}
COLUMNS = ("jobs at once", "multi-process server", "seconds", "jobs per hour", "relative to one job")


def main() -> None:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 2, 4], help="how many at once")
    parser.add_argument(
        "--server", choices=SERVER, default="never", help="whether to start a multi-process server; both: compare"
    )
    parser.add_argument("--epochs", type=int, default=10, help="of a job")
    arguments = parser.parse_args()
    sys.path.insert(0, str(feature_store.REPOSITORY / "scripts"))
    from nmer.devices import SLOTS_VARIABLE

    os.environ[SLOTS_VARIABLE] = str(max(arguments.jobs))
    gpu.JOB_EPOCHS = arguments.epochs
    arguments.folder.mkdir(parents=True, exist_ok=True)
    shape = training.CORPORA["iemocap"]
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as name:
        folder = Path(name)
        files = training.make_files(folder, "iemocap", shape.training, shape.validated, shape.utterances)
        gpu.run_training("iemocap", "men", files, folder, 1)
        alone = 0.0
        gpu.head(COLUMNS)
        for server in SERVER[arguments.server]:
            with multi_process_server(folder) if server else nothing():
                for count in arguments.jobs:
                    seconds = run_at_once(count, files, folder)
                    alone = alone or seconds / count
                    cells = (count, "yes" if server else "no", f"{seconds:.1f}", f"{3600 * count / seconds:.0f}")
                    gpu.row(*cells, f"{alone * count / seconds:.2f}")


def run_at_once(count: int, files: tuple[Path, Path], folder: Path) -> float:
    """Return the seconds until several equal jobs are done."""

    def job(number: int) -> None:
        own = folder / f"job{number}"
        own.mkdir(exist_ok=True)
        for file in folder.glob("men.safetensors*"):
            if not (own / file.name).exists():
                (own / file.name).symlink_to(file)
        gpu.run_training("iemocap", "mmin", files, own, 1)

    start = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(job, range(count)))
    return time.perf_counter() - start


@contextmanager
def multi_process_server(folder: Path) -> Iterator[None]:
    """Start a private multi-process server; it changes no setting of the card."""
    for variable in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"):
        os.environ[variable] = str(folder)
    subprocess.run(["nvidia-cuda-mps-control", "-d"], check=True)
    try:
        yield
    finally:
        subprocess.run(["nvidia-cuda-mps-control"], input="quit\n", text=True, check=True)


@contextmanager
def nothing() -> Iterator[None]:
    """Start no server."""
    yield


if __name__ == "__main__":
    main()
