"""Measure the gain of several jobs on one GPU: trainings of the paper's grid per hour, with 1, 2 or more at once.

A queue of whole trainings (`scripts/train.py`), a sample of the grid on a synthetic corpus of IEMOCAP's real size, is
run by several workers. By default the jobs take turns on the card, so sharing only hides their start-up. With a CUDA
multi-process server, which the script starts and stops, their kernels run in parallel. The pretrainings that the queue
starts from are trained first, for two epochs, and are not measured. Prints two Markdown tables:
  - trainings: the seconds of each, and when it ended in the queue;
  - queues: their seconds and trainings per hour, relative to one job at once (without the server, if measured).

Example: .venv/bin/python benchmarks/gpu_sharing.py --jobs 1 4 --server both
         .venv/bin/python benchmarks/gpu_sharing.py --jobs 2 4 --server always --systems mmin mmin mmin mmin
         .venv/bin/python benchmarks/gpu_sharing.py --device cpu --scale 0.02 --epochs 1 --systems mmin unimodal_v
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from pathlib import Path

import feature_store
import gpu
import training

QUEUE = (
    *("mctn", "mctn", "nmer", "nmer", "nmer_no_inv", "nmer_no_vae"),
    *("mmin", "mmin", "if_mmin", "if_mmin", "unimodal_a", "unimodal_v"),
)
"""Longest first, so that few workers are idle at the end."""
CONTROL = "nvidia-cuda-mps-control"
SERVER = {"never": (False,), "always": (True,), "both": (False, True)}
TRAINING_COLUMNS = ("jobs at once", "multi-process server", "system", "seconds", "ended after, s")
QUEUE_COLUMNS = ("jobs at once", "multi-process server", "seconds", "trainings per hour", "relative to one job at once")


def main() -> None:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=feature_store.REPOSITORY / "results", help="where to write")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 4], help="how many at once")
    parser.add_argument(
        "--server", choices=SERVER, default="never", help="whether to start a multi-process server; both: compare"
    )
    parser.add_argument("--systems", nargs="+", choices=gpu.SYSTEMS, default=list(QUEUE), help="the queue, in order")
    parser.add_argument("--epochs", type=int, help="of each training of the queue; default: the paper's")
    parser.add_argument("--scale", type=float, default=1.0, help="share of IEMOCAP's utterances")
    arguments = parser.parse_args()
    if arguments.server != "never" and not shutil.which(CONTROL):
        parser.error(f"--server: {CONTROL} is not installed.")
    sys.path.insert(0, str(feature_store.REPOSITORY / "scripts"))
    from nmer.devices import SLOTS_VARIABLE

    gpus = gpu.granted_gpus(arguments.device)
    os.environ[SLOTS_VARIABLE] = str(max(arguments.jobs))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    shape = training.CORPORA["iemocap"]
    sizes = [round(arguments.scale * size) for size in (shape.training, shape.validated, shape.utterances)]
    measured: dict[tuple[int, str], float] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="benchmark_") as name:
        folder = Path(name)
        files = training.make_files(folder, "iemocap", *sizes)
        for teacher in {gpu.TEACHERS[system] for system in arguments.systems if system in gpu.TEACHERS}:
            gpu.run_training("iemocap", teacher, files, folder, folder, gpus, gpu.JOB_EPOCHS)

        def train(system: str) -> float:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                return gpu.run_training("iemocap", system, files, folder, Path(own), gpus, arguments.epochs)

        gpu.head(TRAINING_COLUMNS)
        for server in SERVER[arguments.server]:
            with multi_process_server(folder) if server else nullcontext():
                for count in arguments.jobs:
                    queue = (count, "yes" if server else "no")
                    measured[queue] = run_queue(arguments.systems, train, *queue)
    gpu.head(QUEUE_COLUMNS)
    alone = next((seconds for (count, _server), seconds in measured.items() if count == 1), None)
    for queue, seconds in measured.items():
        per_hour = 3600 * len(arguments.systems) / seconds
        gpu.row(*queue, f"{seconds:.1f}", f"{per_hour:.0f}", f"{alone / seconds:.2f}" if alone else "")


def run_queue(systems: list[str], train: Callable[[str], float], count: int, server: str) -> float:
    """Return the seconds until a number of workers have run a queue of trainings. Prints a row for each training.

    If one fails, the rest of the queue is dropped, and its error is raised when those that have started are done.
    """
    start = time.perf_counter()
    pool = ThreadPoolExecutor(count)
    try:
        trainings = {pool.submit(train, system): system for system in systems}
        for done in as_completed(trainings):
            seconds, ended = done.result(), time.perf_counter() - start
            gpu.row(count, server, trainings[done], f"{seconds:.1f}", f"{ended:.1f}")
    finally:
        pool.shutdown(cancel_futures=True)
    return time.perf_counter() - start


@contextmanager
def multi_process_server(folder: Path) -> Iterator[None]:
    """Start a private multi-process server; it changes no setting of the card."""
    for variable in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"):
        os.environ[variable] = str(folder)
    subprocess.run([CONTROL, "-d"], check=True)
    try:
        yield
    finally:
        subprocess.run([CONTROL], input="quit\n", text=True, check=True)


if __name__ == "__main__":
    main()
